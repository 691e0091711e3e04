"""Learning coefficients by devinterp, of either generation: the version that is installed.

A script of its own, since the two share a package name: `PYTHON paper/llc_devinterp.py` reads jobs
from stdin, one JSON object a line, and answers each with a line: the estimates of its chains.
Needs torch and devinterp, nothing else. All losses are 0 at their centre.
"""

import contextlib
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


def regular(weights: Tensor, examples: Tensor, curvatures: Sequence[float]) -> Tensor:
    """As `analysis.llc.known.RegularData`; with an example of zeros, `Regular`."""
    squares = (weights - examples).square() - examples.square()
    return (weights.new_tensor(curvatures) * squares).sum(dim=-1) / 2


def normal_crossing(weights: Tensor, examples: Tensor, exponents: Sequence[int]) -> Tensor:
    """As `analysis.llc.known.NormalCrossing`."""
    return weights[0] ** (2 * exponents[0]) * weights[1] ** (2 * exponents[1])


def deep_linear(weights: Tensor, examples: Tensor, widths: Sequence[int], rank: int) -> Tensor:
    """As `analysis.llc.known.DeepLinear`."""
    shapes = [(after, before) for before, after in pairwise(widths)]
    product = torch.eye(widths[0]).to(weights)
    for piece, shape in zip(weights.split([prod(s) for s in shapes]), shapes, strict=True):
        product = piece.view(shape) @ product
    truth = torch.zeros(widths[-1], widths[0])
    truth.diagonal()[:rank] = 1
    return (product - truth).square().sum() / 2


LOSSES: dict[str, Callable[..., Tensor]] = {
    "Regular": regular,
    "RegularData": regular,
    "NormalCrossing": normal_crossing,
    "DeepLinear": deep_linear,
}


class Model(nn.Module):
    """A parameter vector whose output, of examples, is their mean loss."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(job["centre"]))
        self.loss, self.known = LOSSES[job["loss"]], job["known"]

    def forward(self, examples: Tensor) -> Tensor:
        """The mean loss."""
        return self.loss(self.weights, examples, **self.known).mean()


def estimates(job: dict[str, Any]) -> list[float]:
    """Each chain's estimate."""
    from devinterp.slt import sampler

    model, examples = Model(job), torch.tensor(job["examples"])
    optimizer = {
        "lr": job["step_size"],
        "nbeta": job["nbeta"],
        "localization": job["localization"],
    }
    chain = {
        "num_draws": job["draws"],
        "num_burnin_steps": job["burn_in"],
        "num_steps_bw_draws": job["thin"],
    }
    if not hasattr(sampler, "estimate_learning_coeff_with_summary"):
        return [_second(model, examples, job, optimizer, chain, i) for i in range(job["chains"])]
    found = sampler.estimate_learning_coeff_with_summary(  # pyright: ignore
        model,
        DataLoader(examples, batch_size=job["batch_size"], shuffle=True),  # pyright: ignore
        evaluate=lambda model, batch: (model(batch), {}),
        optimizer_kwargs=optimizer,
        num_chains=job["chains"],
        seed=job["seed"],
        verbose=False,
        **chain,
    )
    return [float(found[f"llc-chain/{i}"]) for i in range(job["chains"])]


def _second(
    model: Model, examples: Tensor, job: dict[str, Any], optimizer: dict, chain: dict, index: int
) -> float:
    """A chain of the second generation, which has no estimator for losses of one's own."""
    from devinterp.optim.sgmcmc import SGMCMC
    from devinterp.slt.sampler import sample_single_chain

    losses: list[float] = []
    seed = 1000 * job["seed"] + index
    sample_single_chain(
        model,
        [{"input_ids": example} for example in examples],  # pyright: ignore
        lambda model, batch: (model(batch["input_ids"]), {}),  # pyright: ignore
        {"weights": None},
        sampling_method=SGMCMC.sgld,  # pyright: ignore
        sampling_method_kwargs=optimizer,
        seed=seed,
        dataloader_seed=seed,
        batch_size=job["batch_size"],
        callbacks=[lambda loss, **_: losses.append(float(loss.mean()))],
        **chain,
    )
    return job["nbeta"] * sum(losses) / len(losses)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            answer = estimates(json.loads(line))
        print(json.dumps(answer), flush=True)
