"""Activation patching: many cells at once, against one at a time."""

from itertools import product

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformer_lens import HookedRootModule, HookedTransformer, HookedTransformerConfig
from transformer_lens import patching as theirs
from transformer_lens.hook_points import HookPoint

from analysis.patching import METRICS, Patching, Site, patch, plan, sweep
from analysis.patching.metrics import Reference, logit_difference, margin, reference
from interp.models.config import BilinearConfig, DecoderConfig, MLPConfig, TransformerConfig
from interp.models.iteration_head import iteration_head
from interp.rasp import compile_task
from tasks.composition import GroupComposition
from tasks.iteration import Parity
from tasks.pairs import Pairs
from tasks.sequences import Peak
from tasks.task import IGNORE, Examples

PARITY = Parity(max_length=3)
PEAK = Peak(vocab="0..3", max_length=4)
GROUP = GroupComposition("C5", equals_token=True)
HEADS = ["z", "q", "k", "v", "pattern"]
STREAM = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"]
HOOKS = [*HEADS, *STREAM, "pre", "post", "embed", "pos_embed"]
FEW_HOOKS = ["z", "k", "embed_a", "embed_b", "embed"]
WITH_ALL_HOOKS = ["bidirectional, pads", "published"]


def shuffled(examples: Examples, n: int = 4) -> Pairs:
    """Examples with others; real ones, so that lengths and pads differ."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    parts = (order[:n], order[n : 2 * n])
    return Pairs(*(Examples(examples.tokens[rows], examples.targets[rows]) for rows in parts))


def randomly(model: HookedTransformer) -> HookedTransformer:
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=torch.Generator().manual_seed(3))
    return model.double()


def plain(**options: object) -> HookedTransformer:
    """TransformerLens' own."""
    cfg = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 4, "n_ctx": 9, "d_vocab": 8}
    cfg |= {"act_fn": "gelu", "init_weights": False, "device": "cpu", "dtype": torch.float64}
    return randomly(HookedTransformer(HookedTransformerConfig(**(cfg | options))))


def decoder(**options: object) -> HookedTransformer:
    model = DecoderConfig(n_layers=2, n_heads=2, d_model=8, **options).build(PARITY, 0)
    return randomly(model)


def small(attention: str) -> HookedTransformer:
    config = TransformerConfig(2, 2, 8, 4, 16, attention_dir=attention)
    return config.build(PEAK, 0).double()


MODELS = {
    "causal, pads": (lambda: small("causal"), PEAK),
    "bidirectional, pads": (lambda: small("bidirectional"), PEAK),
    "compiled": (lambda: compile_task(PEAK, dtype="float64").model, PEAK),
    "published": (lambda: decoder(), PARITY),
    "pre, rotary": (lambda: decoder(norm="pre", positions="rotary"), PARITY),
    "post, alibi": (lambda: decoder(norm="post", positions="alibi"), PARITY),
    "shared, t5": (lambda: decoder(index="shared", positions="t5"), PARITY),
    "blocks": (lambda: decoder(positions="blocks", d_positions=2), PARITY),
    "iteration head": (lambda: iteration_head(PARITY).double(), PARITY),
    "LN": (lambda: plain(normalization_type="LN"), PARITY),
    "TL rotary": (lambda: plain(positional_embedding_type="rotary", rotary_dim=4), PARITY),
    "TL alibi": (lambda: plain(positional_embedding_type="alibi"), PARITY),
    "TL local": (
        lambda: plain(use_local_attn=True, window_size=2, attn_types=["global", "local"]),
        PARITY,
    ),
    "grouped": (lambda: plain(n_key_value_heads=1), PARITY),
    "QK norm": (lambda: plain(use_qk_norm=True), PARITY),
    "parallel": (lambda: plain(parallel_attn_mlp=True), PARITY),
    "shortformer": (lambda: plain(positional_embedding_type="shortformer"), PARITY),
    "MLP": (lambda: MLPConfig(8, 16).build(GROUP, 0).double(), GROUP),
    "bilinear": (lambda: BilinearConfig(8).build(GROUP, 0).double(), GROUP),
}
models = pytest.mark.parametrize("name", MODELS)


def built(name: str) -> tuple[HookedTransformer, Pairs]:
    build, task = MODELS[name]
    return build(), shuffled(task.examples())


