"""The true circuit: by hand for small programs, and against the network's own activations."""

import math

import pytest
import torch

from interp.models.graph import Edge, edges
from interp.rasp import (
    aggregate,
    compile_program,
    compile_task,
    indices,
    inputs,
    map,
    numerical,
    select,
    selector_width,
    tokens,
)
from interp.rasp.circuit import CHANGED
from interp.rasp.programs import histogram, reverse
from interp.runs.registry import task_class


def strings(kinds) -> set[str]:
    return {str(edge) for edge in kinds}


def pairs_of(compiled, lengths) -> list:
    every = [s for s in inputs(compiled.encoding, max(lengths), 0) if len(s) in lengths]
    chosen = every[:: max(1, len(every) // 40)]
    return list(zip(chosen, chosen[1:] + chosen[:1], strict=True))


def test_edges_of_a_two_layer_transformer() -> None:
    found = edges(2, 1)
    assert len(found) == 6 + 3 + 12 + 5 + 6
    assert Edge("MLP0", "L1H0.k") in found
    assert Edge("MLP1", "L1H0.k") not in found
    assert str(found[-1]) == "MLP1->unembed"


def test_histogram_by_hand() -> None:
    compiled = compile_program(histogram(), "abc", 4)
    circuit = compiled.circuit(pairs_of(compiled, [4]))
    assert strings(circuit.edges("variable")) == {
        "embed->L0H0.q",
        "embed->L0H0.k",
        "L0H0->MLP0",
        "MLP0->unembed",
    }
    # The value is BOS, and no neuron fires there.
    assert strings(circuit.edges("constant")) == {"embed->L0H0.v", "embed->MLP0"}
    assert circuit.nodes == ["embed", "L0H0", "MLP0", "unembed"]
    assert len(circuit.kinds) == 13


def test_a_length_varies_only_where_lengths_do() -> None:
    compiled = compile_program(reverse(), "ab", 5)
    fixed = strings(compiled.circuit(pairs_of(compiled, [4])).edges("variable"))
    assert fixed == {"embed->L2H0.v", "L2H0->unembed"}
    mixed = strings(compiled.circuit(pairs_of(compiled, [3, 4])).edges("variable"))
    assert mixed == fixed | {"L0H0->MLP0", "MLP0->MLP1", "MLP1->L2H0.q"}


def test_attention_to_everything_has_no_query_and_key_edges() -> None:
    compiled = compile_program(reverse(), "ab", 5)
    kinds = compiled.circuit(pairs_of(compiled, [2, 3])).kinds
    assert {kinds[edge] for edge in kinds if edge.receiver in ("L0H0.q", "L0H0.k")} == {"absent"}


def test_inputs_that_are_all_alike_make_everything_constant() -> None:
    compiled = compile_program(histogram(), "abc", 4)
    assert not compiled.circuit([("abc", "abc")]).edges("variable")
    with pytest.raises(ValueError, match="no pairs"):
        compiled.circuit([])


NAMES = ["peak", "dominant_peak", "palindrome", "fraction", "histogram", "sort", "triplets"]


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_what_swapping_activations_does_to_each_receiver(name: str) -> None:
    """The same judgement from the running network, with no knowledge of the program."""
    vocab = "0..3" if "peak" in name else "x,a,b"
    compiled = compile_task(task_class(name)(vocab=vocab, max_length=5))
    pairs = pairs_of(compiled, [5])
    tokens = compiled.encoding.encode(list(dict.fromkeys(s for pair in pairs for s in pair)))
    model = compiled.model.double()
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(tokens)
    cfg = model.cfg
    sent = {"embed": cache["hook_embed"], "pos_embed": cache["hook_pos_embed"]}
    for layer in range(cfg.n_layers):
        result = cache[f"blocks.{layer}.attn.hook_result"]
        sent |= {f"L{layer}H{head}": result[:, :, head] for head in range(cfg.n_heads)}
        if not cfg.attn_only:
            sent[f"MLP{layer}"] = cache[f"blocks.{layer}.hook_mlp_out"]
    circuit = compiled.circuit(pairs)
    for edge, kind in circuit.kinds.items():
        before = receive(model, cache, edge.receiver, None)
        message = sent[edge.sender]
        differences = [
            (receive(model, cache, edge.receiver, message.roll(i, 0) - message) - before).abs()
            for i in range(1, len(tokens))
        ]
        largest = max(float(d[:, 1:].max()) for d in differences)
        assert (largest > CHANGED) == (kind == "variable"), (str(edge), largest)


def receive(model, cache, receiver: str, change):
    """What a receiver makes of the cached residual stream, plus a change."""
    part, _, port = receiver.partition(".")
    zero = 0.0 if change is None else change
    if part == "unembed":
        return (cache[f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"] + zero) @ model.W_U
    if part.startswith("MLP"):
        layer = int(part[3:])
        return model.blocks[layer].mlp(cache[f"blocks.{layer}.hook_resid_mid"] + zero)
    layer, head = (int(number) for number in part[1:].split("H"))
    attention = model.blocks[layer].attn
    clean = cache[f"blocks.{layer}.hook_resid_pre"]
    q, k, v = (
        (clean + zero if port == x.lower() else clean) @ getattr(attention, f"W_{x}")[head]
        + getattr(attention, f"b_{x}")[head]
        for x in "QKV"
    )
    scores = q @ k.transpose(-1, -2) / math.sqrt(model.cfg.d_head)
    if model.cfg.attention_dir == "causal":
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(hidden, -math.inf)
    return scores.softmax(-1) @ v @ attention.W_O[head]


def test_small_changes_count_and_pads_do_not() -> None:
    counted = compile_program(selector_width(select(tokens, "a", "==")), "ab", 50)
    pair = ("a" * 45 + "b" * 5, "a" * 44 + "b" * 6)
    assert counted.circuit([pair]).kinds[Edge("embed", "L0H0.k")] == "variable"
    upper = compile_program(map(str.upper, tokens), "ab", 5)
    kinds = upper.circuit([("aaa", "aa")]).kinds
    assert set(kinds.values()) == {"constant", "absent"}


@pytest.mark.parametrize(("causal", "kind"), [(True, "constant"), (False, "variable")])
def test_causal_attention_hears_nothing_of_what_comes_later(causal: bool, kind: str) -> None:
    following = aggregate(select(indices, map(lambda i: i + 1, indices), "=="), tokens, default="a")
    compiled = compile_program(following, "ab", 3, causal=causal)
    assert compiled.circuit([("aba", "aab")]).kinds[Edge("embed", "L0H0.v")] == kind


def test_a_message_enters_one_port_alone() -> None:
    """Queries and keys that were swapped together would be equal where they were."""
    kinds = compile_program(histogram(), "ab", 3).circuit([("aab", "bba")]).kinds
    assert kinds[Edge("embed", "L0H0.q")] == kinds[Edge("embed", "L0H0.k")] == "variable"


def test_keys_of_attention_to_everything_but_bos_are_absent() -> None:
    share = aggregate(select(tokens, tokens, "true"), numerical(map(lambda t: t == "a", tokens)))
    compiled = compile_program(share, "ab", 3)
    assert compiled.model.blocks[-1].attn.W_K.any()
    kinds = compiled.circuit([("aab", "bba")]).kinds
    assert {kind for edge, kind in kinds.items() if edge.receiver.endswith(".k")} == {"absent"}
