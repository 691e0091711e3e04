"""How often the checks of an estimate are wrong: `python -m paper.llc_gates --out OUT`.

Estimates learning coefficients that are known, by settings that are right and by settings that are
wrong in one way each, over many seeds, and writes `llc_gates.csv` and `llc_gates.md`: how often an
estimate is marked as failed, and how often its number is indeed off by more than a tenth.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.llc import FunctionLandscape, Landscape, LLCConfig, LLCEstimate, llc_estimates
from analysis.llc.known import NormalCrossing, Regular, RegularData
from interp.arguments import UsageError
from interp.progress import Show
from paper.command import Watched, refuse_unknown, run_watched
from paper.tables import ABSENT, Table, markdown, write_files

CURVATURES = (0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4)
REGULAR, CROSSING = Regular(CURVATURES), NormalCrossing((0, 1))
DATA = RegularData(CURVATURES, n_examples=1000)
OFF = 0.1
"""A number is wrong if it is off by more than this share of the truth."""
GOOD = LLCConfig("sgld", step_size=5e-4, nbeta=100.0, localization=6.0, draws=3000)
THERMOSTAT = replace(GOOD, sampler="sgnht", draws=1500)


@dataclass(frozen=True)
class Case:
    """A loss and settings for it."""

    landscape: Callable[[], Landscape]
    config: LLCConfig
    truth: float | None
    """What the estimate should be; None where w* is no minimum, and there is no such number."""
    check: str | None = None
    """The check that must fail; None if all must pass."""


def _shifted(weights: Float[Tensor, "*rows parameter"]) -> Float[Tensor, "*rows"]:
    h = torch.tensor(CURVATURES, dtype=torch.float64)
    return (h * (weights - 0.1).square()).sum(dim=-1) / 2


def _saddle(weights: Float[Tensor, "*rows parameter"]) -> Float[Tensor, "*rows"]:
    h = torch.tensor((-0.3, *CURVATURES[1:]), dtype=torch.float64)
    return (h * weights.square()).sum(dim=-1) / 2 + weights[..., 0] ** 4 / 4


def _about_origin(function: Callable[[Tensor], Tensor]) -> FunctionLandscape:
    return FunctionLandscape(function, torch.zeros(10, dtype=torch.float64), 1000)


CASES = {
    "sgld": Case(REGULAR.landscape, GOOD, 5.0),
    "sgnht": Case(REGULAR.landscape, THERMOSTAT, 5.0),
    "rmsprop_sgld": Case(
        REGULAR.landscape,
        replace(GOOD, sampler="rmsprop_sgld", step_size=1e-4, burn_in=8000),
        5.0,
    ),
    "mala": Case(REGULAR.landscape, replace(GOOD, sampler="mala", step_size=5e-3, draws=1000), 5.0),
    "minibatches": Case(DATA.landscape, replace(GOOD, batch_size=256), 5.0),
    "normal crossing": Case(
        CROSSING.landscape,
        replace(GOOD, step_size=4e-4, localization=15.0, draws=2500, thin=5),
        0.5,
    ),
    "step too large": Case(REGULAR.landscape, replace(GOOD, step_size=8e-3), 5.0, "step_size"),
    "step diverges": Case(
        REGULAR.landscape, replace(GOOD, step_size=0.04, draws=2000), 5.0, "diverged"
    ),
    "sgnht diverges": Case(REGULAR.landscape, replace(THERMOSTAT, step_size=0.04), 5.0, "diverged"),
    "nothing moves": Case(
        REGULAR.landscape, replace(GOOD, step_size=1e-9, burn_in=5000), 5.0, "diffusion"
    ),
    "minibatches too small": Case(
        DATA.landscape,
        replace(GOOD, step_size=1e-4, nbeta=587.0, batch_size=32, localization=20.0),
        5.0,
        "minibatch",
    ),
    "sgnht, minibatches too small": Case(
        DATA.landscape,
        replace(THERMOSTAT, nbeta=587.0, batch_size=32, localization=20.0),
        5.0,
        "minibatch",
    ),
    "too few draws": Case(REGULAR.landscape, replace(GOOD, draws=60), 5.0, "ess_loss"),
    "localization too strong": Case(
        REGULAR.landscape, replace(GOOD, localization=50.0), 5.0, "localization"
    ),
    "no minimum": Case(lambda: _about_origin(_shifted), GOOD, None, "minimum"),
    "saddle": Case(lambda: _about_origin(_saddle), GOOD, None, "minimum"),
}
"""Settings that are right, then one wrong in each way."""


@dataclass(frozen=True)
class Options(Watched):
    """Estimate what is known, rightly and wrongly, and count what the checks say."""

    cases: tuple[str, ...] = ()
    """Such as saddle; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the tables."""
    seeds: int = 50
    """Estimates of each case."""


def estimated(case: Case, seed: int) -> LLCEstimate:
    """One estimate of a case."""
    (estimate,), _ = llc_estimates(case.landscape(), replace(case.config, seed=seed))
    return estimate


def row(name: str, estimates: list[LLCEstimate]) -> dict[str, Any]:
    """What the checks say of a case, and what is true."""
    case = CASES[name]
    failed = pd.Series([bool(estimate.failures) for estimate in estimates])
    wrong = pd.Series([_is_wrong(estimate.value, case.truth) for estimate in estimates])
    checks = Counter(check.name for estimate in estimates for check in estimate.failures)
    return {
        "case": name,
        "truth": case.truth,
        "runs": len(estimates),
        "mean": pd.Series([estimate.value for estimate in estimates]).mean(),
        "failed": failed.mean(),
        "wrong": wrong.mean(),
        "wrong_and_passed": (wrong & ~failed).mean(),
        "right_and_failed": (failed & ~wrong).mean(),
        "failed_checks": " ".join(f"{check} {n}" for check, n in checks.most_common()),
    }


def _is_wrong(value: float, truth: float | None) -> bool:
    return truth is None or not abs(value - truth) <= OFF * truth


def write_tables(options: Options, show: Show) -> int:
    """Estimate and write; the work of `python -m paper.llc_gates`."""
    if options.seeds < 1:
        raise UsageError(f"--seeds is {options.seeds}: it must be at least 1")
    refuse_unknown("case", options.cases, CASES)
    names, rows = options.cases or tuple(CASES), []
    for done, name in enumerate(names):
        show("cases", done, len(names), name)
        rows.append(row(name, [estimated(CASES[name], seed) for seed in range(options.seeds)]))
    show("cases", len(names), len(names), "")
    table = pd.DataFrame(rows)
    printed = table.copy()
    for column in ("failed", "wrong", "wrong_and_passed", "right_and_failed"):
        printed[column] = printed[column].map("{:.0%}".format)
    for column in ("truth", "mean"):
        printed[column] = printed[column].map("{:.3g}".format).replace("nan", ABSENT)
    head = (
        f"{options.seeds} estimates of each case; a number is wrong if it is off by more than "
        f"{OFF:.0%}, or if there is none to be found.\n\n"
    )
    files = {
        "llc_gates.csv": table.to_csv(index=False),
        "llc_gates.md": head + markdown(Table("gates", printed)),
    }
    write_files(options.out, files)
    print(*(options.out / name for name in files), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_gates", write_tables))
