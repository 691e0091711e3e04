"""Local learning coefficients before and after ablation: `python -m paper.llc_ablation --out OUT`.

Trains small transformers to see palindromes, and compiles one; replaces the output of each head and
each MLP by zeros, its mean, or what it is on another example; and estimates the coefficient of the
rest of the network, before that and at the optimum to which the rest then descends. Writes

- `llc_ablation.csv`: a row for each network, component and replacement;
- `llc_ablation.md`: the changes, with intervals over networks, and over chains;
- `llc_ablation.svg`: the same as a picture.
"""

import dataclasses
import sys
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, nan
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import one_hot

from analysis.llc import LLCConfig, LLCEstimate, ModuleLandscape, NetworkLandscape, llc_estimates
from analysis.llc.checks import reach
from analysis.llc.parts import parts, restriction_to
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.patching.replacement import is_token, replacements
from interp.arguments import parse_seeds
from interp.models.config import CompiledConfig, TransformerConfig
from interp.models.graph import head_name, mlp_name
from interp.progress import Show
from interp.runs.recipe import AdamW, Recipe, Schedule
from interp.runs.run import Run
from paper.command import Watched, run_watched
from paper.figures import write_static
from paper.llc_ablation_page import ablation_figure, page
from paper.llc_compiled import step_size
from paper.tables import write_files
from tasks.sequences import Palindrome
from training.progress import shown
from training.train import train

TASK = Palindrome("a..c", min_length=4, max_length=4, n_sequences=24, train_fraction=1.0)
EXAMPLES = TASK.examples("train")
RIGHT = 0.9
"""The probability of the task's answer in the labels of trained networks: certain ones have no
optimum, and at 100% accuracy no curvature."""
TRAINED_RECIPE = Recipe(
    TASK,
    TransformerConfig(n_heads=2, d_model=12, d_head=6, d_mlp=24, attention_dir=TASK.attention),
    AdamW(lr=1e-2, weight_decay=1.0),
    Schedule(steps=1000, checkpoints=1),
)
COMPILED_RECIPE = Recipe(TASK, CompiledConfig(), schedule=Schedule(steps=0))
TRAINED, COMPILED = "trained", "compiled"
CONFIGS = {
    TRAINED: LLCConfig(nbeta=3e4, localization=100.0, chains=8, draws=600),
    COMPILED: LLCConfig(nbeta=3e5, localization=3e3, chains=8, draws=400),
}
"""nbeta is not n / log n: the labels are exact, and at that nothing is left of the network."""
HOW = ("zero", "mean", "resample")
DESCENT, RATE = 3000, 1e-2
"""Steps of Adam, of a rate that falls to 0, by which the rest finds its optimum."""
NOTHING = 1e-9
"""A loss below it is that of an optimum."""
MOST_BURN_IN = 3700
"""Steps; where the rest of a network is so stiff that it needs more, it is left out."""
DRAWN = 5
"""Steps after burn-in, over those of burn-in: 25 relaxation times."""
KEPT = "llc/ablation.json"
"""What was found of a run, in its folder."""
HEAD = f"""# Local learning coefficients before and after ablation

Means over the networks whose numbers before and after pass all checks, of those that were made;
in brackets, over all of them, where none passes: these are no estimates. Both coefficients are of
the network without the ablated component's own parameters, which are held, so that what changes is
not their number. The loss is the divergence from labels: of the trained networks the task's
answers, right with probability {RIGHT}; of the compiled one what it says intact. It is in turn the
intact network's, the ablated one's at the same parameters, and that at the optimum found in
{DESCENT:,} steps of Adam, where the coefficient is estimated. Intervals are over networks; over
chains, where one passes. The trained networks are intact at an optimum found in the same way.
There is no number where the rest is so stiff that chains need more than {MOST_BURN_IN:,} steps to
settle (too_stiff).

![Changes](llc_ablation.svg)

"""


