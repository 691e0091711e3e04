"""One update of a batch of instances."""

from collections.abc import Callable, Sequence

from interp.models.stacked import is_ours
from interp.runs.recipe import Recipe
from training.cuda_graph import record_step
from training.data import Data, minibatch_rows
from training.state import State


def update(state: State, data: Data) -> None:
    """Forward, backward and AdamW. No instance's gradient sees another's loss."""
    state.optimizer.zero_grad(set_to_none=True)
    state.losses(data).sum().backward()
    state.optimizer.step()


def make_step(state: State, train: Data, recipes: Sequence[Recipe]) -> Callable[[], None]:
    """A function that takes `state` one step on.

    On cuda, a full-batch step of one of our own architectures is a recorded graph, unless it draws
    anything.
    """
    full_batch = minibatch_rows(recipes, train.n_examples, 0) is None
    is_fixed = full_batch and not state.is_random
    if is_fixed and train.tokens.is_cuda and is_ours(state.model):
        compute = record_step(state, train, update)
    else:

        def compute() -> None:
            update(state, batch(train, recipes, state.step))

    def step() -> None:
        compute()
        state.step += 1

    return step


def batch(train: Data, recipes: Sequence[Recipe], step: int) -> Data:
    """The examples of the update that follows `step` updates."""
    rows = minibatch_rows(recipes, train.n_examples, step)
    return train if rows is None else train.pick(rows.to(train.tokens.device))
