"""The iteration head of Cabannes et al. (2024), arXiv 2406.02128, with weights set by hand.

The residual stream has a coordinate for every value of seven variables:

    token      the token itself                   position   its own position
    end        the position of EoI                step       t, where s_t is to be said
    fetched    x_t; EoI where s_L was said        problem    the first token, if there are several
    output     what is to be said

L0H0 writes `end`; MLP0 `step`, from position and end; L1H0 `fetched`; L1H1 `problem`; and MLP1
`output`. A neuron fires where all that it reads is there. A head that finds nothing to attend to
rests on position 0. L0H1 is there if L1H1 is, as layers have equally many heads; it has no weights.
"""

import math
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from interp.models.transformer import TaskTransformer
from tasks.iteration import IterationTask

GAP = 100.0
"""Of the attention score of the key that is meant, above those of others. The key that a head rests
on has half of it, so that every row of attention is one-hot to the precision of float32."""
LOGIT = 20.0
"""Of what is to be said, in nats; others have 0, and EoS half of it where nothing is known."""


class Neurons(NamedTuple):
    """Neurons that fire where all coordinates that they read are 1, and write to one."""

    reads: Int64[Tensor, "neuron read"]
    writes: Int64[Tensor, "neuron"]


def iteration_head(task: IterationTask) -> TaskTransformer:
    """A transformer of two layers, without normalisation, that makes no error on `task`.

    It knows all problems of the task, drawn or not, and all lengths up to `longest`. Its MLPs have
    |S| |X| + |X| neurons for each problem, and two, or as many as MLP0 needs to subtract positions.

    Raises `ValueError` without chain of thought.
    """
    if not task.chain_of_thought:
        raise ValueError(
            f"{task.name} has no chain of thought, and so no iteration head: leave "
            "chain_of_thought on"
        )
    with torch.no_grad():
        return _IterationHead(task).model


