"""One training step and many seeds at once, against the plain way of doing it.

    python tests/benchmarks/bench_training_step.py [--threads 2] [--repeats 15]

Each pair of ways runs in one process, its repetitions interleaved; losses and gradients are
asserted equal first. Peak memory is the growth of the process's resident set in the worst step.
"""

import argparse
import ctypes
import statistics
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interp.models.config import MLPConfig, TransformerConfig
from interp.runs.recipe import AdamW, Recipe
from tasks.composition import GroupComposition
from training.data import stack_examples
from training.state import State
from training.step import make_step

CPU = torch.device("cpu")
S5 = Recipe(GroupComposition(group="S5", train_fraction=0.4), MLPConfig())
C113 = Recipe(
    GroupComposition(group="C113", train_fraction=0.3, equals_token=True), TransformerConfig()
)
C59 = Recipe(GroupComposition(group="C59", train_fraction=0.5), MLPConfig(64, 64))


class PublishedStep:
    """The published step: stock forward, cross-entropy in float64, plain AdamW."""

    def __init__(self, recipe: Recipe) -> None:
        self.model = recipe.model.build(recipe.task, recipe.init_seed)
        given: AdamW = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=given.lr,
            betas=given.betas,
            eps=given.eps,
            weight_decay=given.weight_decay,
        )
        examples = recipe.task.examples("train")
        self.tokens, self.targets = examples.tokens, examples.targets[:, -1]

    def gradients(self) -> tuple[Tensor, dict[str, Tensor]]:
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(self.tokens)[:, -1].double(), self.targets)
        loss.backward()
        named = self.model.named_parameters()
        return loss.detach(), {name: p.grad for name, p in named if p.grad is not None}

    def __call__(self) -> None:
        self.gradients()
        self.optimizer.step()


def assert_equal_gradients(recipe: Recipe) -> None:
    plain, state = PublishedStep(recipe), State([recipe], CPU)
    loss, gradients = plain.gradients()
    losses = state.losses(stack_examples([recipe], "train", CPU))
    losses.sum().backward()
    torch.testing.assert_close(losses[0].detach(), loss, rtol=1e-6, atol=0)
    for name, parameter in state.trained.items():
        assert parameter.grad is not None
        scale = gradients[name].abs().max().item()
        torch.testing.assert_close(
            parameter.grad[0], gradients[name], rtol=0, atol=1e-5 * scale, msg=name
        )


def our_step(recipes: list[Recipe]) -> Callable[[], None]:
    return make_step(State(recipes, CPU), stack_examples(recipes, "train", CPU), recipes)


def one_after_another(recipes: list[Recipe]) -> Callable[[], None]:
    steps = [our_step([recipe]) for recipe in recipes]

    def each() -> None:
        for step in steps:
            step()

    return each


def medians(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 2):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if repeat >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def peak_megabytes(step: Callable[[], None]) -> float:
    """How far the resident set grows above its size before the step (Linux, glibc)."""
    ctypes.CDLL(None).malloc_trim(0)  # give back what earlier work left, or it hides the growth
    page = Path("/proc/self/statm")
    before = peak = int(page.read_text().split()[1])
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.0005):
            peak = max(peak, int(page.read_text().split()[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(3):
        step()
    done.set()
    watcher.join()
    return (peak - before) * 4096 / 2**20


def compare(title: str, ways: dict[str, Callable[[], None]], repeats: int) -> None:
    memory = {name: peak_megabytes(step) for name, step in ways.items()}
    milliseconds = medians(ways, repeats)
    base = next(iter(milliseconds.values()))
    print(title)
    for name, value in milliseconds.items():
        print(f"  {name:<22}{value:9.2f} ms {base / value:6.2f}x  peak +{memory[name]:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="One training step, and many seeds at once, against the plain way."
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message=".*HookedTransformer.*")
    print(f"torch {torch.__version__}, {arguments.threads} thread(s)")
    for title, recipe in {"S5 MLP, one step": S5, "C113 transformer, one step": C113}.items():
        assert_equal_gradients(recipe)
        ways = {"published": PublishedStep(recipe), "ours": our_step([recipe])}
        compare(title, ways, arguments.repeats)
    for title, recipe in {"C59 MLP of width 64": C59, "S5 MLP": S5}.items():
        recipes = [recipe.with_seed(seed) for seed in range(8)]
        ways = {"one after another": one_after_another(recipes), "at once": our_step(recipes)}
        compare(f"{title}, 8 seeds, one step each", ways, arguments.repeats)


if __name__ == "__main__":
    main()