def one_by_one(model: HookedTransformer, pairs: Pairs, found: Patching, hook: str) -> Tensor:
    """Every cell of a sweep by a forward pass of its own: [example, *grid]."""
    ref = reference(model, pairs)
    base, source = pairs.clean, pairs.corrupted
    if found.direction == "denoise":
        base, source = source, base
    _, cache = model.run_with_cache(source.tokens)
    grid = {dim: found.values[dim].values for dim in found.values.dims[1:]}
    values = []
    for index in product(*grid.values()):
        place = dict(zip(grid, index, strict=True))
        prefix = f"blocks.{place['layer']}." if "layer" in place else ""
        name = next(n for n in cache if n.startswith(prefix) and n.endswith(f"hook_{hook}"))

        def swap(
            activation: Tensor, hook: object, name: str = name, place: dict[str, int] = place
        ) -> Tensor:
            where = [slice(None)] * activation.dim()
            is_pattern = name.endswith("pattern")
            if "head" in place:
                where[1 if is_pattern else 2] = place["head"]
            if "position" in place:
                where[2 if is_pattern else 1] = place["position"]
            activation = activation.clone()
            activation[tuple(where)] = cache[name][tuple(where)]
            return activation

        logits = model.run_with_hooks(base.tokens, fwd_hooks=[(name, swap)])
        logits = pad(logits, (0, 0, base.tokens.shape[1] - logits.shape[1], 0))
        values.append(METRICS[found.metric](logits, ref))
    return torch.stack(values, dim=1).view(len(pairs), *map(len, grid.values()))


def close(found: object, expected: object) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=1e-9, atol=1e-9)


@models
def test_a_sweep_equals_its_cells_one_by_one(name: str) -> None:
    model, pairs = built(name)
    computed = {hook.rpartition("hook_")[2] for hook in model.run_with_cache(pairs.clean.tokens)[1]}
    hooks = HOOKS if name in WITH_ALL_HOOKS else FEW_HOOKS
    for i, hook in enumerate(hook for hook in hooks if hook in computed):
        metric, direction = (("margin", "noise"), ("logit_difference", "denoise"))[i % 2]
        found = sweep(model, pairs, hook, metric=metric, direction=direction)
        expected = one_by_one(model, pairs, found, hook)
        assert found.values.dims[0] == "example" and expected.std() > 0
        torch.testing.assert_close(
            torch.as_tensor(found.values.values), expected, rtol=1e-9, atol=1e-9, msg=hook
        )


@pytest.mark.parametrize("over", [("layer", "head"), ("position", "layer"), ("head",), ()])
def test_what_is_left_out_is_patched_at_once(over: tuple[str, ...]) -> None:
    model, pairs = built("published")
    found = sweep(model, pairs, "z", over)
    assert found.values.dims == ("example", *over)
    for cell in product(*(range(found.values.sizes[axis]) for axis in over)):
        place = dict(zip(over, cell, strict=True))
        layers = [place["layer"]] if "layer" in place else range(2)
        sites = [Site("z", place.get("head"), place.get("position"), layer=i) for i in layers]
        alone = patch(model, pairs, {"cell": sites})
        close(found.values.values[:, *cell], torch.as_tensor(alone.values.values[:, 0]))


@models
def test_patching_everything_gives_the_other_run_and_nothing_no_change(name: str) -> None:
    model, pairs = built(name)
    computed = model.run_with_cache(pairs.clean.tokens)[1]
    everything = [Site(hook) for hook in computed if hook.startswith("hook_")]  # embeddings
    cells = {"all": everything, "none": []}
    for direction in ("noise", "denoise"):
        found = patch(model, pairs, cells, "margin", direction)
        base, other = found.clean.values, found.corrupted.values
        if direction == "denoise":
            base, other = other, base
        assert (found.values.sel(cell="none").values == base).all()
        if name in ("bidirectional, pads", "causal, pads", "compiled"):
            continue  # pads are known from the tokens, which are not patched
        if name.startswith("shared"):
            continue  # as are the positions
        close(found.values.sel(cell="all").values, torch.as_tensor(other))


def test_the_last_stream_carries_everything_whatever_the_tokens() -> None:
    model, pairs = built("bidirectional, pads")
    found = patch(model, pairs, {"all": [Site("resid_post", layer=1)]}, "margin")
    close(found.values.values[:, 0], torch.as_tensor(found.corrupted.values))
    assert abs(found.normalised.values - 1).max() < 1e-9