@dataclass(frozen=True)
class Options(Watched):
    """Estimate local learning coefficients before and after ablations."""

    to: Path = Path("runs")
    """Folder for the run folders."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: str = "0..4"
    """Seeds of the trained networks, such as 0..3 or 1,5,7."""


@dataclass(frozen=True)
class Component:
    """A head or an MLP: where its output is seen, and which of that is its own."""

    name: str
    hook: str
    head: int | None = None

    @property
    def part(self) -> str:
        """Its parameters, as `analysis.llc.parts` calls them."""
        return self.name.lower() if self.head is not None else f"l{self.name[3:]}mlp"


def components(model: Any) -> Iterator[Component]:
    """All heads and MLPs of a transformer."""
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            yield Component(head_name(layer, head), f"blocks.{layer}.attn.hook_z", head)
        yield Component(mlp_name(layer), f"blocks.{layer}.hook_mlp_out")


class Ablated(Module):
    """A network in which a component's output is that of `source`, whatever the input.

    Its input is tokens with the example's number behind them.
    """

    source: Tensor

    def __init__(
        self, network: Any, component: Component, source: Float[Tensor, "example position *rest"]
    ) -> None:
        super().__init__()
        self.network, self.component = network, component
        self.register_buffer("source", source)

    def forward(
        self, inputs: Int64[Tensor, "example position_and_number"]
    ) -> Float[Tensor, "example position output"]:
        """The logits."""
        source = self.source[inputs[:, -1]]

        def swap(activation: Tensor, hook: Any) -> Tensor:
            if self.component.head is None:
                return source
            is_own = torch.arange(activation.shape[2]) == self.component.head
            return torch.where(is_own[:, None], source, activation)

        with self.network.hooks(fwd_hooks=[(self.component.hook, swap)]):
            return self.network(inputs[:, :-1])


@dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode.

    Attributes:
        kind: trained or compiled.
        moving: where the parameters are that may move: all of a trained network; of a compiled one
            what is not 0, without W_U, as in `paper.llc_compiled`.
        parts: where those of each part are.
    """

    kind: str
    model: Any
    moving: Int64[Tensor, "entry"]
    parts: dict[str, Int64[Tensor, "entry"]]

    @classmethod
    def of(cls, kind: str, model: Any) -> "Network":
        """With what may move of a network of this kind."""
        landscape = NetworkLandscape(model.eval(), EXAMPLES)
        known = parts(landscape)
        moving = known["all"]
        if kind == COMPILED:
            moving = restriction_to("live@body", landscape).index
            assert moving is not None
        return cls(kind, model, moving, known)

    @property
    def said(self) -> Float[Tensor, "example scored output"]:
        """The labels, as log-probabilities."""
        if self.kind == COMPILED:
            with torch.no_grad():
                return self.model(EXAMPLES.tokens)[:, 1:].log_softmax(dim=-1)
        n_outputs = len(TASK.outputs)
        right = one_hot(EXAMPLES.targets[:, 1:], n_outputs)
        return (right * RIGHT + (1 - right) * (1 - RIGHT) / (n_outputs - 1)).log()

    def intact(self) -> ModuleLandscape:
        """The divergence of the network's answers from the labels."""
        return ModuleLandscape(self.model, EXAMPLES.tokens, self.said, divergence)

    @cached_property
    def optimum(self) -> ModuleLandscape:
        """The same about the optimum near it."""
        return descended(self.intact(), self.rest(None))

    def ablated(self, component: Component, how: str) -> ModuleLandscape:
        """The intact network's, without a component."""
        _, kept = self.model.run_with_cache(EXAMPLES.tokens, names_filter=component.hook)
        seen = {component.hook: kept[component.hook].detach()}
        source = replacements(seen, is_token(self.model, EXAMPLES.tokens), how, 0)[component.hook]
        numbers = torch.arange(len(EXAMPLES))[:, None]
        inputs = torch.cat([EXAMPLES.tokens, numbers], dim=1)
        ablated = Ablated(self.model, component, source).eval()
        return ModuleLandscape(ablated, inputs, self.said, divergence)

    def rest(self, component: Component | None) -> Restriction:
        """All that moves but a component's own parameters."""
        own = self.parts[component.part] if component else self.moving[:0]
        index = self.moving[~torch.isin(self.moving, own)]
        return Restriction(component.name if component else "all", index)


def divergence(
    logits: Float[Tensor, "example position output"], said: Float[Tensor, "example scored output"]
) -> Float[Tensor, "example"]:
    """KL(said || answers), a mean over the positions after BOS."""
    ours = logits[:, 1:].log_softmax(dim=-1)
    return (said.exp() * (said - ours)).sum(dim=-1).mean(dim=-1)


def descended(landscape: ModuleLandscape, restriction: Restriction) -> ModuleLandscape:
    """The same loss about the optimum that Adam finds from w* by moving what may move.

    Where the loss is 0 there already, the same landscape.
    """
    if mean_loss(landscape) < NOTHING:
        return landscape
    posterior = Posterior(landscape, restriction, landscape.centres.new_ones(1, 1, 1), 0.0)
    moves = posterior.start(1)
    optimizer = torch.optim.Adam([moves], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, DESCENT)
    for _ in range(DESCENT):
        _, moves.grad = posterior.loss_and_gradient(moves, posterior.everything)
        optimizer.step()
        schedule.step()
    found = copy(landscape)
    found.centres = restriction.weights(landscape.centres, moves)[:, 0]
    return found


