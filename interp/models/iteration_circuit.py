"""The true circuit of the hand-set iteration head: which edges carry what, before any patching.

What its parts write is read off undisturbed runs of the network itself. Weights write 0 or 1,
attention is one-hot and neurons fire or not, so the construction says whole numbers everywhere,
and a run differs from them by rounding alone. To write the variables down a second time would
repeat the network; a test does that.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from interp.models.graph import EMBED, POS_EMBED, head_name, mlp_name
from interp.models.transformer import TaskTransformer
from interp.models.true_circuit import Circuit, Residual, judge_edges
from tasks.pairs import Pairs, is_scored

ROUNDING = 1e-4
"""How far what a part writes may be from a whole number."""


def iteration_circuit(model: TaskTransformer, pairs: Pairs) -> Circuit:
    """Judge every edge of an `iteration_head` by the inputs of `pairs`, clean and corrupted.

    What receivers do is judged where there is an answer: of what they do elsewhere nothing is
    read, since keys and values come from the embeddings alone. An EoS that fills a shorter sequence
    up is a token like others: what the network writes there is a message, and a patch brings it.

    Raises `ValueError` for a network whose parts do not write whole numbers.
    """
    tokens = torch.cat([pairs.clean.tokens, pairs.corrupted.tokens]).cpu()
    scored = torch.cat([is_scored(pairs.clean), is_scored(pairs.corrupted)]).cpu()
    inputs = torch.cat([tokens, scored.long()], dim=1).unique(dim=0)
    tokens, scored = inputs.tensor_split(2, dim=1)
    no_pads = torch.zeros_like(tokens, dtype=torch.bool)
    kinds = judge_edges(model, exact_messages(model, tokens), scored.bool(), no_pads)
    return Circuit(kinds, len(pairs))


@torch.no_grad()
def exact_messages(
    model: TaskTransformer, tokens: Int64[Tensor, "example position"]
) -> dict[str, Residual]:
    """What every sender of an `iteration_head` writes, by name, in whole numbers.

    Raises `ValueError` where a part writes others.
    """
    _, cache = model.run_with_cache(tokens.to(model.W_E.device))
    sent = {EMBED: cache["hook_embed"], POS_EMBED: cache["hook_pos_embed"]}
    for layer, block in enumerate(model.blocks):
        for head, W_O in enumerate(block.attn.W_O):
            sent[head_name(layer, head)] = cache["z", layer][:, :, head] @ W_O
        sent[mlp_name(layer)] = cache["mlp_out", layer]
    return {name: _whole(name, message.double().cpu()) for name, message in sent.items()}


def _whole(name: str, message: Float[Tensor, "example position d_model"]) -> Residual:
    """The nearest whole numbers."""
    whole = message.round()
    if (error := float((message - whole).abs().max())) > ROUNDING:
        raise ValueError(
            f"{name} writes numbers that are {error:.2g} from whole ones: this is no hand-set "
            "iteration head, and what its edges should carry is not known"
        )
    return whole