@pytest.mark.parametrize("name", ["published", "bidirectional, pads", "MLP"])
def test_batches_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, pairs = built(name)
    hook = "post" if name == "MLP" else "z"
    together, sizes = sweep(model, pairs, hook, metric="margin"), []
    for n_bytes, cost in ((1, 0), (2**40, 1e15), (2**40, 0)):
        monkeypatch.setitem(plan.BATCH_BYTES, "cpu", n_bytes)
        monkeypatch.setitem(plan.CALL_COST, "cpu", cost)
        close(
            sweep(model, pairs, hook, metric="margin").values.values,
            torch.as_tensor(together.values.values),
        )
        limits = plan.limits(model, pairs.clean.tokens)
        sizes.append(len(plan.plan({i: (0, i // 2) for i in range(6)}, limits)))
    assert sizes == ([6, 1, 3] if name != "MLP" else [6, 3, 3])


THEIRS = {
    "resid_pre": theirs.get_act_patch_resid_pre,
    "attn_out": theirs.get_act_patch_attn_out,
    "mlp_out": theirs.get_act_patch_mlp_out,
    "z": theirs.get_act_patch_attn_head_out_by_pos,
    "q": theirs.get_act_patch_attn_head_q_by_pos,
    "k": theirs.get_act_patch_attn_head_k_by_pos,
    "v": theirs.get_act_patch_attn_head_v_by_pos,
    "pattern": theirs.get_act_patch_attn_head_pattern_by_pos,
}
THEIRS_ALL = {
    "z": theirs.get_act_patch_attn_head_out_all_pos,
    "q": theirs.get_act_patch_attn_head_q_all_pos,
    "k": theirs.get_act_patch_attn_head_k_all_pos,
    "v": theirs.get_act_patch_attn_head_v_all_pos,
    "pattern": theirs.get_act_patch_attn_head_pattern_all_pos,
}


def test_it_equals_transformer_lens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theirs, "tqdm", lambda rows: rows)
    model, pairs = built("LN")
    ref = reference(model, pairs)
    _, cache = model.run_with_cache(pairs.clean.tokens)
    for position in (True, False):
        for hook, of_theirs in (THEIRS if position else THEIRS_ALL).items():
            axes = ["layer", *["position"] * position, *["head"] * (hook in HEADS)]
            if hook == "pattern" and position:
                axes = ["layer", "head", "position"]
            found = sweep(model, pairs, hook, axes, direction="denoise").values.mean("example")
            expected = of_theirs(
                model,
                pairs.corrupted.tokens,
                cache,
                lambda logits: logit_difference(logits, ref).mean(),
            )
            torch.testing.assert_close(
                torch.as_tensor(found.values), expected.double(), rtol=0, atol=1e-6, msg=hook
            )


def test_results_of_heads_when_they_are_computed() -> None:
    model, pairs = built("LN")
    with pytest.raises(ValueError, match=r"hook_result is not computed.*set_use_attn_result"):
        sweep(model, pairs, "result")
    model.set_use_attn_result(True)
    found, same = (sweep(model, pairs, hook, metric="margin").values for hook in ("result", "z"))
    close(found.values, torch.as_tensor(same.values))


def test_sites_of_a_cell_are_patched_together() -> None:
    model, pairs = built("published")
    sites = [
        Site("z", heads=1, positions=[2, -1], layer=0),
        Site("blocks.1.hook_mlp_out", positions=3),
        Site("embed", positions=5),
    ]
    found = patch(model, pairs, {"a": [Site("z", layer=1)], "b": sites}, "margin")
    _, cache = model.run_with_cache(pairs.corrupted.tokens)

    def swap(activation: Tensor, hook: object, where: tuple[object, ...]) -> Tensor:
        activation[where] = cache[hook.name][where]
        return activation

    every = slice(None)
    hooks = [
        ("blocks.0.attn.hook_z", lambda a, hook: swap(a, hook, (every, [2, -1], 1))),
        ("blocks.1.hook_mlp_out", lambda a, hook: swap(a, hook, (every, 3))),
        ("hook_embed", lambda a, hook: swap(a.clone(), hook, (every, 5))),
    ]
    logits = model.run_with_hooks(pairs.clean.tokens, fwd_hooks=hooks)
    expected = margin(logits, reference(model, pairs))
    close(found.values.sel(cell="b").values, expected)
    assert found.values.dims == ("example", "cell")
    assert found.values["cell"].values.tolist() == ["a", "b"]


def test_a_metric_of_ones_own_may_read_every_position() -> None:
    model, pairs = built("LN")
    only_last = torch.full_like(pairs.clean.targets, IGNORE)
    only_last[:, -1] = torch.arange(len(pairs))
    pairs = Pairs(Examples(pairs.clean.tokens, only_last), pairs.corrupted)

    def first_logit(logits: Tensor, reference: Reference) -> Tensor:
        return logits[:, 0, 0]

    found = sweep(model, pairs, "resid_post", metric=first_logit)
    assert found.metric == "first_logit"
    change = abs(found.values - found.clean)
    assert (change.sel(layer=1, position=0).max() > 0) != torch.equal(
        pairs.clean.tokens[:, 0], pairs.corrupted.tokens[:, 0]
    )
    swapped = sweep(model, pairs, "pos_embed", metric=first_logit)
    assert swapped.values.dims == ("example", "position")


def test_what_the_metric_does_not_read_takes_no_forward_pass() -> None:
    model = TransformerConfig(1, 2, 8, 4, 16).build(GROUP, 0)
    pairs, seen = shuffled(GROUP.examples()), []
    handle = model.blocks[0].hook_resid_post.register_forward_hook(
        lambda module, inputs, output: seen.append(tuple(output.shape[:2]))
    )
    found = sweep(model, pairs, "z")
    handle.remove()
    assert seen == [(4, 1), (4, 1), (8, 1)]  # two runs, then two heads, all of one answer
    assert (found.values.sel(position=[0, 1]) == found.clean).all()
    assert abs(found.effect.sel(position=2)).min() > 0


def test_the_result_says_what_was_done() -> None:
    model, pairs = built("published")
    found = sweep(model, pairs, "z", metric="kl", direction="denoise")
    assert (found.metric, found.direction, found.source) == ("kl", "denoise", "clean")
    assert (found.variable, found.seed) == ("example", None)
    assert found.values["layer"].values.tolist() == [0, 1]
    assert sweep(model, pairs, "blocks.1.attn.hook_z").values["layer"].values.tolist() == [1]


MISTAKES = {
    "there is no hook point 'resid_prf'.*did you mean 'resid_pre'": {"hook": "resid_prf"},
    "there is no hook point 'blocks.2.attn.hook_z'.*did you mean": {"hook": "blocks.2.attn.hook_z"},
    "over has 'heads': z can be swept over layer, head, position; did": {"over": ["heads"]},
    "over has 'head': resid_pre can be .* layer, position": {"hook": "resid_pre", "over": ["head"]},
    "direction is 'denoised': .* noise, denoise; did you mean": {"direction": "denoised"},
    "there is no metric 'los'": {"metric": "los"},
    r"must return one number for each": {"metric": lambda logits, reference: logits.mean()},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_in_a_sweep(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    model, pairs = built("published")
    with pytest.raises(ValueError, match=message):
        sweep(model, pairs, **MISTAKES[message])


SITES = {
    "head is 2: blocks.0.attn.hook_z has 2, 0 to 1": Site("z", heads=2, layer=0),
    "position is -9: blocks.0.attn.hook_z has": Site("z", positions=[0, -9], layer=0),
    "head is 0: blocks.0.hook_resid_pre has no heads": Site("resid_pre", heads=0, layer=0),
    "layer is None: z is in layers 0, 1": Site("z"),
    "layer is 2: z is in layers 0, 1": Site("z", layer=2),
    "layer is 0: embed is in no layer, leave it out": Site("embed", layer=0),
}


@pytest.mark.parametrize("message", SITES)
def test_a_mistake_in_a_site(message: str) -> None:
    model, pairs = built("published")
    with pytest.raises(ValueError, match=message):
        patch(model, pairs, {"a": [SITES[message]]})


class Uneven(HookedRootModule):
    """As many positions as the first token says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.hook_wide = torch.nn.Parameter(torch.zeros(5)), HookPoint()
        self.setup()

    def forward(self, tokens: Tensor) -> Tensor:
        self.hook_wide(torch.ones(len(tokens), int(tokens[0, 0]), 2))
        return self.weight.expand(*tokens.shape, 5)


def test_activations_of_other_shape_cannot_be_swapped() -> None:
    clean, corrupted = (
        Examples(torch.full((4, 3), token), torch.full((4, 3), token)) for token in (1, 2)
    )
    with pytest.raises(ValueError, match=r"hook_wide is \(4, 1, 2\) in the clean .* \(4, 2, 2\)"):
        sweep(Uneven(), Pairs(clean, corrupted), "wide")
