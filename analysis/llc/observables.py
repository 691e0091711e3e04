"""What else the draws tell, as functions of a trace.

Draws of all chains are pooled, about the mean of all. That is right if the chains agree, which is
for the checks of the estimate to say. All of it is of the localised and tempered posterior that was
sampled; `sample` keeps what is needed if asked, `keep={"example_losses", "moves"}`.
"""

from math import log

import torch
from jaxtyping import Float64
from torch import Tensor

from analysis.llc.landscape import Landscape
from analysis.llc.posterior import Posterior
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import Trace

Pooled = Float64[Tensor, "point pooled_draw quantity"]


def wbic(trace: Trace) -> tuple[Float64[Tensor, "point"], Float64[Tensor, "point"]]:
    """The WBIC, n times the mean loss on all examples, and its standard error from the chains.

    Watanabe (2013), arXiv 1208.6338, where the mean is that at nbeta = n / log n. Raises
    `ValueError` for a trace at another.
    """
    n_examples = trace.n_examples
    its_nbeta = n_examples / log(n_examples)
    if not torch.allclose(trace.nbeta, torch.full_like(trace.nbeta, its_nbeta), rtol=1e-5):
        raise ValueError(
            f"nbeta is {float(trace.nbeta[0]):g}: the WBIC is of n / log n = {its_nbeta:g}"
        )
    chains = n_examples * trace.full_loss.double().mean(dim=-1)
    return chains.mean(dim=-1), chains.std(dim=-1) / chains.shape[1] ** 0.5


def singular_fluctuation(trace: Trace) -> Float64[Tensor, "point"]:
    """nu = nbeta / 2 times the mean over the examples of the variance of their loss.

    Watanabe (2010), "Asymptotic equivalence of Bayes cross validation and WAIC", JMLR 11: nu is
    beta / 2 times V, the sum over n examples of the posterior variance of log p, at nbeta = n beta.
    His is the mean in the limit of large n, ours the value of this data set. For a regular model
    and large nbeta it is tr(C H^-1) / 2, with C the covariance of the examples' gradients and H
    the Hessian; where the model has the truth, C = H, it is half the number of parameters, like
    lambda.
    """
    return trace.nbeta / 2 * _pooled(trace, "example_losses").var(dim=1).mean(dim=-1)


def covariance_spectrum(trace: Trace) -> Float64[Tensor, "point eigenvalue"]:
    """Eigenvalues of the covariance of the moves, the largest first.

    As many as there are coordinates, or, if they are fewer, draws of all chains. A quadratic loss
    with curvatures h has 1 / (nbeta h + gamma).
    """
    centred = _centred(_pooled(trace, "moves"))
    few = centred if centred.shape[1] < centred.shape[2] else centred.mT
    # The Gram matrix has the same eigenvalues but for zeros.
    return torch.linalg.eigvalsh(few @ few.mT / (centred.shape[1] - 1)).flip(-1)


def loss_covariance(trace: Trace) -> Float64[Tensor, "point example example"]:
    """The posterior covariance of the losses of every two examples.

    Minus nbeta / n times it is how the mean loss of one answers to the weight of the other.
    """
    losses = _pooled(trace, "example_losses")
    return _covariance(losses, losses)


def bayesian_influence(trace: Trace) -> Float64[Tensor, "point example example"]:
    """The posterior correlation of the losses of every two examples.

    The Bayesian influence function between examples (Kreer et al., 2025, arXiv 2509.26544) is
    minus their covariance; divided by both standard deviations, and with the sign turned so that
    examples that help each other are positive, it is what devinterp's `bif` computes. NaN for an
    example whose loss does not change.
    """
    covariance = loss_covariance(trace)
    scale = covariance.diagonal(dim1=1, dim2=2).sqrt()
    return covariance / (scale[:, :, None] * scale[:, None])


def losses_elsewhere(
    trace: Trace, landscape: Landscape, restriction: Restriction | None = None
) -> Float64[Tensor, "point chain full_draw other_example"]:
    """The losses of another data set's examples at the draws, for `susceptibilities`.

    Args:
        trace: with its moves.
        landscape: the other data set, about the same centres.
        restriction: what the trace was sampled in.
    """
    nbeta = trace.nbeta[:, None, None].to(landscape.centres)
    posterior = Posterior(landscape, restriction or Restriction(), nbeta, trace.config.localization)
    draws = _kept(trace, "moves").to(landscape.centres).unbind(dim=2)
    losses = [posterior.losses(moves, posterior.everything) for moves in draws]
    return torch.stack(losses, dim=2).double().cpu()


def susceptibilities(
    trace: Trace, elsewhere: Float64[Tensor, "point chain full_draw other_example"]
) -> Float64[Tensor, "point other_example"]:
    """How the loss answers to a little of another data set: -Cov(L, l_j - L).

    Times nbeta it is the derivative, at h = 0, of the posterior mean of L as the loss becomes
    (1 - h) L + h l_j (Baker et al., 2025, arXiv 2504.18274, appendix C.4; there L is that of one
    component of the network, as it is here if the trace is of a restriction).

    Args:
        trace: of the data set whose loss is L.
        elsewhere: l_j at the same draws, see `losses_elsewhere`; their mean over j is the
            susceptibility to the whole data set.
    """
    full = trace.full_loss.double().flatten(1, 2)[..., None]
    other = elsewhere.flatten(1, 2) - full
    return -_covariance(full, other)[:, 0]


def _kept(trace: Trace, name: str) -> Tensor:
    values = getattr(trace, name)
    if values is None:
        raise ValueError(f"the trace has no {name}: sample with keep={{{name!r}}}")
    return values


def _pooled(trace: Trace, name: str) -> Pooled:
    return _kept(trace, name).double().flatten(1, 2)


def _centred(draws: Pooled) -> Pooled:
    return draws - draws.mean(dim=1, keepdim=True)


def _covariance(
    one: Float64[Tensor, "point pooled_draw a"], other: Float64[Tensor, "point pooled_draw b"]
) -> Float64[Tensor, "point a b"]:
    return _centred(one).mT @ _centred(other) / (one.shape[1] - 1)
