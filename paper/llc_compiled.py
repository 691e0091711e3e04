"""The local learning coefficients of compiled programs: `python -m paper.llc_compiled --out OUT`.

Compiles the programs at several vocabularies, lengths and hardness values, and estimates the
coefficient about each network, with W_U held: of the entries that are not 0 (`live`), and at the
smallest size of all entries (`body`). Writes

- `llc_compiled.csv`: a row for each network; kept after each of them, so that a run that was
  stopped goes on where it was;
- `llc_compiled.md`: the table, and what the coefficient goes with;
- `llc_compiled.svg`: the coefficient against what a network has.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tyro.conf import Positional

from analysis.llc import Landscape, LLCConfig, NetworkLandscape, llc_estimates
from analysis.llc.curvature import largest_curvature
from analysis.llc.parts import restriction_to
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import sample
from interp.progress import Show
from interp.rasp import compile_task
from paper.command import Watched, refuse_unknown, run_watched
from paper.figures import write_static
from paper.llc_compiled_page import NAMES, compiled_figure, page
from paper.tables import write_files
from tasks.sequences import (
    DominantPeak,
    Fraction,
    Histogram,
    Palindrome,
    Peak,
    Reverse,
    SequenceTask,
    Sort,
    Triplets,
)

PROGRAMS: dict[str, tuple[type[SequenceTask], str]] = {
    "peak": (Peak, "01234"),
    "dominant_peak": (DominantPeak, "01234"),
    "palindrome": (Palindrome, "abcde"),
    "fraction": (Fraction, "xabcd"),
    "histogram": (Histogram, "abcde"),
    "reverse": (Reverse, "abcde"),
    "sort": (Sort, "abcde"),
    "triplets": (Triplets, "abcde"),
}
"""The tasks, and their tokens."""
SMALLEST = (3, 4)
SIZES = (SMALLEST, (5, 4), (3, 6))
"""Tokens of the vocabulary, and of the longest sequence."""
HARDNESS = (None, 6.0, 30.0)
"""The least that is exact; and, at the smallest size, one that is softer and one that is harder."""
SEQUENCES = 40
CONFIG = LLCConfig(nbeta=3e6, localization=1e4, chains=8, thin=2)
"""nbeta is not n / log n: at that the chains are where nothing is left of the program."""
SAFE = 0.1
"""eps (nbeta h + gamma) / 4; the check's limit is 0.15."""
PILOT = 100
"""Steps of the chains that look for a larger curvature beside w*."""
MOST_BURN_IN = 1600
"""Steps; a network so stiff that it needs more is left out."""
DRAWN, LEAST_DRAWN = 4, 2000
"""Steps after burn-in, over those of burn-in: 20 relaxation times; and the fewest."""
KEPT = ("llc", "low", "high", "failures", "steps")
"""Of each coefficient, in columns."""
HEAD = f"""# Local learning coefficients of compiled programs

nbeta {CONFIG.nbeta:g}, localization {CONFIG.localization:g}, {CONFIG.chains} chains, float64.
W_U and b_U are held. The loss is the divergence from what the network says at w*, on {SEQUENCES}
sequences; of `fraction`, whose answers are values, the task's. `live` are the entries that are not
0, `body` are all. That the former are what the program is made of is a choice: a 0 can be as
necessary. A number in brackets fails the checks named there, and is no estimate; `too_stiff` are
networks whose flat directions would need more than {MOST_BURN_IN:,} steps of burn-in, which were
not sampled.

![The numbers against sizes and hardness](llc_compiled.svg)

"""


@dataclass(frozen=True)
class Network:
    """A program, and how it is compiled."""

    program: str
    vocabulary: int
    length: int
    hardness: float | None

    @property
    def task(self) -> SequenceTask:
        """On `SEQUENCES` sequences, or all there are."""
        kind, tokens = PROGRAMS[self.program]
        return kind(
            vocab=",".join(tokens[: self.vocabulary]),
            max_length=self.length,
            n_sequences=SEQUENCES,
            train_fraction=1.0,
        )


@dataclass(frozen=True)
class Options(Watched):
    """Estimate the local learning coefficients of compiled programs."""

    programs: Positional[tuple[str, ...]] = ()
    """Programs, such as peak; all of them if none is named."""
    out: Path = Path("tables")
    """Folder for the tables."""


def networks(programs: tuple[str, ...]) -> Iterator[Network]:
    """All that are asked for; the least hardness comes first."""
    for hardness in HARDNESS:
        for size in SIZES if hardness is None else (SMALLEST,):
            yield from (Network(program, *size, hardness) for program in programs)


