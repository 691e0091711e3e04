"""The parts of a network by name, and what a name restricts a chain to.

    all                    everything that is trained
    body                   all but W_U and b_U
    live                   what is not 0 at w*
    l0, l0attn, l0mlp      a block (with its norms), its attention, its MLP
    l0h1                   a head: its W_Q, W_K, W_V, W_O and, where trained, b_Q, b_K, b_V
    embed, pos_embed, unembed
    embed_a, embed_b       of the networks with one embedding for each operand
    blocks.0.mlp.W_in      any parameter
    live@body              what is in both

Upper or lower case, and spaces, do not matter.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from analysis.llc.landscape import ModuleLandscape
from analysis.llc.restriction import Restriction, positions
from analysis.llc.subspaces import KINDS, subspace
from interp.arguments import nearest
from interp.models.graph import EMBED, POS_EMBED, UNEMBED, head_name
from tasks.task import Task

_PER_HEAD = ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V")
_OUTSIDE_BLOCKS = {
    "embed.W_E": (EMBED,),
    "W_E_a": (EMBED, "embed_a"),
    "W_E_b": (EMBED, "embed_b"),
    "pos_embed.W_pos": (POS_EMBED,),
    "unembed.W_U": (UNEMBED,),
    "unembed.b_U": (UNEMBED,),
    "W_U": (UNEMBED,),
}
_MOST_SHOWN = 12


def restriction_to(name: str, landscape: ModuleLandscape, task: Task | None = None) -> Restriction:
    """The restriction that the command line calls `name`.

    Parts joined by `+`, such as `l0h1+embed` or `live@body`, see above; or a subspace, such as
    `irrep:standard`, `irrep:standard@unembed`, `random:9:3@unembed`, see
    `analysis.llc.subspaces.subspace`. That the live parameters are those that are not 0 is a
    choice: a 0 can be as necessary as another value. With several centres, those are live that are
    not 0 at one of them.

    Args:
        name: as above.
        landscape: of a network.
        task: what the network was made for; of use for subspaces only.

    Raises:
        ValueError: there is nothing of this name, or nothing in it that could move.
    """
    if name.partition(":")[0] in KINDS:
        return subspace(name, landscape, task)
    known = parts(landscape)
    chosen = dict(_overlap(part.split("@"), known) for part in name.split("+"))
    index = torch.cat(list(chosen.values())).unique()
    if not len(index):
        raise ValueError(f"no parameter is in {name!r}: there is nothing to sample")
    is_all = len(index) == len(known["all"])
    return Restriction("+".join(chosen), None if is_all else index.to(landscape.centres.device))


def parts(landscape: ModuleLandscape) -> dict[str, Int64[Tensor, "entry"]]:
    """By name, where the parameters of each part are in the flat vector."""
    found = defaultdict(list)
    for parameter, where in positions(landscape.layout).items():
        for part, entries in _parts_of(parameter, where):
            found[part].append(entries.flatten())
    live = (landscape.centres != 0).any(dim=0).nonzero()[:, 0].cpu()
    return {"live": live} | {part: torch.cat(entries) for part, entries in found.items()}


def _parts_of(parameter: str, where: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The parts that a parameter is in, with what they have of it."""
    yield "all", where
    if UNEMBED not in _OUTSIDE_BLOCKS.get(parameter, ()):
        yield "body", where
    for part in _OUTSIDE_BLOCKS.get(parameter, ()):
        yield part, where
    if block := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)", parameter):
        layer, module, kind = int(block[1]), block[2], block[3]
        yield f"l{layer}", where
        if module in ("attn", "mlp"):
            yield f"l{layer}{module}", where
        if module == "attn" and kind in _PER_HEAD:
            for head, entries in enumerate(where):
                yield head_name(layer, head).lower(), entries
    yield parameter, where


def _overlap(names: list[str], known: dict[str, Tensor]) -> tuple[str, Tensor]:
    """What is in all these parts, and its name."""
    found = [_find(name, known) for name in names]
    index = known[found[0]]
    for other in found[1:]:
        index = index[torch.isin(index, known[other])]
    return "@".join(found), index


def _find(part: str, known: dict[str, Tensor]) -> str:
    """The part's name as it is written here."""
    by_lower = {name.lower(): name for name in known}
    wanted = part.replace(" ", "").lower()
    if wanted in by_lower:
        return by_lower[wanted]
    short = [name for name in known if "." not in name]
    shown = short if len(short) <= _MOST_SHOWN else [*short[: _MOST_SHOWN - 1], "...", short[-1]]
    raise ValueError(
        f"the network has no trained part {part!r}: it has {', '.join(shown)}, and each parameter "
        f"by name{nearest(wanted, by_lower)}"
    )
