"""Sampling about a network that is sure of its answers, with denormals flushed and without.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_denormals.py

The probabilities of wrong answers are below 1e-38 there. Losses are asserted equal first; times are
those of the processor, the two ways in turn.
"""

import statistics
import time

import torch

from analysis.llc import LLCConfig, NetworkLandscape, sample
from interp.models.config import MLPConfig
from tasks.composition import GroupComposition

REPEATS = 3
CONFIG = LLCConfig("sgld", step_size=1e-9, nbeta=100.0, chains=4, draws=10, burn_in=1)
SURE = 200.0
"""Times the weights that a network begins with."""


def main() -> None:
    torch.set_num_threads(1)
    task = GroupComposition("C113", train_fraction=0.4)
    model = MLPConfig(d_embed=24, d_mlp=64).build(task, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(SURE ** (1 / 3))
    landscape = NetworkLandscape(model, task.examples("train"), loss="kl")
    ways = {"flushed": sample, "as it is": sample.__wrapped__}
    traces = {name: way(landscape, CONFIG) for name, way in ways.items()}
    torch.testing.assert_close(traces["flushed"].loss, traces["as it is"].loss)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            begin = time.process_time()
            way(landscape, CONFIG)
            times[name].append(time.process_time() - begin)
    middle = {name: statistics.median(values) for name, values in times.items()}
    steps = CONFIG.chains * CONFIG.steps
    for name, seconds in middle.items():
        print(f"{name}: {1000 * seconds / steps:.3g} ms a step of a chain")
    print(f"ratio {middle['as it is'] / middle['flushed']:.3g}")


if __name__ == "__main__":
    main()