def row(network: Network) -> dict[str, Any]:
    """The network's sizes, and its coefficients."""
    begin, task = time.perf_counter(), network.task
    compiled = compile_task(task, hardness=network.hardness, dtype="float64")
    loss = "kl" if task.loss == "cross_entropy" else "task"
    landscape = NetworkLandscape(compiled.model.eval(), task.examples("train"), loss=loss)
    live, body = restriction_to("live@body", landscape), restriction_to("body", landscape)
    found = {
        "parameters": body.size(0),
        "live": live.size(0),
        "gap": max(compiled.gaps),
        "examples": landscape.n_examples,
        "nbeta": CONFIG.nbeta,
        "localization": CONFIG.localization,
    } | coefficient(landscape, live, "live")
    if network.hardness is None and (network.vocabulary, network.length) == SMALLEST:
        found |= coefficient(landscape, body, "body")
    return asdict(network) | found | {"seconds": time.perf_counter() - begin}


def coefficient(landscape: NetworkLandscape, restriction: Restriction, name: str) -> dict[str, Any]:
    """The estimate, its interval and the checks that fail; no number where that takes too long."""
    config = replace(CONFIG, step_size=step_size(landscape, restriction, CONFIG))
    steps = max(LEAST_DRAWN, DRAWN * config.burn_in_steps)
    config = replace(config, draws=steps // config.thin)
    if config.burn_in_steps > MOST_BURN_IN:
        return {f"{name}_failures": "too_stiff", f"{name}_steps": config.steps}
    (estimate,), _ = llc_estimates(landscape, config, restriction)
    low, high = estimate.interval
    return {
        f"{name}_llc": estimate.value,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_failures": estimate.failed_checks,
        f"{name}_steps": config.steps,
    }


def step_size(landscape: Landscape, restriction: Restriction, config: LLCConfig) -> float:
    """The largest step that is safe at the curvature at w*, and where a few chains then go."""
    nbeta, gamma = config.nbeta_of(landscape.n_examples), config.localization
    one = landscape.centres.new_ones(1, 1, 1)
    posterior = Posterior(landscape, restriction, nbeta * one, gamma)

    def safe(moves: Float[Tensor, "1 chain move"], scale: float) -> float:
        curvature = largest_curvature(posterior, moves, scale * one, seed=0).abs().amax()
        return 4 * SAFE / (nbeta * float(curvature) + gamma)

    first = safe(posterior.start(1), nbeta**-0.5)
    pilot = replace(config, step_size=first, chains=4, draws=4, burn_in=PILOT)
    return min(first, safe(sample(landscape, pilot, restriction).last.nan_to_num(), first**0.5))


def write_tables(options: Options, show: Show) -> int:
    """Compile, estimate and write; the work of `python -m paper.llc_compiled`."""
    refuse_unknown("program", options.programs, PROGRAMS)
    torch.set_num_threads(1)  # the networks are small
    path = options.out / "llc_compiled.csv"
    wanted = list(networks(options.programs or tuple(PROGRAMS)))
    rows = _kept(path)
    for done, network in enumerate(wanted):
        show("networks", done, len(wanted), network.program)
        if network not in rows:
            rows[network] = row(network)
            write_files(options.out, {path.name: _table(rows).to_csv(index=False)})
    show("networks", len(wanted), len(wanted), "")
    table = _table(rows)
    write_files(options.out, {"llc_compiled.md": HEAD + page(table)})
    write_static({options.out / "llc_compiled": compiled_figure(table)})
    print(path, options.out / "llc_compiled.md", sep="\n")
    return 0


def _table(rows: dict[Network, dict[str, Any]]) -> pd.DataFrame:
    columns = [f"{name}_{what}" for name in NAMES for what in KEPT]
    table = pd.DataFrame(rows.values())
    table = table.reindex(columns=[*dict.fromkeys([*table, *columns])])
    for name in NAMES:
        table[f"{name}_failures"] = table[f"{name}_failures"].astype(object).fillna("")
    return table.astype({"hardness": float})


def _kept(path: Path) -> dict[Network, dict[str, Any]]:
    """The rows that are there, by the same settings."""
    if not path.exists():
        return {}
    table = pd.read_csv(path)
    same = (table["nbeta"] == CONFIG.nbeta) & (table["localization"] == CONFIG.localization)
    return {_network(each): each for each in table.loc[same].to_dict("records")}


def _network(row: dict[Any, Any]) -> Network:
    hardness = None if pd.isna(row["hardness"]) else float(row["hardness"])
    return Network(row["program"], row["vocabulary"], row["length"], hardness)


if __name__ == "__main__":
    sys.exit(run_watched(Options, "paper.llc_compiled", write_tables))
