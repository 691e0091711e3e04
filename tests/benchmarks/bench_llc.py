"""Sampling for learning coefficients, against both generations of devinterp.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_llc.py [--devinterp-1 PYTHON]

The two generations share a package name: each way of sampling has a process of its own (with
devinterp 1.3.2 and TransformerLens in the environment of PYTHON), and they are asked in turn, so
that other programs on the machine disturb all of them. Times are those of the processor, for one
step of one chain. Estimates are asserted equal within their errors first.

Ours are all chains at once, and, for what that alone brings, the same steps chain by chain with the
hooked forward. devinterp 2 is its `llc()`, whose losses have the shape of a language model's, and
1.3.2 its `estimate_learning_coeff_with_summary`.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).parents[2]
REPEATS = 2


@dataclass(frozen=True)
class Case:
    """A network and settings for all ways."""

    make: Callable[[], tuple[nn.Module, Tensor, Tensor]]
    """The network, its inputs, and the answers at the last position."""
    step_size: float
    chains: int
    draws: int
    batch_size: int
    localization: float = 1.0


def c113() -> tuple[nn.Module, Tensor, Tensor]:
    """The one-layer transformer of d_model 128 on all pairs of C113."""
    from interp.models.config import TransformerConfig
    from tasks.composition import GroupComposition

    task = GroupComposition("C113", equals_token=True)
    examples = task.examples("all")
    return TransformerConfig().build(task, 0).eval(), examples.tokens, examples.targets[:, -1]


def sort() -> tuple[nn.Module, Tensor, Tensor]:
    """A compiled program on 50 sequences; what it says last is to be said."""
    from interp.rasp import compile_task
    from tasks.sequences import Sort

    task = Sort("a..e", max_length=8)
    model = compile_task(task, dtype="float32").model.eval()
    tokens = task.examples("train").tokens[:50]
    return model, tokens, model(tokens)[:, -1].argmax(dim=-1)


class Crossing(nn.Module):
    """Two parameters whose loss is (w_1 w_2)^2: the squared error of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, inputs: Tensor) -> Tensor:
        """w_1 w_2, for each input."""
        return (self.w[0] * self.w[1]).expand(len(inputs))


def crossing() -> tuple[nn.Module, Tensor, Tensor]:
    """One example, which is all there is to it."""
    return Crossing().eval(), torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1)


CASES = {
    "C113, 512": Case(c113, 1e-6, 4, 60, 512),
    "C113, 32": Case(c113, 1e-6, 4, 100, 32),
    "C113, all": Case(c113, 1e-6, 4, 4, 12769),
    "sort, all of 50": Case(sort, 1e-7, 10, 40, 50),
    "normal crossing": Case(crossing, 4e-4, 256, 400, 1),
}
FEWER = {"normal crossing": 4}
"""Chains of devinterp where it would take minutes: they do not depend on each other."""
NBETA = 100.0


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each example."""
    if outputs.dim() == 1:
        return (outputs - targets).square()
    return cross_entropy(outputs[:, -1], targets, reduction="none")


def ours(case: Case, *, sequential: bool = False) -> list[float]:
    """Each chain's estimate."""
    from analysis.llc import LLCConfig, ModuleLandscape, NetworkLandscape, sample
    from analysis.llc.engines import sample_sequentially
    from tasks.task import IGNORE, Examples

    model, inputs, answers = case.make()
    config = LLCConfig(
        "sgld",
        step_size=case.step_size,
        nbeta=nbeta_of(inputs),
        localization=case.localization,
        chains=case.chains,
        draws=case.draws,
        burn_in=0,
        batch_size=min(case.batch_size, len(inputs)),
        full_every=10**9,
    )
    if isinstance(model, Crossing):
        landscape = ModuleLandscape(model, inputs, answers, loss_of)
    else:
        targets = torch.full_like(inputs, IGNORE)
        targets[:, -1] = answers
        landscape = NetworkLandscape(model, Examples(inputs, targets))
    trace = (sample_sequentially if sequential else sample)(landscape, config)
    return (config.nbeta_of(len(inputs)) * trace.loss.mean(dim=-1)[0]).tolist()


def nbeta_of(inputs: Tensor) -> float:
    """n / log n, or for one example as if of 1000."""
    n = len(inputs) if len(inputs) > 1 else 1000
    return n / log(n)


