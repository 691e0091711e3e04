"""What the compiler promises beside right answers: options, labels, and errors that name a part."""

import math

import pytest
import torch

from interp.rasp import (
    RaspError,
    aggregate,
    categorical,
    check,
    compile_program,
    indices,
    inputs,
    map,
    numerical,
    select,
    selector_width,
    tokens,
)
from interp.rasp.programs import histogram, peak, reverse, sort
from interp.rasp.units import boxes


def square(x):
    return x * x


def test_hardness_is_the_gap_of_scores_whatever_the_key_size() -> None:
    for max_length in (5, 30):
        compiled = compile_program(reverse(), "abc", max_length, hardness=7.0)
        tokens_ = compiled.encoding.encode(["abcab"])
        _, cache = compiled.model.run_with_cache(tokens_)
        scores = cache["blocks.2.attn.hook_attn_scores"][0, 0, 1:]
        torch.testing.assert_close(scores.max(dim=-1).values, torch.full((5,), 7.0))
        torch.testing.assert_close(scores.min(dim=-1).values, torch.zeros(5), atol=1e-4, rtol=0)


def test_default_hardness_leaks_half_a_millionth_and_leaves_as_much_to_rounding() -> None:
    compiled = compile_program(peak(), (0, 1, 2), 50)
    assert compiled.gaps.lower == pytest.approx(math.log(50 / 0.5e-6), abs=1e-3)
    constant = [[1] * 50]
    assert 3e-7 < check(compiled, constant).leakage <= 1e-6
    softer = compile_program(peak(), (0, 1, 2), 50, hardness=compiled.gaps.lower - 1)
    assert check(softer, constant).leakage > 1e-6


def test_float64_and_float32_agree() -> None:
    single = compile_program(sort(), "abc", 6)
    double = compile_program(sort(), "abc", 6, dtype=torch.float64)
    assert double.model.W_E.dtype == torch.float64
    sequences = inputs(single.encoding, 4, 50)
    assert single(sequences) == double(sequences)


def test_gradients_do_not_vanish_at_default_hardness() -> None:
    compiled = compile_program(histogram(), "abc", 10)
    compiled.model(compiled.encoding.encode(["abcabc"])).square().sum().backward()
    assert compiled.model.blocks[0].attn.W_Q.grad.abs().max() > 0


def test_every_direction_and_part_is_labelled() -> None:
    compiled = compile_program(peak(), (0, 1, 2), 4)
    assert len(compiled.basis) == compiled.model.cfg.d_model == len(set(compiled.basis))
    assert compiled.basis[:2] == ("BOS", "tokens = 0")
    assert "token[-1] = left end" in compiled.basis
    explanation = compiled.explain()
    assert explanation.parts["L0H0"] == (
        "token[-1] = aggregate(select(indices, indices - 1, ==), tokens, default=left end)",
    )
    assert explanation.parts["MLP0"][0].startswith("peak = ")
    live = sum(int(mask.sum()) for mask in compiled.live_mask().values())
    assert explanation.live_parameters == live < explanation.parameters
    assert all(part in str(explanation) for part in ("L0H1", "residual", f"{live:,}"))


def test_live_mask_is_all_that_matters() -> None:
    compiled = compile_program(sort(), "abc", 5)
    sequences = inputs(compiled.encoding, 3, 0)
    before = compiled(sequences)
    with torch.no_grad():
        for name, parameter in compiled.model.named_parameters():
            parameter.mul_(compiled.live_mask()[name])
    assert compiled(sequences) == before


def test_what_nobody_reads_has_no_direction() -> None:
    assert not any("indices" in label for label in compile_program(histogram(), "ab", 5).basis)
    only_one = compile_program(selector_width(select(tokens, "a", "==")), "abc", 5)
    assert [label for label in only_one.basis if label.startswith("tokens")] == ["tokens = a"]


def test_unreachable_pairs_cost_nothing() -> None:
    length = selector_width(select(tokens, tokens, "true"))
    mirrored = compile_program(length - indices - 1, "ab", 10)
    pairs = sum(n for n in range(1, 11))  # an index is below its sequence's length
    assert mirrored.model.cfg.d_mlp == pairs


def test_functions_of_one_variable_cost_no_layer() -> None:
    shifted = aggregate(select(indices + 2, indices + 1, "=="), map(str.upper, tokens), "none")
    compiled = compile_program(shifted, "ab", 4)
    assert compiled.model.cfg.n_layers == 1
    assert compiled.model.cfg.attn_only
    assert compiled(["abb"]) == [["none", "A", "B"]]


def test_programs_without_any_block() -> None:
    compiled = compile_program(tokens, "ab", 3)
    assert compiled.model.cfg.n_layers == 0
    assert compiled(["abb"]) == [["a", "b", "b"]]


