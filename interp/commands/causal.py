"""Patching activations, and finding circuits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional, UseAppendAction

from interp.arguments import parse
from interp.commands.on_runs import Common, each_run, open_runs

if TYPE_CHECKING:
    from interp.runs.run import Run


@dataclass(frozen=True)
class Causal(Common):
    """What the commands of causal analysis have in common."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    step: int | None = None
    """The checkpoint. Not given: the newest."""
    variable: str | None = None
    """What differs between the inputs of a pair, such as first (operand), x_t, mirror or example
    (all of it). Not given: each of the task's variables, in pairs of its own."""
    pairs: int = 100
    """Pairs of inputs for each variable."""
    split: Literal["train", "test", "all"] = "test"
    """Where they are drawn from."""
    metric: str = "logit_difference"
    """logit_difference, margin, loss, probability, accuracy or kl."""
    seed: int = 0
    """Draws the pairs, and what is resampled."""


@dataclass(frozen=True)
class Patch(Causal):
    """Patch activations between the inputs of pairs, one layer, head and position at a time."""

    hook: UseAppendAction[tuple[str, ...]] = ()
    """A hook point, such as z, q, pattern or resid_pre. May be given several times. Not given:
    resid_pre, attn_out, mlp_out and z."""
    direction: Literal["noise", "denoise"] = "noise"
    """noise: from the corrupted run into the clean one. denoise: the other way round."""


def patch(arguments: list[str]) -> int:
    """Patch activations, everywhere: `interp patch RUN [RUN ...]`."""
    options = parse(Patch, "patch", arguments)
    from analysis.causal import write_patching

    given = {"hooks": options.hook, "metric": options.metric, "direction": options.direction}
    return _each_causally(options, f"patching_{options.direction}", write_patching, given)


@dataclass(frozen=True)
class FindCircuit(Causal):
    """Score every edge of networks, and judge the circuits of the highest scores."""

    method: str = "exact"
    """exact, eap, eap_ig_inputs, eap_ig_activations, node_attribution, acdc or random."""
    ablation: str = "corrupted"
    """What a cut edge carries: corrupted, zero, mean, position_mean or resample."""
    edges: int | None = None
    """Edges to draw. Not given: as few as do nine tenths of what the network does."""


def circuit(arguments: list[str]) -> int:
    """Find the circuit of a network: `interp circuit RUN --method exact`."""
    options = parse(FindCircuit, "circuit", arguments)
    from analysis.causal import write_circuit

    given = {
        "method": options.method,
        "ablation": options.ablation,
        "metric": options.metric,
        "n_edges": options.edges,
        "seed": options.seed,
    }
    name = f"circuit_{options.method}_{options.ablation}"
    return _each_causally(options, name, write_circuit, given)


def _each_causally(
    options: Causal, name: str, write: Callable[..., None], asked: dict[str, Any]
) -> int:
    """Write a folder of files about each run's checkpoint, and print it."""
    from interp.models.device import resolve_device
    from tasks.pairs import pairs_of_all_variables

    device = resolve_device(options.device)

    def analyse(run: "Run") -> list[object]:
        model = run.model(options.step).to(device)
        task, n = run.recipe.task, options.pairs
        if options.variable:
            pairs = task.pairs(options.variable, n, options.split, options.seed)
        else:
            pairs = pairs_of_all_variables(task, n, options.split, options.seed)
        step = run.final_step if options.step is None else options.step
        folder = run.path / "causal" / f"{name}_{pairs.variable}_step_{step:07d}"
        write(run, model, pairs, folder, **asked)
        print(folder)
        return []

    return each_run(open_runs(options.runs, options.allow_module), analyse)
