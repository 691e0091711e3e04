"""The true circuit of the hand-set iteration head: by hand, and against the running network."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from interp.known_circuit import known_circuit
from interp.models.config import DecoderConfig
from interp.models.graph import edges
from interp.models.iteration_circuit import exact_messages, iteration_circuit
from interp.models.iteration_head import iteration_head
from interp.rasp import compile_task
from tasks.composition import GroupComposition
from tasks.iteration import Copy, GroupProduct, IterationTask, Mixed, Parity, Polynomial
from tasks.pairs import Pairs, is_scored
from tasks.sequences import Reverse
from tasks.task import Examples

# What every part reads, and what of it can vary. The queries of L0H0 and L1H1 are biases.
INPUTS = {"embed->L1H0.v", "L1H0->MLP1", "MLP1->unembed"}
STATES = {"embed->MLP1"}
LENGTHS = {"embed->L0H0.k", "L0H0->MLP0", "MLP0->L1H0.q"}
PROBLEMS = {"embed->L1H1.v", "L1H1->MLP1"}
POSITIONS = {f"pos_embed->{reader}" for reader in ("L0H0.k", "L0H0.v", "MLP0", "L1H0.k")}

ONE = {"min_length": 4, "max_length": 4, "n_per_length": 6}
SEVERAL = {"min_length": 2, "max_length": 4, "n_per_length": 3}
FEW = SEVERAL | {"n_per_length": 1}
MANY = ONE | {"n_per_length": 18}
MIX = ("copy:a..c", "parity", "polynomial:5")


def drawn(task: IterationTask) -> Pairs:
    """The task's sequences, each with another one."""
    examples = task.examples()
    return Pairs(examples, Examples(examples.tokens.roll(1, 0), examples.targets.roll(1, 0)))


def swapped(t: int, states: bool = True) -> Callable[[IterationTask], Pairs]:
    """1 1 1 1 and, as x_t, 2; with its states, or with those of 1 1 1 1."""

    def pairs_of(task: IterationTask) -> Pairs:
        inputs = torch.ones(1, 4, dtype=torch.int64)
        clean = task.encode(inputs)
        inputs[:, t - 1] = 2
        corrupted = task.encode(inputs)
        if not states:
            corrupted.tokens[:, 5:] = clean.tokens[:, 5:]
        return Pairs(clean, corrupted)

    return pairs_of


def of_last_problem(task: IterationTask) -> Pairs:
    """Of all drawn pairs those whose sequences are both of the task's last problem."""
    pairs, first = drawn(task), task.encoding.problem_ids[-1]
    return pairs.rows((pairs.clean.tokens[:, 0] == first) & (pairs.corrupted.tokens[:, 0] == first))


def alike(task: IterationTask) -> Pairs:
    """One sequence, with itself."""
    examples = task.examples()
    return Pairs(examples, examples).rows(slice(1))


