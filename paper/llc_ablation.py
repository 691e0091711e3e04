"""Local learning coefficients before and after ablation: `python -m paper.llc_ablation --out OUT`.

Trains small transformers to see palindromes, and compiles one; replaces the output of each head and
each MLP by zeros, its mean, or what it is on another example; and estimates the coefficient of the
rest of the network, before that and at the optimum to which the rest then descends. Writes

- `llc_ablation.csv`: a row for each network, component and replacement;
- `llc_ablation.md`: the changes, with intervals over networks, and over chains;
- `llc_ablation.svg`: the same as a picture.
"""

import sys
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Module, Parameter
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
RECIPE = Recipe(
    TASK,
    TransformerConfig(n_heads=2, d_model=12, d_head=6, d_mlp=24, attention_dir=TASK.attention),
    AdamW(lr=1e-2, weight_decay=1.0),
    Schedule(steps=1000, checkpoints=1),
)
TRAINED, COMPILED = "trained", "compiled"
CONFIGS = {
    TRAINED: LLCConfig(nbeta=3e3, localization=60.0, chains=8, draws=500, thin=2),
    COMPILED: LLCConfig(nbeta=3e5, localization=3e3, chains=8, draws=400, thin=2),
}
"""nbeta is not n / log n: the labels are exact, and at that nothing is left of the network."""
HOW = ("zero", "mean", "resample")
DESCENT, RATE = 1500, 1e-2
"""Steps of Adam, of a rate that falls to 0, by which the rest finds its optimum."""
NOTHING = 1e-9
"""A loss below it is that of an optimum."""
MOST_BURN_IN = 1000
"""Steps, which then fail the check of diffusion where more are needed."""
HEAD = f"""# Local learning coefficients before and after ablation

Means over the networks whose numbers before and after pass all checks, of those that were made;
in brackets, over all of them, where none passes: these are no estimates. Both coefficients are of
the network without the ablated component's own parameters, which are held, so that what changes is
not their number. The loss is the divergence from labels: of the trained networks the task's
answers, right with probability {RIGHT}; of the compiled one what it says intact. It is in turn the
intact network's, the ablated one's at the same parameters, and that at the optimum found in
{DESCENT:,} steps of Adam, where the coefficient is estimated. Intervals are over networks; over
chains, where one passes. The trained networks are intact at an optimum found in the same way.

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

    Its input is tokens with the example's number behind them. `source` is a parameter, which no
    restriction moves, so that networks whose sources differ can be points of one landscape.
    """

    def __init__(
        self, network: Any, component: Component, source: Float[Tensor, "example position *rest"]
    ) -> None:
        super().__init__()
        self.source, self.network, self.component = Parameter(source), network, component

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
class Networks:
    """Networks of one shape, that are sampled together.

    Attributes:
        kind: trained or compiled.
        moving: where the parameters are that may move: all of a trained network; of a compiled one
            what is not 0, without W_U, as in `paper.llc_compiled`.
        parts: where those of each part are.
    """

    kind: str
    seeds: list[int]
    models: list[Any]
    moving: Int64[Tensor, "entry"]
    parts: dict[str, Int64[Tensor, "entry"]]

    @classmethod
    def of(cls, kind: str, seeds: list[int], models: list[Any]) -> "Networks":
        """In evaluation mode."""
        landscape = NetworkLandscape(models[0].eval(), EXAMPLES)
        known = parts(landscape)
        moving = known["all"]
        if kind == COMPILED:
            moving = restriction_to("live@body", landscape).index
            assert moving is not None
        return cls(kind, seeds, [model.eval() for model in models], moving, known)

    @property
    def said(self) -> Float[Tensor, "example scored output"]:
        """The labels, as log-probabilities."""
        if self.kind == COMPILED:
            with torch.no_grad():
                return self.models[0](EXAMPLES.tokens)[:, 1:].log_softmax(dim=-1)
        n_outputs = len(TASK.outputs)
        right = one_hot(EXAMPLES.targets[:, 1:], n_outputs)
        return (right * RIGHT + (1 - right) * (1 - RIGHT) / (n_outputs - 1)).log()

    def intact(self) -> ModuleLandscape:
        """The divergence of the networks' answers from the labels."""
        points = [dict(model.named_parameters()) for model in self.models]
        return ModuleLandscape(
            self.models[0], EXAMPLES.tokens, self.said, divergence, points=points
        )

    def ablated(self, component: Component, how: str) -> ModuleLandscape:
        """The same without a component; the first parameters are what replaces it."""
        points, modules = [], []
        for model in self.models:
            _, kept = model.run_with_cache(EXAMPLES.tokens, names_filter=component.hook)
            seen = {component.hook: kept[component.hook].detach()}
            source = replacements(seen, is_token(model, EXAMPLES.tokens), how, 0)[component.hook]
            modules.append(Ablated(model, component, source).eval())
            points.append(dict(modules[-1].named_parameters()))
        numbers = torch.arange(len(EXAMPLES))[:, None]
        inputs = torch.cat([EXAMPLES.tokens, numbers], dim=1)
        return ModuleLandscape(modules[0], inputs, self.said, divergence, points=points)

    def rest(self, component: Component | None, landscape: ModuleLandscape) -> Restriction:
        """All that moves but a component's own parameters."""
        own = self.parts[component.part] if component else self.moving[:0]
        index = self.moving[~torch.isin(self.moving, own)]
        n_first = sum(shape.numel() for n, shape in landscape.layout.items() if n == "source")
        return Restriction(component.name if component else "all", index + n_first)


