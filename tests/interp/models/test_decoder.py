"""The network with normalisation: the published block, its ways to tell positions, its draws."""

import copy
import itertools
import math
from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from interp.models.config import DecoderConfig
from interp.models.decoder import DROPOUT, ROWS, Decoder, build_decoder
from interp.models.generate import generate
from interp.models.positions import alibi_slopes, rotate, sinusoids, t5_buckets
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.sequences import Peak

TASK = Parity(max_length=6)
PUBLISHED = Parity(max_length=8, preset="published")
SMALL = DecoderConfig(n_heads=2, d_model=16)


class PublishedBlocks(nn.Module):
    """The published network in plain torch: fused qkv, one head, LayerNorms without bias."""

    def __init__(self, n_layers: int, d: int, width: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(64, d), nn.Embedding(width, d)
        linear = {"qkv": (d, 3 * d), "proj": (d, d), "fc1": (d, 4 * d), "fc2": (4 * d, d)}
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {name: nn.Linear(*sizes, bias=False) for name, sizes in linear.items()}
                | {name: nn.LayerNorm(d, bias=False) for name in ("norm1", "norm2")}
            )
            for _ in range(n_layers)
        )
        self.norm, self.output = nn.LayerNorm(d, bias=False), nn.Linear(d, 64, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        n = tokens.shape[1]
        x = self.token(tokens) + self.position(torch.arange(n))
        for block in self.blocks:
            h = block["norm1"](x)
            q, k, v = block["qkv"](h).chunk(3, dim=-1)
            scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
            scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
            y = h + block["proj"](scores.softmax(dim=-1) @ v)
            x = y + block["fc2"](gelu(block["fc1"](block["norm2"](y))))
        return self.output(self.norm(x))


def copy_weights(theirs: PublishedBlocks, ours: Decoder) -> None:
    """The mapping between the two, as `docs/chain_of_thought.md` has it."""
    weights = {
        "embed.W_E": theirs.token.weight,
        "pos_embed.W_pos": theirs.position.weight,
        "ln_final.w": theirs.norm.weight,
        "unembed.W_U": theirs.output.weight.T,
    }
    for layer, block in enumerate(theirs.blocks):
        name = f"blocks.{layer}."
        for x, weight in zip("QKV", block["qkv"].weight.chunk(3), strict=True):
            weights[f"{name}attn.W_{x}"] = weight.T[None]
        weights[f"{name}attn.W_O"] = block["proj"].weight.T[None]
        weights[f"{name}mlp.W_in"] = block["fc1"].weight.T
        weights[f"{name}mlp.W_out"] = block["fc2"].weight.T
        weights[f"{name}ln1.w"], weights[f"{name}ln2.w"] = (
            block[norm].weight for norm in ("norm1", "norm2")
        )
    trained = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    assert trained.keys() == weights.keys()
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])


@pytest.mark.parametrize("d_model", [32, 64])
def test_the_published_block(d_model: int) -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = PublishedBlocks(2, d_model, PUBLISHED.context_length)
    for parameter in theirs.parameters():  # gains too, so that a norm out of place shows
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
        else:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5, generator=generator)
    ours = build_decoder(DecoderConfig(d_model=d_model), PUBLISHED, seed=0)
    copy_weights(theirs, ours)
    tokens = PUBLISHED.examples("test").tokens[::97]
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=0, atol=1e-5)
        plain = replace(ours.config, norm="pre").build(PUBLISHED, 0)
        plain.load_state_dict(ours.state_dict())
        assert (plain(tokens) - theirs(tokens)).abs().max() > 0.1


@pytest.mark.parametrize(("d_model", "count"), [(32, 29_440), (64, 108_032), (128, 412_672)])
def test_the_published_sizes(d_model: int, count: int) -> None:
    model = build_decoder(DecoderConfig(d_model=d_model), PUBLISHED, seed=0)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


def test_the_published_initial_weights() -> None:
    model = build_decoder(DecoderConfig(), PUBLISHED, seed=0)
    assert abs(model.W_E.std().item() - 1) < 0.05
    assert abs(model.W_pos.std().item() - 1) < 0.05
    for weight, fan_in in ((model.W_Q, 128), (model.W_O, 128), (model.W_out, 512)):
        bound = fan_in**-0.5
        assert 0.99 * bound < weight.abs().max() <= bound
        assert abs(weight.std().item() / bound - 3**-0.5) < 0.01
    same = build_decoder(DecoderConfig(), PUBLISHED, seed=0)
    assert all(map(torch.equal, same.parameters(), model.parameters()))
    assert not torch.equal(build_decoder(DecoderConfig(), PUBLISHED, seed=1).W_E, model.W_E)


