"""What `paper.llc_accuracy` estimates, how, and what should come out.

Losses, settings of the sampler, and references at the same temperature and localization.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import log

from analysis.llc.config import LLCConfig
from analysis.llc.known import DeepLinear, Known, NormalCrossing, Regular, RegularData
from analysis.llc.sampling import sample

CURVATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4)
N_EXAMPLES = 1000
REGULAR = LLCConfig("sgld", chains=4, nbeta=N_EXAMPLES / log(N_EXAMPLES), localization=5.0)
CROSSING = LLCConfig("sgld", chains=4, nbeta=145.0, localization=1.0)
LINEAR = LLCConfig("sgld", chains=4, nbeta=500.0, localization=10.0)
REFERENCE_CHAINS, REFERENCE_TIMES = 256, 25
"""Of a reference by MALA: chains, and relaxation times of the localization that each runs after
burn-in."""


@dataclass(frozen=True)
class Setting:
    """One way to estimate one case, repeated."""

    case: str
    known: Known
    config: LLCConfig
    """Of a repetition."""
    share: float = 1.0
    """Of the repetitions asked for; smaller where they are dear."""
    beside: bool = False
    """Whether devinterp does it too, in chains short enough for it."""


def _settings(case: str, known: Known) -> Iterator[Setting]:
    if isinstance(known, RegularData):
        coarse = replace(REGULAR, step_size=1e-3, batch_size=32, draws=3000)
        yield Setting(case, known, coarse, 0.1)
        yield Setting(case, known, replace(coarse, batch_size=256), 0.1)
        yield Setting(case, known, replace(coarse, step_size=1e-4, draws=1000, thin=10), 0.1)
        yield Setting(case, known, replace(coarse, sampler="sgnht", batch_size=256), 0.1)
        yield Setting(case, known, replace(coarse, draws=1000, burn_in=500), 0.1, beside=True)
    elif isinstance(known, Regular):
        coarse = replace(REGULAR, step_size=1e-3)
        yield Setting(case, known, replace(coarse, step_size=4e-3, draws=500))
        yield Setting(case, known, replace(coarse, draws=500, thin=3))
        yield Setting(case, known, replace(coarse, step_size=1e-4, draws=1000, thin=12))
        yield Setting(case, known, replace(coarse, sampler="sgnht", step_size=2e-3, draws=1000))
        yield Setting(case, known, replace(coarse, draws=1000, burn_in=500), beside=True)
    elif isinstance(known, NormalCrossing):
        long = replace(CROSSING, sampler="sgnht", step_size=2e-4, draws=2000, thin=5)
        yield Setting(case, known, long)
        short = replace(CROSSING, step_size=4e-4, draws=1500, burn_in=1500)
        yield Setting(case, known, short, beside=True)
    else:
        long = replace(LINEAR, sampler="sgnht", step_size=1e-4, draws=1000, thin=4)
        yield Setting(case, known, long)
        short = replace(LINEAR, step_size=2e-4, draws=1500, burn_in=1500)
        yield Setting(case, known, short, beside=True)


CASES: dict[str, tuple[Setting, ...]] = {
    name: tuple(_settings(name, known))
    for name, known in {
        "regular": Regular(CURVATURES),
        "regular_minibatch": RegularData(CURVATURES, N_EXAMPLES),
        "crossing_01": NormalCrossing((0, 1)),
        "crossing_11": NormalCrossing((1, 1)),
        "crossing_12": NormalCrossing((1, 2)),
        "crossing_22": NormalCrossing((2, 2)),
        "reduced_rank_inputs_few": DeepLinear((3, 2, 7), 1),
        "reduced_rank_outputs_few": DeepLinear((7, 2, 3), 1),
        "reduced_rank_hidden_many": DeepLinear((3, 8, 4), 2),
        "reduced_rank_balanced": DeepLinear((5, 3, 5), 2),
        "deep_3": DeepLinear((3, 3, 2, 3), 1),
        "deep_4": DeepLinear((3, 3, 2, 3, 3), 1),
    }.items()
}
"""Four cases of the formula for reduced-rank regression, and three and four matrices."""


@dataclass(frozen=True)
class Reference:
    """What an estimate should be on average."""

    value: float
    standard_error: float
    kind: str
    exact: float
    """With exact draws; `value` has the bias of the step too, where it is known."""


def reference(known: Known, config: LLCConfig) -> Reference:
    """At the settings' temperature and localization, and for SGLD of a regular loss, step and
    batch.
    """
    assert config.nbeta is not None
    at = config.nbeta, config.localization
    if isinstance(known, DeepLinear):
        value, error = _long_run(known, *at)
        return Reference(value, error, "long MALA run", value)
    exact = known.expected(*at)
    if isinstance(known, NormalCrossing):
        return Reference(exact, 0.0, "quadrature", exact)
    if config.sampler != "sgld":
        return Reference(exact, 0.0, "closed form", exact)
    batch = (config.batch_size,) if isinstance(known, RegularData) else ()
    return Reference(known.expected(*at, config.step_size, *batch), 0.0, "closed form", exact)


@cache
def _long_run(known: DeepLinear, nbeta: float, localization: float) -> tuple[float, float]:
    """The expectation and its standard error."""
    landscape = known.landscape()
    step_size = 1 / nbeta / landscape.centres.shape[1] ** (1 / 3)  # most proposals are accepted
    relaxation = 2 / (step_size * localization)
    thin = round(relaxation / 20)
    config = LLCConfig(
        sampler="mala",
        step_size=step_size,
        nbeta=nbeta,
        localization=localization,
        chains=REFERENCE_CHAINS,
        draws=round(REFERENCE_TIMES * relaxation / thin),
        thin=thin,
        full_every=10**9,
        seed=1,
    )
    chains = nbeta * sample(landscape, config).excess[0].mean(dim=-1)
    return float(chains.mean()), float(chains.std() / len(chains) ** 0.5)