@torch.no_grad()
def mean_loss(landscape: ModuleLandscape) -> float:
    """L(w*)."""
    everything = torch.arange(landscape.n_examples)[None]
    return float(landscape.losses(landscape.centres[:, None], everything).mean())


def estimated(
    kind: str, landscape: ModuleLandscape, restriction: Restriction
) -> LLCEstimate | None:
    """By the settings for the kind of network, with a step that is safe, and chains to match.

    None where that takes too long.
    """
    config = CONFIGS[kind]
    config = replace(config, step_size=step_size(landscape, restriction, config))
    if config.burn_in_steps > MOST_BURN_IN:
        return None
    config = replace(config, thin=ceil(DRAWN * config.burn_in_steps / config.draws))
    (estimate,), _ = llc_estimates(landscape, config, restriction)
    return estimate


def rows(network: Network, component: Component) -> Iterator[dict[str, Any]]:
    """Of each replacement, the coefficients and the losses.

    `before` is the coefficient of the rest of the intact network, the component's own parameters
    held, which no input's answer depends on afterwards; `after` that of the rest when ablated.
    `change` is before less after, with an interval over chains, which are paired.
    """
    rest = network.rest(component)
    before = estimated(network.kind, network.optimum, rest)
    for how in HOW:
        ablated = network.ablated(component, how)
        optimum = descended(ablated, rest)
        after = estimated(network.kind, optimum, rest)
        yield {
            "component": component.name,
            "ablation": how,
            "moving": rest.size(0),
            "loss_before": mean_loss(network.optimum),
            "loss_ablated": mean_loss(ablated),
            "loss_after": mean_loss(optimum),
            **_columns("before", before),
            **_columns("after", after),
            **_change(before, after),
        }


def _columns(name: str, estimate: LLCEstimate | None) -> dict[str, Any]:
    if estimate is None:
        return {name: nan, f"{name}_failures": "too_stiff"}
    return {name: estimate.value, f"{name}_failures": estimate.failed_checks}


def _change(before: LLCEstimate | None, after: LLCEstimate | None) -> dict[str, float]:
    if before is None or after is None:
        return {"change": nan, "change_reach": nan}
    change = before.chains - after.chains
    error = float(change.std(ddof=1) / len(change) ** 0.5)
    return {"change": float(change.mean()), "change_reach": reach(error, len(change))}


def ablations(run: Run, kind: str, show: Show) -> pd.DataFrame:
    """Everything that is asked of one run: a row for each component and replacement.

    Kept in the run's folder as it is found, so that it is done once for the same settings.
    """
    settings = dataclasses.asdict(CONFIGS[kind]) | {
        "descent": [DESCENT, RATE],
        "most_burn_in": MOST_BURN_IN,
        "drawn": DRAWN,
    }
    kept = run.read_json(KEPT)
    found = kept["components"] if kept.get("settings") == settings else {}
    network = Network.of(kind, run.model())
    wanted = list(components(network.model))
    for done, component in enumerate(wanted):
        show(run.name, done, len(wanted), component.name)
        if component.name not in found:
            found[component.name] = list(rows(network, component))
            (run.path / KEPT).parent.mkdir(exist_ok=True)
            run.write_json(KEPT, {"settings": settings, "components": found})
    show(run.name, len(wanted), len(wanted), "")
    table = pd.DataFrame([row for component in wanted for row in found[component.name]])
    table.insert(0, "network", kind)
    table.insert(1, "seed", run.recipe.init_seed)
    return table


def write_tables(options: Options, show: Show) -> int:
    """Train, ablate, estimate and write; the work of `python -m paper.llc_ablation`."""
    torch.set_num_threads(1)  # the networks are small
    recipes = [TRAINED_RECIPE.with_seed(seed) for seed in parse_seeds(options.seeds)]
    runs = train(recipes, options.to, name="palindrome_short", progress=shown(show))
    (compiled,) = train([COMPILED_RECIPE], options.to, name="palindrome_compiled")
    tables = [ablations(run, TRAINED, show) for run in runs]
    table = pd.concat([*tables, ablations(compiled, COMPILED, show)], ignore_index=True)
    files = {
        "llc_ablation.csv": table.to_csv(index=False),
        "llc_ablation.md": HEAD + page(table),
    }
    write_files(options.out, files)
    write_static({options.out / "llc_ablation": ablation_figure(table)})
    print(*(options.out / file for file in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_ablation", write_tables))