def test_post_norm_normalises_what_is_written() -> None:
    model = replace(SMALL, norm="post").build(TASK, 0)
    tokens = TASK.examples("test").tokens[:3]
    _, cache = model.run_with_cache(tokens)
    before = cache["blocks.1.hook_resid_mid"]
    written = model.blocks[1].mlp(before)
    expected = before + layer_norm(written, written.shape[-1:])
    torch.testing.assert_close(cache["blocks.1.hook_resid_post"], expected)
    assert cache["blocks.0.hook_resid_pre"].mean(-1).abs().max() > 0.1


@pytest.mark.parametrize("positions", ["none", "rotary", "t5", "alibi"])
def test_nothing_is_added_where_positions_are_relative(positions: str) -> None:
    """Without a mask to tell them apart, equal tokens would be alike wherever they stand."""
    model = replace(SMALL, positions=positions).build(TASK, 0)
    _, cache = model.run_with_cache(torch.tensor([[0, 1, 0, 1]]))
    assert cache["hook_pos_embed"].abs().max() == 0


def scores(config: DecoderConfig, tokens: Tensor) -> Tensor:
    """Attention scores of layer 0, [query, key] for one head of one example."""
    model = config.build(TASK, 0)
    if config.positions == "t5":
        nn.init.normal_(model.relative_bias, generator=torch.Generator().manual_seed(1))
    _, cache = model.run_with_cache(tokens)
    return cache["blocks.0.attn.hook_attn_scores"][0, 0]


@pytest.mark.parametrize("positions", ["rotary", "t5", "alibi"])
def test_scores_depend_on_distance_alone(positions: str) -> None:
    found = scores(replace(SMALL, positions=positions), torch.tensor([[0] * 8]))
    for distance in range(8):
        diagonal = found.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert len({round(x, 4) for x in found[-1].tolist()}) == 8


def test_alibi_takes_its_slope_a_step() -> None:
    plain, biased = (
        scores(replace(SMALL, positions=p), torch.tensor([[0] * 5])) for p in ("none", "alibi")
    )
    expected = -(2**-4) * torch.tensor([4.0, 3, 2, 1, 0])  # the first of two heads
    torch.testing.assert_close(biased[-1] - plain[-1], expected)


def test_blocks_have_coordinates_of_their_own() -> None:
    model = replace(SMALL, positions="blocks", d_positions=3).build(TASK, 0)
    tokens = TASK.examples("test").tokens[:4]
    _, cache = model.run_with_cache(tokens)
    width = tokens.shape[1]
    assert cache["hook_embed"][..., 10:].abs().max() == 0
    positions = cache["hook_pos_embed"][0]
    assert positions[:, :10].abs().max() == 0
    torch.testing.assert_close(positions[:, 10:13], model.W_pos[:width])
    torch.testing.assert_close(positions[1:, 13:], model.W_pos[: width - 1])
    assert positions[0, 13:].abs().max() == 0


def test_the_first_coordinates_only() -> None:
    model = replace(SMALL, d_positions=5).build(TASK, 0)
    assert model.W_pos.shape == (TASK.context_length, 5)
    _, cache = model.run_with_cache(TASK.examples("test").tokens[:1])
    assert cache["hook_pos_embed"][..., 5:].abs().max() == 0


def test_frozen_positions_have_no_gradient() -> None:
    model = replace(SMALL, positions="frozen").build(TASK, 0)
    assert not model.W_pos.requires_grad
    assert model.W_pos.std() > 0.5


def test_a_shared_index_counts_anew_from_the_end_of_the_input() -> None:
    model = replace(SMALL, index="shared").build(TASK, 0)
    tokens = TASK.encode(torch.tensor([[1, 0, 1]])).tokens  # parity 1 0 1 EoI 1 1 0
    assert model.rows(tokens).tolist() == [[0, 1, 2, 3, 1, 2, 3, 4]]


@pytest.mark.parametrize("index", ["absolute", "shared"])
@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi"])
def test_a_forward_pass_goes_on_from_the_residual_stream(positions: str, index: str) -> None:
    model = copy.deepcopy(replace(SMALL, positions=positions, index=index).build(TASK, 0))
    tokens = TASK.examples("test").tokens[:3]
    logits, cache = model.run_with_cache(tokens)
    before = cache["blocks.0.hook_resid_post"]
    torch.testing.assert_close(model(before, start_at_layer=1, tokens=tokens), logits)
    if index == "absolute":
        torch.testing.assert_close(model(before, start_at_layer=1), logits)
    else:
        with pytest.raises(ValueError, match="give them too, as tokens="):
            model(before, start_at_layer=1)


@pytest.mark.parametrize("index", ["absolute", "shared"])
def test_shifting_moves_all_indices_of_an_example_by_one_number(index: str) -> None:
    task = replace(TASK, longest=12)
    model = replace(SMALL, index=index, train_index="shifted").build(task, 0)
    tokens = task.examples("train").tokens
    rows = model.draw(tokens, torch.Generator().manual_seed(0))[ROWS]
    shift = rows - model.rows(tokens)
    assert (shift == shift[:, :1]).all()
    # 14 positions in training of 26 in all.
    assert shift.unique().tolist() == list(range(13))
    assert rows.max() < len(model.W_pos)


