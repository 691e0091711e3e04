"""All metrics of one S5 checkpoint, ours against the published method written plainly.

The method of the published evaluation keeps a trace tensor of n^3 entries for
each irrep, filled in a Python loop, and an orthonormal basis of n^2 rows for each irrep and each of
a, b, ab, by QR; every loss of every irrep is a forward pass over its own n^2 x n logits, and the
hidden layer is computed anew for each irrep. It is written here for the MLP, in float32 with losses
in float64, as published. It is given our table and irreps, so the cold ratio is a lower bound.

Cold: nothing of the group in memory or on disk, and the key irreps unknown. Warm: one more
checkpoint of the same run. Each way runs in a process of its own, for its peak memory.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/bench_evaluation.py
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from analysis.representation.key_irreps import find_key_irreps
from analysis.representation.measure import Metrics, representation_metrics
from interp.models.config import MLPConfig
from interp.models.mlp import HookedMLP
from interp.runs.published import read_published_weights
from interp.runs.run import load_weights
from tasks.composition import GroupComposition
from tasks.groups import Irrep, irreps

PUBLISHED = Path(__file__).parents[3] / "shared" / "reference" / "published" / "S5_MLP_seed2"
WARM_REPEATS = 5


class PublishedMethod:
    """What depends on the group alone: cubes and bases."""

    def __init__(self, task: GroupComposition) -> None:
        self.task, self.group = task, task.finite_group
        n = self.group.order
        a, b = torch.arange(n**2) // n, torch.arange(n**2) % n
        self.ab = self.group.table[a, b]
        self.train, self.test = task.indices("train"), task.indices("test")
        self.irreps = irreps(self.group)
        self.cubes = {irrep.name: self.cube(irrep) for irrep in self.irreps[1:]}
        self.on_group = {i.name: qr(i.matrices.flatten(1)) for i in self.irreps}
        self.bases = {
            side: {i.name: qr(i.matrices[label].flatten(1)) for i in self.irreps}
            for side, label in (("a", a), ("b", b), ("ab", self.ab))
        }

    def cube(self, irrep: Irrep) -> Tensor:
        n, table = self.group.order, self.group.table.tolist()
        inverses, character = self.group.inverses.tolist(), irrep.character.tolist()
        cube = torch.zeros(n, n, n)
        for a in range(n):
            for b in range(n):
                for c in range(n):
                    cube[a, b, c] = character[table[table[a][b]][inverses[c]]]
        return cube

    @torch.no_grad()
    def measure(self, model: HookedMLP) -> Metrics:
        n, metrics = self.group.order, {}

        def put(metric: str, irrep: str, value: Tensor | float) -> None:
            metrics.setdefault(metric, {})["irrep:" + irrep if irrep else ""] = float(value)

        logits = model(self.task.examples("all").tokens)[:, -1]
        for split, pairs in (("train", self.train), ("test", self.test), ("all", slice(None))):
            put(f"loss/{split}", "", loss(logits[pairs], self.ab[pairs]))
        cube_logits = (logits - logits.mean(-1, keepdim=True)).reshape(n, n, n)
        parts, key = {}, []
        for name, cube in self.cubes.items():
            similarity = (cube_logits * cube).sum() / cube_logits.norm() / cube.norm()
            put("logits/similarity", name, similarity)
            if similarity > 0.005:
                key.append(name)
            part = similarity * cube_logits.norm() * cube / cube.norm()
            parts[name] = part.reshape(n**2, n)
            self.put_losses(put, "logits", name, cube_logits.reshape(n**2, n), parts[name])
        put("logits/fve", "", sum(v**2 for v in metrics["logits/similarity"].values()))
        total = sum((parts[name] for name in key), torch.zeros_like(logits))
        self.put_losses(put, "logits", "", cube_logits.reshape(n**2, n), total)
        d_embed = model.config.d_embed
        embed_a = model.W_E_a @ model.W_in[:d_embed]
        embed_b = model.W_E_b @ model.W_in[d_embed:]
        for name, basis in self.on_group.items():
            put("embed_a/fve", name, share(basis, embed_a))
            put("embed_b/fve", name, share(basis, embed_b))
            put("unembed/fve", name, share(basis, model.W_U.T))
        hidden_total = torch.zeros(n**2, model.config.d_mlp)
        for irrep in self.irreps:
            hidden = self.hidden(model)  # anew for each irrep, as published
            varied = hidden - hidden.mean(0)
            for side, bases in self.bases.items():
                put(f"hidden_{side}/fve", irrep.name, share(bases[irrep.name], varied))
            hidden = self.hidden(model)
            basis = self.bases["ab"][irrep.name]
            projected = basis @ (basis.T @ hidden)
            if irrep.name in key:
                hidden_total += projected
            self.put_hidden_losses(put, irrep.name, model, hidden, projected)
        self.put_hidden_losses(put, "", model, self.hidden(model), hidden_total)
        for name in ("embed_a", "embed_b", "unembed", "hidden_a", "hidden_b", "hidden_ab"):
            shares = metrics[f"{name}/fve"]
            put(f"{name}/fve", "", sum(shares[f"irrep:{irrep}"] for irrep in key))
        return metrics

    def hidden(self, model: HookedMLP) -> Tensor:
        _, cache = model.run_with_cache(self.task.examples("all").tokens)
        return cache["mlp.hook_post"]

    def put_losses(self, put: Callable, kind: str, name: str, logits: Tensor, part: Tensor) -> None:
        excluded = loss((logits - part)[self.train], self.ab[self.train])
        put(f"{kind}/excluded_loss", name, excluded)
        put(f"{kind}/restricted_loss", name, loss(part, self.ab))

    def put_hidden_losses(
        self, put: Callable, name: str, model: HookedMLP, hidden: Tensor, part: Tensor
    ) -> None:
        excluded = ((hidden - part) @ model.W_U)[self.train]
        put("hidden/excluded_loss", name, loss(excluded, self.ab[self.train]))
        put("hidden/restricted_loss", name, loss(part @ model.W_U, self.ab))


def qr(columns: Tensor) -> Tensor:
    return torch.linalg.qr(columns.float()).Q


def share(basis: Tensor, values: Tensor) -> Tensor:
    return (basis.T @ values).square().sum() / values.square().sum()


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits.double(), targets)


def checkpoint() -> tuple[HookedMLP, GroupComposition]:
    """The published S5_MLP_seed2, or random weights where it is not at hand."""
    task = GroupComposition(group="S5@published", split_seed=2)
    model = MLPConfig().build(task, seed=2)
    assert isinstance(model, HookedMLP)
    if PUBLISHED.is_dir():
        load_weights(model, read_published_weights(PUBLISHED / "model.pt"))
    return model, task


def run(way: str) -> None:
    """Measure cold, then warm, and print what came out as JSON."""
    model, task = checkpoint()
    start = time.perf_counter()
    if way == "plain":
        measure = PublishedMethod(task).measure
    else:
        key_irreps = find_key_irreps(model, task).names
        measure = partial(representation_metrics, task=task, key_irreps=key_irreps)
    metrics = measure(model)
    cold = time.perf_counter() - start
    warm = math.inf
    for _ in range(WARM_REPEATS):
        start = time.perf_counter()
        measure(model)
        warm = min(warm, time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"metrics": metrics, "cold": cold, "warm": warm, "peak": peak}))


def run_apart(way: str) -> dict:
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"INTERP_CACHE_DIR": empty}
        command = [sys.executable, __file__, way]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def assert_equal(ours: Metrics, plain: Metrics) -> int:
    """To float32's precision: 1e-4, 1e-3 for restricted losses below 1e-6; shares to 1e-6."""
    compared = 0
    for metric, values in plain.items():
        for component, value in values.items():
            found = ours[metric][component]
            relative = 1e-3 if "restricted" in metric and value < 1e-6 else 1e-4
            absolute = 1e-6 if metric.endswith(("fve", "similarity")) else 0
            assert math.isclose(found, value, rel_tol=relative, abs_tol=absolute), (
                f"{metric} {component}: {found} is not {value}"
            )
            compared += 1
    return compared


def main() -> None:
    fast, plain = run_apart("ours"), run_apart("plain")
    compared = assert_equal(fast["metrics"], plain["metrics"])
    weights = "S5_MLP_seed2" if PUBLISHED.is_dir() else "random weights"
    print(f"S5 MLP, {weights}: {compared} values equal")
    for state in ("cold", "warm"):
        ratio = plain[state] / fast[state]
        print(f"  {state}  ours {fast[state]:7.3f} s   plain {plain[state]:7.3f} s   {ratio:6.1f}x")
    print(f"  peak  ours {fast['peak']:5.0f} MiB   plain {plain['peak']:5.0f} MiB")


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