class _IterationHead:
    """Sets the weights, one part of the circuit after the other."""

    def __init__(self, task: IterationTask) -> None:
        self.task, self.encoding = task, task.encoding
        n_tokens, n_positions = len(task.vocabulary), task.context_length
        self.several = len(task.problems) > 1
        widths = {
            "token": n_tokens,
            "position": n_positions,
            "end": n_positions,
            "step": n_positions,
            "fetched": n_tokens,
            "problem": len(task.problems) * self.several,
            "output": n_tokens,
        }
        ends = pairwise(accumulate(widths.values(), initial=0))
        self.at = {name: torch.arange(*pair) for name, pair in zip(widths, ends, strict=True)}
        neurons = [self.subtract_positions()], self.answers()
        self.model = TaskTransformer(
            n_layers=2,
            n_heads=1 + self.several,
            d_model=sum(widths.values()),
            d_head=max(n_tokens, n_positions),
            d_mlp=max(sum(len(group.writes) for group in groups) for groups in neurons),
            n_ctx=n_positions,
            d_vocab=n_tokens,
            d_vocab_out=n_tokens,
        )
        for parameter in self.model.parameters():
            parameter.zero_()
        self.embed()
        self.fetch_end()
        self.fetch_token()
        if self.several:
            self.fetch_problem()
        for block, groups in zip(self.model.blocks, neurons, strict=True):
            _set_neurons(block.mlp, groups)
        self.unembed()

    def token(self, name: str) -> Tensor:
        """The coordinate of a token, by name."""
        return self.at["token"][self.encoding.token_ids[name]]

    def embed(self) -> None:
        """Write the variables token and position."""
        _connect(self.model.embed.W_E, self.at["token"])
        _connect(self.model.pos_embed.W_pos, self.at["position"])

    def fetch_end(self) -> None:
        """L0H0: from everywhere to EoI, whose position it copies."""
        attn = self.model.blocks[0].attn
        attn.b_Q[0, 0] = math.sqrt(self.model.cfg.d_head)
        attn.W_K[0, self.token("EoI"), 0] = GAP
        attn.W_K[0, self.at["position"][0], 0] = GAP / 2
        self._copy(attn, 0, self.at["position"], self.at["end"])

    def subtract_positions(self) -> Neurons:
        """MLP0: t from the position q where s_t is to be said, and that of EoI; L + 1 at s_L."""
        layout, found = self.task.layout, []
        for length in range(1, (self.task.longest or self.task.max_length) + 1):
            first = layout.answer(length).start - 1
            steps = torch.arange(1, length + 2)
            end = torch.full_like(steps, layout.end_of_input(length))
            found.append(torch.stack([first - 1 + steps, end, steps]))
        q, e, t = torch.cat(found, dim=1)
        reads = torch.stack([self.at["position"][q], self.at["end"][e]], dim=1)
        return Neurons(reads, self.at["step"][t])

    def fetch_token(self) -> None:
        """L1H0: from where s_t is to be said to position t, whose token it copies.

        At s_L this is EoI, at position L + 1.
        """
        attn = self.model.blocks[1].attn
        scale = math.sqrt(self.model.cfg.d_head)
        _connect(attn.W_Q[0].T, self.at["step"], GAP * scale)
        _connect(attn.W_K[0].T, self.at["position"])
        attn.b_Q[0, 0] = GAP / 2 * scale  # to rest on position 0
        inputs = torch.cat(self.encoding.input_ids).unique()
        copied = torch.cat([inputs, torch.tensor([self.encoding.token_ids["EoI"]])])
        self._copy(attn, 0, self.at["token"][copied], self.at["fetched"][copied])

    def fetch_problem(self) -> None:
        """L1H1: from everywhere to position 0, whose token it copies."""
        attn = self.model.blocks[1].attn
        attn.b_Q[1, 0] = math.sqrt(self.model.cfg.d_head)
        attn.W_K[1, self.at["position"][0], 0] = GAP
        self._copy(attn, 1, self.at["token"][self.encoding.problem_ids], self.at["problem"])

    def answers(self) -> list[Neurons]:
        """MLP1: the transitions and starts of every problem, and the end of the sequence."""
        output, ids = self.at["output"], self.encoding.token_ids
        found = []
        for i, problem in enumerate(self.task.problems):
            states = self.encoding.state_ids[i]
            pairs = torch.cartesian_prod(states, self.encoding.input_ids[i])
            found.append(self._rules(i, pairs, states[problem.transition.flatten()]))
            begin = torch.full_like(self.encoding.input_ids[i], self._begin)
            starts = torch.stack([begin, self.encoding.input_ids[i]], dim=1)
            found.append(self._rules(i, starts, states[problem.start]))
        over = torch.stack([self.at["fetched"][ids["EoI"]], self.token("EoS")])
        return [*found, Neurons(over[:, None], output[ids["EoS"]].expand(2))]

    @property
    def _begin(self) -> int:
        """The token before s_1."""
        return self.encoding.token_ids["SLACK" if self.task.slack else "EoI"]

    def _rules(self, problem: int, pairs: Tensor, said: Tensor) -> Neurons:
        """For pairs of own and fetched token, in this problem, what is to be said."""
        reads = [self.at["token"][pairs[:, 0]], self.at["fetched"][pairs[:, 1]]]
        if self.several:
            reads.append(self.at["problem"][problem].expand(len(pairs)))
        return Neurons(torch.stack(reads, dim=1), self.at["output"][said])

    def unembed(self) -> None:
        """Read the output; where there is none, say EoS."""
        _connect(self.model.unembed.W_U.T, self.at["output"], LOGIT)
        self.model.unembed.b_U[self.encoding.token_ids["EoS"]] = LOGIT / 2

    def _copy(self, attn: Any, head: int, source: Tensor, target: Tensor) -> None:
        """Of the key that `head` attends to, copy coordinates."""
        channels = torch.arange(len(source))
        attn.W_V[head, source, channels] = 1
        attn.W_O[head, channels, target] = 1


def _connect(matrix: Tensor, coordinates: Tensor, weight: float = 1.0) -> None:
    """Set matrix[i, coordinates[i]]."""
    matrix[torch.arange(len(coordinates)), coordinates] = weight


def _set_neurons(mlp: Any, groups: list[Neurons]) -> None:
    start = 0
    for reads, writes in groups:
        neurons = torch.arange(start, start + len(writes))
        mlp.W_in[reads, neurons[:, None]] = 1
        mlp.b_in[neurons] = 1.0 - reads.shape[1]
        mlp.W_out[neurons, writes] = 1
        start += len(writes)