def divergence(
    logits: Float[Tensor, "example position output"], said: Float[Tensor, "example scored output"]
) -> Float[Tensor, "example"]:
    """KL(said || answers), a mean over the positions after BOS."""
    ours = logits[:, 1:].log_softmax(dim=-1)
    return (said.exp() * (said - ours)).sum(dim=-1).mean(dim=-1)


def descended(landscape: ModuleLandscape, restriction: Restriction) -> ModuleLandscape:
    """The same loss about the optima that Adam finds from w* by moving what may move.

    Where the loss is 0 there already, the same landscape.
    """
    if max(mean_losses(landscape)) < NOTHING:
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


def estimated(kind: str, landscape: ModuleLandscape, restriction: Restriction) -> list[LLCEstimate]:
    """By the settings for the kind of network, with a step that is safe for all of them."""
    config = CONFIGS[kind]
    config = replace(config, step_size=step_size(landscape, restriction, config))
    config = replace(config, burn_in=min(config.burn_in_steps, MOST_BURN_IN))
    return llc_estimates(landscape, config, restriction)[0]


def rows(networks: Networks, component: Component, intact: ModuleLandscape) -> list[dict[str, Any]]:
    """Of each network and replacement, the coefficients and the losses.

    `before` is the coefficient of the rest of the intact network, the component's own parameters
    held, which no input's answer depends on afterwards; `after` that of the rest when ablated.
    `change` is before less after, with an interval over chains, which are paired.
    """
    before = estimated(networks.kind, intact, networks.rest(component, intact))
    found = []
    for how in HOW:
        ablated = networks.ablated(component, how)
        rest = networks.rest(component, ablated)
        losses = mean_losses(ablated)
        after = estimated(networks.kind, descended(ablated, rest), rest)
        for seed, loss, first, second in zip(networks.seeds, losses, before, after, strict=True):
            change = first.chains - second.chains
            error = float(change.std(ddof=1) / len(change) ** 0.5)
            found.append(
                {
                    "network": networks.kind,
                    "seed": seed,
                    "component": component.name,
                    "ablation": how,
                    "moving": rest.size(0),
                    "loss_before": first.initial_loss,
                    "loss_ablated": loss,
                    "loss_after": second.initial_loss,
                    **_columns("before", first),
                    **_columns("after", second),
                    "change": float(change.mean()),
                    "change_reach": reach(error, len(change)),
                }
            )
    return found


@torch.no_grad()
def mean_losses(landscape: ModuleLandscape) -> list[float]:
    """L(w*) at every centre."""
    everything = torch.arange(landscape.n_examples)[None]
    return landscape.losses(landscape.centres[:, None], everything).mean(dim=(1, 2)).tolist()


def _columns(name: str, estimate: LLCEstimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_failures": estimate.failed_checks}


def write_tables(options: Options, show: Show) -> int:
    """Train, ablate, estimate and write; the work of `python -m paper.llc_ablation`."""
    torch.set_num_threads(1)  # the networks are small
    recipes = [RECIPE.with_seed(seed) for seed in parse_seeds(options.seeds)]
    runs = train(recipes, options.to, name="palindrome_short", progress=shown(show))
    seeds, models = [run.recipe.init_seed for run in runs], [run.model() for run in runs]
    found: list[dict[str, Any]] = []
    for networks in (
        Networks.of(TRAINED, seeds, models),
        Networks.of(COMPILED, [0], [CompiledConfig().build(TASK, 0)]),
    ):
        intact = networks.intact()
        intact = descended(intact, networks.rest(None, intact))
        parts_of = list(components(networks.models[0]))
        for done, component in enumerate(parts_of):
            show(networks.kind, done, len(parts_of), component.name)
            found += rows(networks, component, intact)
            table = pd.DataFrame(found)
            files = {
                "llc_ablation.csv": table.to_csv(index=False),
                "llc_ablation.md": HEAD + page(table),
            }
            write_files(options.out, files)
        show(networks.kind, len(parts_of), len(parts_of), "")
    write_static({options.out / "llc_ablation": ablation_figure(pd.DataFrame(found))})
    print(options.out / "llc_ablation.csv", options.out / "llc_ablation.md", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_ablation", write_tables))
