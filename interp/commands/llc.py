"""Local learning coefficients, and the sampler's settings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional

from interp.arguments import complain, parse
from interp.commands.on_runs import Common, each_run, open_runs
from interp.plain_json import json_text

if TYPE_CHECKING:
    from interp.progress import Show
    from interp.runs.run import Run


@dataclass(frozen=True)
class Coefficient(Common):
    """Which local learning coefficient is meant."""

    runs: Positional[tuple[Path, ...]] = ()
    """Run folders, or folders of them."""
    restrict: str | None = None
    """What moves: all, body (all but the unembedding), live (what is not 0), l0, l0h1, l0attn,
    l0mlp, embed, pos_embed, unembed, a parameter by name, some of these joined by +, or by @ what
    is in both (live@body), irrep:standard or random:9 (a rank). Not given: all, but body for
    networks that were made and not trained."""
    loss: Literal["task", "kl"] | None = None
    """task, or kl: the divergence from what the network says at the checkpoint. Not given: task,
    but kl for networks that were made and not trained."""
    split: Literal["train", "test", "all"] = "train"
    """The examples."""
    dtype: Literal["float32", "float64"] | None = None
    """Precision of the sampling. Not given: the run's."""


@dataclass(frozen=True)
class LLC(Coefficient):
    """Estimate local learning coefficients, of all chosen checkpoints at once."""

    checkpoints: Literal["all", "final", "log"] = "final"
    """final: the newest. log: step 0 and about 12, log-spaced, to the newest."""
    json: bool = False
    """Print the estimates as JSON: for each run and checkpoint the number, with every check."""


@dataclass(frozen=True)
class Calibrate(Coefficient):
    """Choose the sampler's settings for the newest checkpoint of runs."""

    budget: int = 5000
    """Steps that a chain may take in the end."""
    sampler: Literal["sgnht", "sgld", "rmsprop_sgld", "mala"] = "sgnht"
    """As of `interp llc`, like the options that follow."""
    chains: int = 8
    """Independent chains."""
    batch_size: int | None = None
    """Examples of a step. Not given: all of them."""
    nbeta: float | None = None
    """Inverse temperature times the number of examples n. Not given: n / log n."""
    seed: int = 0
    """Of the chains."""


def llc(arguments: list[str]) -> int:
    """Estimate local learning coefficients: `interp llc RUN`, `interp llc calibrate RUN`."""
    from analysis.llc.config import LLCConfig

    if arguments[:1] == ["calibrate"]:
        return _calibrate(parse(Calibrate, "llc calibrate", arguments[1:]))
    fields = [("coefficient", OmitArgPrefixes[LLC]), ("sampler", OmitArgPrefixes[LLCConfig])]
    parsed: Any = parse(make_dataclass("LLC", fields, frozen=True), "llc", arguments)
    options: LLC = parsed.coefficient

    of_runs: list[dict[str, Any]] = []

    def estimate(run: "Run", which: Any, show: "Show") -> None:
        from analysis.llc.runs import plain, write_llc

        found = write_llc(run, which, parsed.sampler, show)
        of_runs.append({"run": str(run.path), "checkpoints": plain(found)})
        if not options.json:
            print("\n".join(f"step {step}: {estimate}" for step, estimate in found.items()))

    status = _each_coefficient(options, estimate, options.json, checkpoints=options.checkpoints)
    if options.json:
        print(json_text(of_runs))
    return status


def _calibrate(options: Calibrate) -> int:
    from analysis.llc.config import LLCConfig

    given = ("sampler", "chains", "batch_size", "nbeta", "seed")
    config = LLCConfig(**{name: getattr(options, name) for name in given})

    def calibrate(run: "Run", which: Any, show: "Show") -> None:
        from analysis.llc.runs import write_calibration

        found = write_calibration(run, which, config, options.budget, show)
        print(f"pilot: {found.pilot}")
        chosen = replace(found.config, nbeta=options.nbeta)
        asked = _flags(options, ("restrict", "loss", "split", "dtype"))
        print(" ".join(["interp llc", str(run.path), *_flags(chosen, vars(chosen)), *asked]))
        if not found.is_affordable:
            complain(f"{found.config.steps} steps are more than the budget of {options.budget}")

    return _each_coefficient(options, calibrate)


def _flags(values: Any, names: Iterable[str]) -> list[str]:
    """What to type for those values that are not there anyway, in as many digits as matter."""
    default = type(values)()
    return [
        f"--{name.replace('_', '-')} {f'{value:.3g}' if isinstance(value, float) else value}"
        for name in names
        if (value := getattr(values, name)) != getattr(default, name)
    ]


def _each_coefficient(
    options: Coefficient,
    work: "Callable[[Run, Any, Show], None]",
    quiet: bool = False,
    **chosen: Any,
) -> int:
    """Do something with the coefficient of each run, and print the run, or not if `quiet`."""
    import torch

    from analysis.llc.runs import coefficient_of
    from interp.models.device import resolve_device
    from interp.progress import progress

    chosen |= {name: getattr(options, name) for name in ("restrict", "loss", "split")}
    chosen["dtype"] = getattr(torch, options.dtype) if options.dtype else None
    chosen["device"] = resolve_device(options.device)
    with progress(options.quiet) as show:

        def one(run: "Run") -> list[object]:
            work(run, coefficient_of(run, **chosen), show)
            return []

        return each_run(open_runs(options.runs, options.allow_module), one, quiet=quiet)