def test_shifting_needs_room() -> None:
    model = replace(SMALL, train_index="shifted").build(TASK, 0)
    with pytest.raises(ValueError, match=r"14 positions for .* larger `longest`"):
        model.draw(TASK.examples("train").tokens, torch.Generator().manual_seed(0))


def test_positions_have_the_values_of_the_literature() -> None:
    found = sinusoids(30, 6)
    for row, i in ((0, 0), (7, 1), (29, 2)):
        angle = row / 10000 ** (2 * i / 6)
        assert found[row, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert found[row, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 3, 1, 4)
    turned = rotate(x, torch.tensor([[0, 1, 50]]))[0, :, 0]
    for row, (first, second) in itertools.product((0, 1, 50), ((0, 2), (1, 3))):
        angle = row / 10000 ** (first / 2)
        a, b = x[0, 0, 0, first].item(), x[0, 0, 0, second].item()
        expected = [
            a * math.cos(angle) - b * math.sin(angle),
            b * math.cos(angle) + a * math.sin(angle),
        ]
        found = turned[(0, 1, 50).index(row), [first, second]].tolist()
        assert found == pytest.approx(expected, abs=1e-5)
    distance = torch.tensor([-3, 0, 1, 15, 16, 20, 31, 32, 64, 127, 128, 1000])
    assert t5_buckets(distance).tolist() == [0, 0, 1, 15, 16, 17, 21, 21, 26, 31, 31, 31]
    assert alibi_slopes(8).tolist() == [2.0**-i for i in range(1, 9)]


def test_the_gradient_of_t5s_table_has_the_same_bits_every_time() -> None:
    """On several threads, that of a lookup by indexing has not."""
    model = replace(SMALL, positions="t5", index="shared").build(TASK, 0)
    rows = torch.randint(14, (400, 14), generator=torch.Generator().manual_seed(0))
    weight = torch.rand(400, 2, 14, 14, generator=torch.Generator().manual_seed(1))
    threads, gradients = torch.get_num_threads(), []
    torch.set_num_threads(4)
    try:
        for _ in range(5):
            (model.attention_bias(rows, rows) * weight).sum().backward()
            gradients.append(model.relative_bias.grad)
            model.relative_bias.grad = None
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_a_task_that_needs_other_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="peak needs bidirectional attention"):
        SMALL.build(Peak(vocab="0..2"), 0)


def test_no_dropout_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as in use, an int will do
    assert DecoderConfig(dropout=0) == DecoderConfig(dropout=0.0)


def test_dropout_keeps_the_mean() -> None:
    model = replace(SMALL, dropout=0.25).build(TASK, 0)
    factors = model.draw(TASK.examples().tokens, torch.Generator().manual_seed(0))[DROPOUT]
    assert factors.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert abs(factors.mean().item() - 1) < 0.01


@pytest.mark.parametrize("index", ["absolute", "shared"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "t5", "alibi", "blocks"])
def test_generation_with_a_cache_is_generation_without(positions: str, index: str) -> None:
    model = replace(SMALL, positions=positions, index=index).build(TASK, 3)
    model.to(torch.float64)
    tokens = prompt = TASK.examples("test").tokens[:9, :5]
    for _ in range(6):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(generate(model, prompt, 6), tokens[:, 5:])


def test_generation_beyond_the_context_is_refused() -> None:
    model = SMALL.build(TASK, 0)
    with pytest.raises(ValueError, match=r"11 tokens after a prompt of 5 need 15 positions: .* 14"):
        generate(model, TASK.examples("test").tokens[:2, :5], 11)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"positions": "rotery"}, r"positions is 'rotery': .*none, rotary.*did you mean 'rotary'"),
        ({"norm": "before"}, "norm is 'before': it must be one of published, pre, post"),
        ({"n_heads": 3}, "d_model is 128: 3 heads do not divide it"),
        ({"d_model": 6, "n_heads": 2, "positions": "rotary"}, "width 3: .* an even one"),
        ({"d_positions": 4, "positions": "t5"}, "d_positions is 4, and positions 't5': only"),
        ({"d_positions": 129}, "d_positions is 129: .* at most 128"),
        ({"d_positions": 64, "positions": "blocks"}, "at most 63"),
        ({"d_model": 3, "positions": "blocks"}, "blocks of positions need at least 4"),
        ({"positions": "none", "index": "shared"}, "there are none to share"),
        ({"positions": "t5", "train_index": "shifted"}, "changes nothing without a table"),
        ({"dropout": 1.0}, "dropout is 1.0: it must be at least 0 and below 1"),
        ({"d_mlp": 0}, "d_mlp is 0: it must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    fields: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would be first to refuse
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**fields)


def test_a_shared_index_needs_an_end_of_input() -> None:
    task = GroupComposition("C5", equals_token=True)
    with pytest.raises(ValueError, match="C5 has none; use 'absolute'"):
        DecoderConfig(index="shared").build(task, 0)
