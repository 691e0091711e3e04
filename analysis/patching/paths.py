"""Path patching: messages of the other run that take some ways through the network only."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from analysis.circuits.graph import ModelGraph, model_graph
from analysis.patching.engine import record
from analysis.patching.metrics import Metric, measure, named_metric
from analysis.patching.result import Direction, Patching
from analysis.patching.sweep import labelled, runs_of
from interp.arguments import nearest
from interp.models.graph import Edge, node_of
from interp.models.partial import Network
from tasks.pairs import Pairs

Group = tuple[frozenset[str], int]
"""The nodes that paths go through, and the block where they begin."""


@dataclass(frozen=True)
class Path:
    """Ways through a network, by the names of `interp.models.graph`."""

    senders: Sequence[str]
    """`embed`, `L0H1`, `MLP0`: what they write in the other run is put in."""
    receivers: Sequence[str]
    """`L1H0.q`, `L1H0` (its q, k and v), `MLP1`, `unembed`: they hear it, and what they write
    then reaches all that follows."""
    through: Sequence[str] = ()
    """Heads and MLPs that hear it too. What they write then reaches the receivers and later nodes
    of these, and nobody else."""


@torch.no_grad()
def path_patch(
    model: Network,
    pairs: Pairs,
    paths: Mapping[str, Path],
    metric: str | Metric = "logit_difference",
    direction: Direction = "noise",
) -> Patching:
    """Patch the messages along named paths.

    As in Wang et al. (2022), arXiv 2211.00593, and Goldowsky-Dill et al. (2023), arXiv 2304.05969.
    Whoever is not on a path hears the senders, and the nodes that it goes through, as they are
    when nothing is patched.

    Args:
        model: a `HookedTransformer`, `HookedMLP` or `HookedBilinear`.
        pairs: the inputs of both runs.
        paths: each is patched by itself.
        metric: one of `METRICS`, or any function like them.
        direction: noise sends the corrupted run's messages in the clean run, and denoise the clean
            run's in the corrupted run.

    Returns:
        Values [example, cell].

    Raises:
        ValueError: there is no such node, metric or direction; a path leads nowhere; a node that a
            path goes through is also one of its ends; or the network has no graph.
    """
    base, source = runs_of(direction)
    metric = named_metric(metric)
    graph, runs = model_graph(model), record(model, pairs, [])
    run = graph.record(runs.tokens(base))
    other = graph.record(runs.tokens(source)).writes
    values = runs.undisturbed(metric, base).repeat(len(paths), 1)
    weights, groups = {}, defaultdict[Group, list[int]](list)
    for i, path in enumerate(paths.values()):
        edges = _replaced(graph, path)
        weights[i] = graph.weights(edges)
        start = min(graph.block(edge.receiver) for edge in edges)
        groups[frozenset(path.through), start].append(i)
    for (through, start), members in groups.items():
        carried = {name: (run.writes if name in through else other)[name] for name in other}
        for some in torch.tensor(members).split(graph.cells_at_once(run)):
            cells = torch.stack([weights[i] for i in some.tolist()])
            logits = graph.logits(run, cells[:, None], carried, start=start)
            values[some] = measure(metric, logits, runs.reference)
    return labelled(runs, values.T, {"cell": list(paths)}, metric, direction, source)


def _replaced(graph: ModelGraph, path: Path) -> list[Edge]:
    """The edges that carry something else than what their sender writes when the path is patched.

    On the path those of the senders, which carry the other run's messages; off it those of the
    nodes that it goes through, which carry undisturbed ones.
    """
    nodes = dict.fromkeys(map(node_of, graph.receivers))
    _check("sender", path.senders, graph.senders)
    _check("receiver", path.receivers, [*graph.receivers, *nodes])
    _check("node to go through", path.through, [name for name in nodes if name in graph.senders])
    for name in path.through:
        if name in (*path.senders, *map(node_of, path.receivers)):
            raise ValueError(f"a path cannot go through {name}, where it also begins or ends")
    ends = {name for name in graph.receivers if {name, node_of(name)} & {*path.receivers}}
    hearers = ends | {name for name in graph.receivers if node_of(name) in path.through}
    sent = [
        edge for edge in graph.edges if edge.sender in path.senders and edge.receiver in hearers
    ]
    own = [edge for edge in graph.edges if edge.sender in path.through]
    if not sent or not any(edge.receiver in ends for edge in sent + own):
        raise ValueError(
            f"no edge leads from {', '.join(path.senders)} to {', '.join(path.receivers)}: "
            "receivers must come after senders, and be connected to them"
        )
    return sent + [edge for edge in own if edge.receiver not in hearers]


def _check(kind: str, names: Sequence[str], choices: Collection[str]) -> None:
    if isinstance(names, str):
        raise ValueError(f"{names!r} is one name: give a list of names, as ({names!r},)")
    for name in names:
        if name not in choices:
            first, last = next(iter(choices)), [*choices][-1]
            raise ValueError(
                f"there is no {kind} {name!r}: they are named like {first} and {last}"
                f"{nearest(name, choices)}"
            )