def second(case: Case) -> list[float]:
    """Each chain's estimate by `llc()` of devinterp 2, without the loss at w*."""
    import datasets
    from devinterp.slt.llc import llc

    model, inputs, answers = case.make()
    datasets.disable_progress_bars()
    width = inputs.shape[1]
    # What is to be said travels as two more tokens, since the loss sees nothing but tokens.
    coded = torch.stack([answers.long() // 256, answers.long() % 256], dim=1)
    data = datasets.Dataset.from_dict({"input_ids": torch.cat([inputs, coded], dim=1).tolist()})
    data = data.with_format("torch")

    def loss(model: nn.Module, ids: Tensor) -> Tensor:
        targets = ids[:, -2] * 256 + ids[:, -1]
        return loss_of(model(ids[:, :width]), targets)[:, None].expand(-1, width + 1)

    nbeta = nbeta_of(inputs)
    found = llc(
        model,
        data,
        {},
        lr=case.step_size,
        n_beta=nbeta,
        loss_fn=loss,
        localization=case.localization,
        num_chains=case.chains,
        num_draws=case.draws,
        batch_size=case.batch_size,
        num_init_loss_batches=1,
    )
    return (nbeta * found.loss_trace.mean(dim="step")).values.tolist()


def first(case: Case) -> list[float]:
    """Each chain's estimate by devinterp 1.3.2, without the loss at w*."""
    from devinterp.slt import sampler

    model, inputs, answers = case.make()
    nbeta = nbeta_of(inputs)
    data = torch.utils.data.TensorDataset(inputs, answers)
    found = sampler.estimate_learning_coeff_with_summary(  # pyright: ignore
        model,
        torch.utils.data.DataLoader(data, batch_size=case.batch_size, shuffle=True),
        evaluate=lambda model, batch: (loss_of(model(batch[0]), batch[1]).mean(), {}),
        optimizer_kwargs={"lr": case.step_size, "nbeta": nbeta, "localization": case.localization},
        num_chains=case.chains,
        num_draws=case.draws,
        init_loss=1e-30,  # 0 would count as not given
        verbose=False,
    )
    return [nbeta * float(found["loss/trace"][i].mean()) for i in range(case.chains)]


WAYS = {"ours": ours, "one by one": lambda case: ours(case, sequential=True), "2": second}


def serve(way: str) -> None:
    """Answer the name of a case on stdin with seconds and estimates."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    do = first if way == "1" else WAYS[way]
    for line in sys.stdin:
        name = line.strip()
        case = CASES[name]
        if way != "ours" and name in FEWER:
            case = Case(**{**vars(case), "chains": FEWER[name]})
        with contextlib.redirect_stdout(sys.stderr):
            case.make()  # imports, caches
            begin = time.process_time()
            estimates = do(case)
            seconds = time.process_time() - begin
        made = time.process_time()
        case.make()
        seconds -= time.process_time() - made  # that of making the network is not sampling
        steps = case.chains * case.draws
        print(json.dumps({"ms": 1000 * seconds / steps, "estimates": estimates}), flush=True)


def worker(python: str, way: str) -> Any:
    """A process that samples in one way."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [python, __file__, "--serve", way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def ask(process: Any, name: str) -> dict[str, Any]:
    """What a worker answers."""
    process.stdin.write(name + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        return serve(sys.argv[2])
    workers = {way: worker(sys.executable, way) for way in WAYS}
    if sys.argv[1:2] == ["--devinterp-1"]:
        workers["1"] = worker(sys.argv[2], "1")
    for name in CASES:
        times: dict[str, list[float]] = {way: [] for way in workers}
        estimates: dict[str, list[float]] = {way: [] for way in workers}
        for repeat in range(REPEATS + 1):  # the first warms up
            for way, process in workers.items():
                answer = ask(process, name)
                estimates[way] += answer["estimates"]
                if repeat:
                    times[way].append(answer["ms"])
        compare(estimates)
        middle = {way: statistics.median(values) for way, values in times.items()}
        ratios = "   ".join(
            f"{way}: {ms:.4g} ms ({ms / middle['ours']:.3g}x)" for way, ms in middle.items()
        )
        print(f"{name}: {ratios}", flush=True)


def compare(estimates: dict[str, list[float]]) -> None:
    """Assert that all ways estimate the same, within four standard errors."""

    def error(values: list[float]) -> float:
        return statistics.stdev(values) / len(values) ** 0.5

    mean = {way: statistics.mean(values) for way, values in estimates.items()}
    for way, values in estimates.items():
        both = (error(values) ** 2 + error(estimates["ours"]) ** 2) ** 0.5
        assert abs(mean[way] - mean["ours"]) < 4 * both + 1e-3 * abs(mean["ours"]), mean


if __name__ == "__main__":
    main()