def test_numerical_arithmetic() -> None:
    share = aggregate(select(indices, indices, "<="), numerical(tokens == "x"))
    compiled = compile_program(1 - 2 * share, "xa", 6)
    found = check(compiled, inputs(compiled.encoding, 6, 0))
    assert not found.n_wrong, found
    assert compiled(["xa"])[0] == pytest.approx([-1, 0], abs=1e-5)


def test_outputs_can_be_ordered_and_must_suffice() -> None:
    compiled = compile_program(histogram(), "ab", 3, outputs=(3, 2, 1, 0))
    assert compiled.outputs == (3, 2, 1, 0)
    assert compiled(["aab"]) == [[2, 2, 1]]
    with pytest.raises(RaspError, match="histogram can be 3, which is none of the outputs"):
        compile_program(histogram(), "ab", 3, outputs=(1, 2))


def test_boxes_cover_every_cell_once() -> None:
    table = {(i, j): (i * j) % 3 for i in range(4) for j in range(5) if i + j < 7}
    found = boxes(table)
    assert len(found) < len(table)
    for cell, output in table.items():
        covering = [b for b in found if all(i in m for i, m in zip(cell, b.members, strict=True))]
        assert [b.output for b in covering] == [output]


SHARE = aggregate(select(indices, indices, "<="), numerical(tokens)).named("share")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (aggregate(select(indices, indices + 1, "=="), tokens), "selects nothing at position"),
        (aggregate(select(tokens, tokens, "true"), tokens), "selects different values"),
        (map(square, SHARE) + map(square, tokens), "(?s)aggregate.*too|cannot be"),
        (map(square, numerical(map(square, SHARE))), "cannot be"),
    ],
)
def test_what_cannot_be_compiled_is_named(program, message: str) -> None:
    with pytest.raises(RaspError, match=message):
        compile_program(program, (0, 1, 7, 50, 333), 25)


def test_what_the_model_cannot_read_is_named() -> None:
    compiled = compile_program(histogram(), "abc", 4)
    with pytest.raises(ValueError, match="'d' at position 2 is not in the vocabulary"):
        compiled(["abd"])
    with pytest.raises(ValueError, match="5 tokens: at most 4"):
        compiled(["abcab"])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"hardness": 0.0}, "hardness is 0.0"), ({"max_length": 0}, "max_length is 0")],
)
def test_impossible_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_program(histogram(), "ab", **({"max_length": 3} | options))


def test_numbers_become_categories_where_they_can_be_told_apart() -> None:
    mean = aggregate(select(indices, indices, "<="), numerical(tokens))
    compiled = compile_program(categorical(mean) == 1, (0, 1, 2), 5)
    found = check(compiled, inputs(compiled.encoding, 5, 0))
    assert not found.n_wrong, found


def six_over(n):
    return 6 // n


def named_or_half(token):
    return 0.5 if token == "a" else "none"


def test_errors_do_not_add_up_from_head_to_head() -> None:
    before = aggregate(select(indices, indices - 1, "=="), tokens, default="none")
    same = select(before, before, "==") & select(tokens, tokens, "==")
    compiled = compile_program(numerical(selector_width(same)), "abc", 10)
    found = check(compiled, inputs(compiled.encoding, 4, 50))
    assert not found.n_wrong, found
    assert found.leakage <= 1e-6


def test_a_function_may_fail_on_what_never_occurs() -> None:
    smaller = selector_width(select(tokens, tokens, "<"))
    rank = smaller + selector_width(select(tokens, tokens, "==") & select(indices, indices, "<"))
    one = selector_width(select(rank, indices, "=="))  # always 1, which the compiler cannot know
    every = select(tokens, tokens, "true")
    for program in (map(six_over, one), aggregate(every, map(six_over, one)), one * 1):
        compiled = compile_program(program, "abc", 4)
        found = check(compiled, inputs(compiled.encoding, 4, 0))
        assert not found.n_wrong, found


def test_a_default_that_only_a_constant_sequence_needs_is_missed_no_more() -> None:
    other = aggregate(select(tokens, tokens, "!="), numerical(indices))
    with pytest.raises(RaspError, match="selects nothing"):
        compile_program(other, "abcdefgh", 10)


def test_categories_of_several_types() -> None:
    compiled = compile_program(map(named_or_half, tokens), "ab", 3)
    assert not check(compiled, inputs(compiled.encoding, 3, 0)).n_wrong


def test_what_is_used_often_is_compiled_once() -> None:
    parity = tokens == "a"
    for _ in range(30):
        parity = (parity & (tokens == "b")) | (~parity & (tokens == "a"))
    compiled = compile_program(parity, "ab", 3)
    assert not check(compiled, inputs(compiled.encoding, 3, 0)).n_wrong


def test_what_is_too_large_is_refused_at_once() -> None:
    with pytest.raises(RaspError, match="too much to compile"):
        compile_program(histogram(), "abc", 100_000)