POLYNOMIAL, FINAL = (Polynomial(modulus=5, targets=targets, **ONE) for targets in ("all", "final"))
CASES = {
    "one length": (POLYNOMIAL, drawn, INPUTS | STATES),
    "lengths": (Polynomial(modulus=5, **SEVERAL), drawn, INPUTS | STATES | LENGTHS),
    "parity": (Parity(**ONE), drawn, INPUTS | STATES),
    "parity, lengths": (Parity(**SEVERAL), drawn, INPUTS | STATES | LENGTHS),
    "slack": (Parity(slack=2, **SEVERAL), drawn, INPUTS | STATES | LENGTHS),
    "S3": (GroupProduct(group="S3", **ONE), drawn, INPUTS | STATES),
    "published": (Parity(preset="published", **FEW), drawn, INPUTS | STATES | LENGTHS),
    "mixed": (Mixed(mix=MIX, **ONE), drawn, INPUTS | STATES | PROBLEMS),
    "mixed, lengths": (Mixed(mix=MIX, **SEVERAL), drawn, INPUTS | STATES | LENGTHS | PROBLEMS),
    "one of several": (Mixed(mix=MIX, **MANY), of_last_problem, INPUTS | STATES),
    # Copying reads the state before, and says the same whatever it is.
    "copy": (Copy(vocab="a..c", **ONE), drawn, INPUTS),
    # Where a shorter sequence is over, its EoS in the place of a state says the end.
    "copy, lengths": (Copy(vocab="a..c", **SEVERAL), drawn, INPUTS | STATES | LENGTHS),
    "x_1": (POLYNOMIAL, swapped(1), INPUTS | STATES),
    # MLP1 has x_2 also as its own token, where nothing is to be said.
    "x_2, states kept": (POLYNOMIAL, swapped(2, states=False), INPUTS),
    # s_4 is said after s_3, and x_1 is long forgotten.
    "x_1, s_4 scored": (FINAL, swapped(1), STATES | {"MLP1->unembed"}),
    "x_4, s_4 scored": (FINAL, swapped(4), INPUTS),
    "alike": (POLYNOMIAL, alike, set()),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    task, pairs_of, variable = CASES[request.param]
    pairs, model = pairs_of(task), iteration_head(task)
    return task, model, pairs, variable, iteration_circuit(model, pairs)


def test_by_hand(case) -> None:
    task, _, pairs, variable, circuit = case
    several = len(task.problems) > 1
    read = INPUTS | STATES | LENGTHS | POSITIONS
    if several:
        read = read | PROBLEMS | {"pos_embed->L1H1.k"}
    assert set(map(str, circuit.edges("variable"))) == variable
    assert set(map(str, circuit.edges("constant"))) == read - variable
    assert list(circuit.kinds) == edges(2, 1 + several)
    assert circuit.n_pairs == len(pairs)


def all_inputs(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The tokens of clean and corrupted inputs, each once, and where they are scored."""
    parts = pairs.clean, pairs.corrupted
    found = {
        tuple(row): is_row_scored
        for part in parts
        for row, is_row_scored in zip(part.tokens.tolist(), is_scored(part), strict=True)
    }
    return torch.tensor(list(found)), torch.stack(list(found.values()))


@torch.no_grad()
def test_agrees_with_what_swapping_messages_does_to_the_answers(case) -> None:
    """The same judgement from the logits of the running network."""
    _, model, pairs, _, circuit = case
    tokens, scored = all_inputs(pairs)
    split(model)
    logits, cache = model.run_with_cache(tokens)
    for edge, kind in circuit.kinds.items():
        sent = message(cache, edge.sender)
        changes = torch.cat([sent.roll(i, 0) - sent for i in range(len(tokens))])
        said = with_added(model, tokens.repeat(len(tokens), 1), edge.receiver, changes)
        largest = float((said.unflatten(0, (len(tokens), -1)) - logits)[:, scored].abs().max())
        assert largest > 0.1 if kind == "variable" else largest < 1e-5, (str(edge), largest)


@torch.no_grad()
def test_noise_on_a_message_is_heard_unless_the_edge_is_absent(case) -> None:
    _, model, pairs, _, circuit = case
    tokens, _ = all_inputs(pairs)
    split(model)
    logits = model(tokens)
    generator = torch.Generator().manual_seed(0)
    for edge, kind in circuit.kinds.items():
        noise = 10 * torch.randn(*tokens.shape, model.cfg.d_model, generator=generator)
        said = with_added(model, tokens, edge.receiver, noise * written(model, edge.sender))
        largest = float((said - logits).abs().max())
        assert largest < 1e-5 if kind == "absent" else largest > 0.1, (str(edge), largest)


def split(model) -> None:
    model.set_use_split_qkv_input(True)
    model.set_use_hook_mlp_in(True)
    model.set_use_attn_result(True)


def with_added(model, tokens: Tensor, receiver: str, change: Tensor) -> Tensor:
    """The logits when a receiver, and no other, reads `change` too."""
    part, _, port = receiver.partition(".")
    if part == "unembed":
        name, at = "blocks.1.hook_resid_post", ...
    elif part.startswith("MLP"):
        name, at = f"blocks.{part[3:]}.hook_mlp_in", ...
    else:
        layer, head = part[1:].split("H")
        name, at = f"blocks.{layer}.hook_{port}_input", (slice(None), slice(None), int(head))

    def add(stream: Tensor, hook: object) -> Tensor:
        stream = stream.clone()
        stream[at] += change
        return stream

    return model.run_with_hooks(tokens, fwd_hooks=[(name, add)])


def message(cache, sender: str) -> Tensor:
    if sender.startswith("MLP"):
        return cache["mlp_out", int(sender[3:])]
    if sender.startswith("L"):
        layer, head = map(int, sender[1:].split("H"))
        return cache["result", layer][:, :, head]
    return cache[f"hook_{sender}"]


def written(model, sender: str) -> Tensor:
    """The directions that a sender can write."""
    if sender.startswith("MLP"):
        matrix = model.blocks[int(sender[3:])].mlp.W_out
    elif sender.startswith("L"):
        layer, head = map(int, sender[1:].split("H"))
        matrix = model.blocks[layer].attn.W_O[head]
    else:
        matrix = model.W_E if sender == "embed" else model.W_pos
    return (matrix != 0).any(dim=0)


@pytest.mark.parametrize("slack", [0, 2])
def test_messages_are_the_variables_of_the_construction(slack: int) -> None:
    task = Mixed(mix=MIX, slack=slack, **SEVERAL)
    tokens, model = task.examples().tokens, iteration_head(task)
    (n, width), n_tokens = tokens.shape, len(task.vocabulary)
    lengths, q = task.encoding.lengths(tokens)[:, None], torch.arange(width).expand(n, -1)
    first, over = lengths + 1 + slack, torch.full((n, 1), task.encoding.token_ids["EoS"])
    step = (q - first + 1) * (q >= first) * (q <= first + lengths)
    nowhere = torch.zeros_like(tokens, dtype=torch.bool)
    expected = {  # a variable's values, where it has one, and how many it may have
        "embed": (tokens, ~nowhere, n_tokens),
        "pos_embed": (q, ~nowhere, width),
        "L0H0": ((lengths + 1) * (q > lengths), ~nowhere, width),
        "MLP0": (step, step > 0, width),
        "L1H0": (tokens.gather(1, step), step > 0, n_tokens),
        "L1H1": (tokens[:, :1] - task.encoding.problem_ids[0], ~nowhere, len(MIX)),
        "MLP1": (torch.cat([tokens[:, 1:], over], dim=1), q >= first, n_tokens),
        "L0H1": (tokens, nowhere, 0),
    }
    start, sent = 0, exact_messages(model, tokens)
    assert sent.keys() == expected.keys()
    for name, (values, is_there, n_values) in expected.items():
        one_hot = (start + values)[..., None] == torch.arange(model.cfg.d_model)
        assert sent[name].equal((one_hot & is_there[..., None]).double()), name
        start += n_values


def test_a_network_that_was_not_set_by_hand_is_refused() -> None:
    task = Parity(**ONE)
    model = DecoderConfig(n_layers=2, n_heads=1, d_model=8).build(task, 0)
    with pytest.raises(ValueError, match=r"embed writes numbers .* no hand-set iter"):
        iteration_circuit(model, drawn(task))


def test_a_task_has_the_circuit_of_its_iteration_head_or_program() -> None:
    expected = iteration_circuit(iteration_head(POLYNOMIAL), drawn(POLYNOMIAL))
    assert known_circuit(POLYNOMIAL, drawn(POLYNOMIAL)) == expected

    task = Reverse(vocab="a..c", max_length=4)
    sequences = ["abca", "aab", "ca"], ["abcc", "aac", "cb"]
    no_targets = torch.zeros(3, 5, dtype=torch.int64)
    pairs = Pairs(*(Examples(task.encoding.encode(part, 5), no_targets) for part in sequences))
    expected = compile_task(task).circuit(list(zip(*sequences, strict=True)))
    assert known_circuit(task, pairs) == known_circuit(task, pairs, hardness=40.0) == expected
    assert len(expected.edges("variable")) == 5

    with pytest.raises(ValueError, match="C5 is no task on sequences"):
        known_circuit(GroupComposition("C5"), pairs)
