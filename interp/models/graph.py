"""Names for the parts of a transformer, seen as a graph.

Senders write to the residual stream: `embed`, `pos_embed`, heads `L0H1` (layer 0, head 1) and MLPs
`MLP0`. Receivers read from it: `L0H1.q`, `L0H1.k`, `L0H1.v`, `MLP0` and `unembed`. An edge goes
from a sender to a receiver that comes after it.
"""

from typing import NamedTuple

EMBED, POS_EMBED, UNEMBED = "embed", "pos_embed", "unembed"


def head_name(layer: int, head: int) -> str:
    """`L0H1`."""
    return f"L{layer}H{head}"


def mlp_name(layer: int) -> str:
    """`MLP0`."""
    return f"MLP{layer}"


class Edge(NamedTuple):
    """From what writes to the residual stream to what reads there."""

    sender: str
    receiver: str

    def __str__(self) -> str:
        return f"{self.sender}->{self.receiver}"


def node_of(end: str) -> str:
    """The part of the network that an edge's end belongs to: `L0H1` of `L0H1.q`."""
    return end.partition(".")[0]


def edges(n_layers: int, n_heads: int, *, has_mlp: bool = True) -> list[Edge]:
    """All edges of a transformer, in the order of their receivers."""
    found: list[Edge] = []
    senders = [EMBED, POS_EMBED]
    for layer in range(n_layers):
        heads = [head_name(layer, head) for head in range(n_heads)]
        found += [Edge(s, f"{h}.{x}") for h in heads for x in "qkv" for s in senders]
        senders += heads
        if has_mlp:
            found += [Edge(s, mlp_name(layer)) for s in senders]
            senders.append(mlp_name(layer))
    return found + [Edge(sender, UNEMBED) for sender in senders]
