"""Restrictions: what moves, what does not, and that the rest is a smaller landscape."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from analysis.llc.config import LLCConfig, SamplerName
from analysis.llc.landscape import ModuleLandscape, NetworkLandscape
from analysis.llc.parts import parts, restriction_to
from analysis.llc.restriction import positions
from analysis.llc.sampling import Trace, sample
from analysis.llc.subspaces import beside
from interp.models.config import (
    BilinearConfig,
    DecoderConfig,
    MLPConfig,
    ModelConfig,
    TransformerConfig,
)
from interp.models.transformer import TaskTransformer
from tasks.composition import GroupComposition
from tasks.groups import finite_group, fourier_basis, irreps, isotypic_projection
from tasks.sequences import Palindrome
from tasks.task import Task

S3 = GroupComposition("S3")
S3_EQUALS = GroupComposition("S3", equals_token=True)
MLP = MLPConfig(d_embed=3, d_mlp=5, bias=True)
TRANSFORMER = TransformerConfig(n_layers=2, n_heads=2, d_model=4, d_head=3, d_mlp=5)
CONFIG = LLCConfig(step_size=1e-2, chains=2, draws=6, burn_in=4, full_every=2)


def network(config: ModelConfig, task: Task) -> NetworkLandscape:
    model = config.build(task, seed=0).eval()
    return NetworkLandscape(model, task.examples("all"), dtype=torch.float64)


def moved(name: str, landscape: ModuleLandscape, task: Task | None = None) -> set[str]:
    """The parameters in which anything moves."""
    index = restriction_to(name, landscape, task).index
    where = positions(landscape.layout)
    return {n for n, at in where.items() if index is None or torch.isin(at, index).any()}


def assert_equal_traces(found: Trace, expected: Trace) -> None:
    for name in ("loss", "excess", "distance", "full_loss", "last"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12
        )


CASES = [
    (MLP, S3, "embed_b+W_in"),
    (MLP, S3, "embed+embed_a"),
    (MLP, S3, "irrep:standard@unembed"),
    (MLP, S3, "irrep:sign@embed_b+embed"),
    (MLP, S3, "irrep:standard@embed+unembed"),
    (TRANSFORMER, S3_EQUALS, "l1h0"),
    (TRANSFORMER, S3_EQUALS, "irrep:standard"),
    (TRANSFORMER, S3_EQUALS, "random:2:7@unembed+embed"),
]


@pytest.mark.parametrize(("config", "task", "name"), CASES)
def test_geometry(config: ModelConfig, task: Task, name: str) -> None:
    landscape = network(config, task)
    restriction = restriction_to(name, landscape, task)
    centres = landscape.centres
    size = restriction.size(centres.shape[1])
    generator = torch.Generator().manual_seed(0)
    moves = torch.randn(1, 3, size, generator=generator, dtype=torch.float64)
    assert torch.equal(restriction.weights(centres, torch.zeros_like(moves))[0, 0], centres[0])
    weights = restriction.weights(centres, moves)
    torch.testing.assert_close((weights - centres).square().sum(dim=-1), moves.square().sum(dim=-1))
    assert restriction.index is not None
    held = torch.ones(centres.shape[1], dtype=torch.bool)
    held[restriction.index] = False
    assert held.any() and len(restriction.index.unique()) == len(restriction.index)
    before, after = centres[0, held], weights[0, :, held]
    assert torch.equal(after.view(torch.int64), before.view(torch.int64).expand(3, -1))
    assert (weights[0, :, ~held] != centres[0, ~held]).all()


def test_what_is_masked_stays_bit_by_bit_while_sampling() -> None:
    landscape = network(TRANSFORMER, S3_EQUALS)
    restriction = restriction_to("l0h1", landscape)
    last = restriction.weights(landscape.centres, sample(landscape, CONFIG, restriction).last)
    changed = (last != landscape.centres).any(dim=1)[0].nonzero()[:, 0]
    assert restriction.index is not None and torch.equal(changed, restriction.index)


WAYS = [(name, n) for name in get_args(SamplerName) for n in (None, 9) if (name, n) != ("mala", 9)]


@pytest.mark.parametrize(("sampler", "batch_size"), WAYS)
def test_parts_are_the_model_with_the_others_frozen(
    sampler: SamplerName, batch_size: int | None
) -> None:
    landscape = network(MLP, S3)
    smaller = MLP.build(S3, seed=0).eval()
    for name, parameter in smaller.named_parameters():
        parameter.requires_grad_(name in ("W_E_b", "W_U"))
    frozen = NetworkLandscape(smaller, S3.examples("all"), dtype=torch.float64)
    config = replace(CONFIG, sampler=sampler, batch_size=batch_size)
    restricted = sample(landscape, config, restriction_to("unembed+embed_b", landscape))
    assert_equal_traces(restricted, sample(frozen, config))


class InFewCoordinates(nn.Module):
    """The multilayer perceptron as a function of coordinates in V of its embeddings and W_U."""

    def __init__(self, whole: nn.Module, basis: Tensor) -> None:
        super().__init__()
        self.start = {name: p.detach().double() for name, p in whole.named_parameters()}
        self.basis = basis
        widths = [self.start[name].shape[axis] for name, axis in (("W_E_a", 1), ("W_U", 0))]
        self.widths = widths
        self.coordinates = nn.Parameter(basis.new_zeros(basis.shape[1], sum(widths)))

    def forward(self, tokens: Tensor) -> Tensor:
        of_a, of_u = (self.basis @ self.coordinates).split(self.widths, dim=1)
        w = self.start
        both = [(w["W_E_a"] + of_a)[tokens[:, 0]], w["W_E_b"][tokens[:, 1]]]
        hidden = (torch.cat(both, dim=-1) @ w["W_in"] + w["b_in"]).relu()
        return hidden @ (w["W_U"] + of_u.T)


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets, reduction="none")


@pytest.mark.parametrize("batch_size", [None, 9])
def test_a_subspace_is_the_model_of_its_coordinates(batch_size: int | None) -> None:
    landscape = network(MLP, S3)
    basis = fourier_basis(S3.finite_group)
    block = basis.matrix[:, basis.blocks[2]]
    model = InFewCoordinates(MLP.build(S3, seed=0), block).eval()
    examples = S3.examples("all")
    smaller = ModuleLandscape(model, examples.tokens, examples.targets[:, -1], loss)
    name = f"irrep:{irreps(S3.finite_group)[2].name}@embed_a+unembed"
    config = replace(CONFIG, batch_size=batch_size)
    restricted = sample(landscape, config, restriction_to(name, landscape, S3))
    assert_equal_traces(restricted, sample(smaller, config))


def test_dead_parameters_do_not_change_the_live_trace() -> None:
    model = MLP.build(S3, seed=0).eval()
    padded = replace(MLP, d_mlp=8).build(S3, seed=1).eval()
    with torch.no_grad():
        for name, parameter in padded.named_parameters():
            own = dict(model.named_parameters())[name]
            missing = [n - o for n, o in zip(parameter.shape, own.shape, strict=True)]
            parameter.copy_(pad(own, [x for n in reversed(missing) for x in (0, n)]))
        for some in (model, padded):
            dict(some.named_parameters())["b_in"][:5] = 0.1  # or the biases would be dead too
    landscapes = [
        NetworkLandscape(m, S3.examples("all"), dtype=torch.float64) for m in (model, padded)
    ]
    assert landscapes[0].centres.shape != landscapes[1].centres.shape
    traces = [sample(x, CONFIG, restriction_to("live", x)) for x in landscapes]
    assert_equal_traces(*traces)
    assert restriction_to("live", landscapes[0]).index is None
    everything = sample(landscapes[1], CONFIG)
    assert not torch.allclose(everything.excess, traces[1].excess)


@pytest.mark.parametrize(
    ("config", "task"),
    [(MLP, S3), (BilinearConfig(d_embed=4), S3), (TRANSFORMER, S3_EQUALS)],
)
def test_the_trivial_irrep_of_the_unembedding_has_coefficient_0(
    config: ModelConfig, task: Task
) -> None:
    landscape = network(config, task)
    trace = sample(landscape, CONFIG, restriction_to("irrep:trivial@unembed", landscape, task))
    assert trace.excess.abs().max() < 1e-12
    assert trace.distance.min() > 1e-6


@pytest.mark.parametrize("group", ["S4", "C5", "A4", "Q8"])
def test_isotypic_subspaces(group: str) -> None:
    task = GroupComposition(group)
    landscape = network(MLPConfig(d_embed=2, d_mlp=3), task)
    restrictions = [
        restriction_to(f"irrep:{i.name}@embed_b", landscape, task)
        for i in irreps(task.finite_group)
    ]
    sizes = [r.size(landscape.centres.shape[1]) for r in restrictions]
    expected = [i.dimension**2 // i.endomorphism_dimension * 2 for i in irreps(task.finite_group)]
    order = task.finite_group.order
    assert sizes == expected and sum(sizes) == order * 2
    bases = [r.basis for r in restrictions if r.basis is not None]
    whole = torch.cat(bases, dim=1)
    torch.testing.assert_close(whole.T @ whole, torch.eye(order, dtype=torch.float64))
    table = finite_group(group).table
    for irrep, basis in zip(irreps(task.finite_group), bases, strict=True):
        projection = basis @ basis.T
        eye = torch.eye(order, dtype=torch.float64)
        expected = isotypic_projection(irrep, task.finite_group, eye)
        torch.testing.assert_close(projection, expected)
        for g in range(order):  # translations of either side commute with it
            for shifted in (table[g], table[:, g]):
                torch.testing.assert_close(projection[shifted][:, shifted], projection)


def test_a_subspace_moves_the_rows_or_columns_of_group_elements_only() -> None:
    landscape = network(TRANSFORMER, S3_EQUALS)
    where = positions(landscape.layout)
    rows = restriction_to("irrep:standard", landscape, S3_EQUALS)
    assert rows.name == "irrep:standard@embed" and rows.index is not None
    assert torch.equal(rows.index, where["embed.W_E"][:6].flatten())
    columns = restriction_to("irrep:standard@unembed", landscape, S3_EQUALS)
    assert columns.index is not None
    assert torch.equal(columns.index.view(6, 4), where["unembed.W_U"].T)


@pytest.mark.parametrize(
    ("name", "canonical", "parameters"),
    [
        ("irrep:standard", "irrep:standard@embed_a", {"W_E_a"}),
        ("irrep:standard@embed", "irrep:standard@embed", {"W_E_a", "W_E_b"}),
        ("irrep:sign@embed_b+embed", "irrep:sign@embed_b+embed", {"W_E_a", "W_E_b"}),
        ("random:4", "random:4:0@embed_a", {"W_E_a"}),
        ("EMBED", "embed", {"W_E_a", "W_E_b"}),
        ("w_in + embed_a", "W_in+embed_a", {"W_in", "W_E_a"}),
        ("unembed+unembed", "unembed", {"W_U"}),
        ("body @ all", "body@all", {"W_E_a", "W_E_b", "W_in", "b_in"}),
        ("embed@embed_a+unembed", "embed@embed_a+unembed", {"W_E_a", "W_U"}),
        ("all", "all", {"W_E_a", "W_E_b", "W_in", "b_in", "W_U"}),
    ],
)
def test_names_in_the_mlp(name: str, canonical: str, parameters: set[str]) -> None:
    landscape = network(MLP, S3)
    assert restriction_to(name, landscape, S3).name == canonical
    assert moved(name, landscape, S3) == parameters


def test_names_in_a_transformer() -> None:
    landscape = network(TRANSFORMER, S3_EQUALS)
    attention = {f"blocks.1.attn.W_{x}" for x in "QKVO"}
    mlp = {"blocks.1.mlp.W_in", "blocks.1.mlp.W_out"}
    assert moved("l1attn", landscape) == moved("L1H0", landscape) == attention
    assert moved("l1 mlp", landscape) == mlp and moved("l1", landscape) == attention | mlp
    assert moved("embed", landscape) == {"embed.W_E"}
    assert moved("pos_embed+unembed", landscape) == {"pos_embed.W_pos", "unembed.W_U"}
    known = parts(landscape)
    heads = torch.cat([known["l1h0"], known["l1h1"]])
    assert len(heads.unique()) == len(heads)
    assert torch.equal(heads.sort().values, known["l1attn"].sort().values)
    assert torch.equal(
        known["l0h1"][:12], positions(landscape.layout)["blocks.0.attn.W_Q"][1].flatten()
    )
    assert restriction_to("embed+pos_embed+l0+l1+unembed", landscape).index is None


def test_a_blocks_norms_are_in_it() -> None:
    landscape = network(DecoderConfig(n_layers=1, d_model=4, d_mlp=5, dropout=0.0), S3)
    norms = {f"blocks.0.ln{i}.w" for i in (1, 2)}
    assert moved("l0", landscape) == moved("l0attn+l0mlp", landscape) | norms


def test_a_heads_biases_are_in_it() -> None:
    model = TRANSFORMER.build(S3_EQUALS, seed=0).eval().requires_grad_(True)
    landscape = NetworkLandscape(model, S3_EQUALS.examples("all"))
    expected = {f"blocks.0.attn.W_{x}" for x in "QKVO"} | {f"blocks.0.attn.b_{x}" for x in "QKV"}
    assert moved("l0h0", landscape) == expected
    assert moved("l0attn", landscape) == expected | {"blocks.0.attn.b_O"}


def test_random_subspaces_are_as_their_seeds() -> None:
    landscape = network(MLP, S3)
    bases = [
        restriction_to(name, landscape, S3).basis
        for name in ("random:4", "random:4:0@unembed", "random:4:1")
    ]
    a, b, other = bases
    assert a is not None and b is not None and other is not None
    assert torch.equal(a, b)
    torch.testing.assert_close(other.T @ other, torch.eye(4, dtype=torch.float64))
    assert not torch.allclose(a @ a.T, other @ other.T)


def test_an_irrep_stands_beside_the_others_and_random_subspaces() -> None:
    names = beside("irrep:standard@unembed", S3, n_random=2)
    assert names == [
        "irrep:trivial@unembed",
        "irrep:sign@unembed",
        "random:4:0@unembed",
        "random:4:1@unembed",
    ]
    landscape = network(MLP, S3)
    assert [restriction_to(name, landscape, S3).name for name in names] == names
    assert len(beside("irrep:sign", S3)) == 2 + 5


def test_live_parameters_of_several_centres() -> None:
    model = MLP.build(S3, seed=0).eval()
    named = {name: p.detach() for name, p in model.named_parameters()}
    points = [named | {"W_U": 0 * named["W_U"]}, named | {"W_in": 0 * named["W_in"]}]
    landscape = NetworkLandscape(model, S3.examples("all"), points=points)
    assert moved("live", landscape) == {"W_E_a", "W_E_b", "W_in", "W_U"}
    assert moved("live@body", landscape) == {"W_E_a", "W_E_b", "W_in"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("l0mlp", "no trained part 'l0mlp': it has live, all, body, embed, .*by name$"),
        ("live", "no parameter is in 'live': there is nothing to sample"),
        ("embed@unembed", "no parameter is in 'embed@unembed': there is nothing to sample"),
    ],
)
def test_what_is_empty(name: str, message: str) -> None:
    only_attention = TaskTransformer(
        n_layers=1,
        n_heads=1,
        d_model=2,
        d_head=2,
        d_mlp=2,
        n_ctx=2,
        d_vocab=6,
        d_vocab_out=6,
        attn_only=True,
    )
    for parameter in only_attention.parameters():
        nn.init.zeros_(parameter)
    landscape = NetworkLandscape(only_attention.eval(), S3.examples("all"))
    with pytest.raises(ValueError, match=message):
        restriction_to(name, landscape)


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("l0h7", S3_EQUALS, r"no trained part 'l0h7': it has live, all, .*did you mean 'l0h\d'\?"),
        ("embd", S3_EQUALS, "no trained part 'embd': .*; did you mean 'embed'"),
        ("", S3_EQUALS, "no trained part ''"),
        ("embed+", S3_EQUALS, "no trained part ''"),
        ("irrep:standrd", S3_EQUALS, "S3 has no irrep 'standrd'; nearest is standard"),
        ("irrep:sign@embed_a", S3_EQUALS, "no trained matrix 'embed_a'.* it has embed, unembed; "),
        ("random:7", S3_EQUALS, "no random subspace is '7'.* rank from 1 to 6, the order of S3"),
        ("random:0", S3_EQUALS, "no random subspace is '0'"),
        ("random:x", S3_EQUALS, "no random subspace is 'x'"),
        ("irrep:sign", None, "'irrep:sign' is a space of functions on a group, and no task is"),
        ("random:2", Palindrome(), "functions on a group, and the task is palindrome"),
    ],
)
def test_what_does_not_exist(name: str, task: Task | None, message: str) -> None:
    landscape = network(TRANSFORMER, S3_EQUALS)
    with pytest.raises(ValueError, match=message) as caught:
        restriction_to(name, landscape, task)
    assert "\n" not in str(caught.value)
