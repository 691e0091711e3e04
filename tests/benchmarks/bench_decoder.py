"""Training and generation with a `Decoder`, against the plain way of doing it.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_decoder.py

The plain training step is the hooked forward with cross-entropy in float32 and PyTorch's Adam;
plain generation reads the whole sequence anew for every token. Both ways of each pair are
interleaved in one process, and their results asserted equal first.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interp.models.config import DecoderConfig
from interp.models.generate import generate
from interp.runs.recipe import AdamW, Recipe, Schedule
from tasks.iteration import Polynomial
from training.data import minibatch_rows, stack_examples
from training.state import State
from training.step import make_step

CPU = torch.device("cpu")
RECIPE = Recipe(
    Polynomial(max_length=8, preset="published"),
    DecoderConfig(d_model=64, dropout=0.0),
    AdamW(1e-3, betas=(0.9, 0.999), weight_decay=0.0),
    Schedule(steps=100, batch_size=256),
)


class PlainStep:
    """Stock forward of the hooked network, and Adam."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.step = recipe, 0
        self.model = recipe.model.build(recipe.task, recipe.init_seed)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=recipe.optimizer.lr)
        self.examples = recipe.task.examples("train")

    def __call__(self) -> Tensor:
        rows = minibatch_rows([self.recipe], len(self.examples), self.step)
        assert rows is not None
        tokens, targets = self.examples.tokens[rows[0]], self.examples.targets[rows[0]]
        loss = cross_entropy(self.model(tokens).flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()


def plain_generate(model: torch.nn.Module, prompt: Tensor, n_tokens: int) -> Tensor:
    tokens = prompt
    with torch.no_grad():
        for _ in range(n_tokens):
            tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(dim=-1)], dim=1)
    return tokens[:, prompt.shape[1] :]


def compare(title: str, ours: Callable[[], object], plain: Callable[[], object]) -> None:
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(12):
        for name, way in (("ours", ours), ("plain", plain)):
            start = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - start))
    our_ms, plain_ms = (statistics.median(values[2:]) for values in times.values())
    print(
        f"{title:<44} ours {our_ms:7.1f} ms   plain {plain_ms:7.1f} ms   {plain_ms / our_ms:.2f}x"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    state, train = State([RECIPE], CPU), stack_examples([RECIPE], "train", CPU)
    step, plain = make_step(state, train, [RECIPE]), PlainStep(RECIPE)
    for _ in range(3):
        step(), plain()
    with torch.no_grad():
        logits = plain.model(plain.examples.tokens).flatten(0, 1)
        loss = cross_entropy(logits.double(), plain.examples.targets.flatten())
    torch.testing.assert_close(state.evaluate(train)[0][0], loss, rtol=1e-5, atol=0)
    compare("a step: d 64, lengths to 8, batch 256", step, plain)
    dropped = replace(RECIPE, model=replace(RECIPE.model, dropout=0.1))
    step = make_step(State([dropped], CPU), train, [dropped])
    compare("the same, with dropout where the plain has none", step, plain)

    task = Polynomial(max_length=32, n_per_length=512)
    model = DecoderConfig(d_model=64).build(task, 0)
    longest = task.encoding.lengths(task.examples("test").tokens) == 32
    prompt = task.encoding.prompt(task.examples("test").tokens[longest])
    assert torch.equal(generate(model, prompt, 32), plain_generate(model, prompt, 32))
    compare(
        f"{len(prompt)} answers of 32 tokens, d 64",
        lambda: generate(model, prompt, 32),
        lambda: plain_generate(model, prompt, 32),
    )


if __name__ == "__main__":
    main()
