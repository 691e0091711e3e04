"""Compiled models in fewer dimensions."""

import pytest
import torch

from interp.rasp import compile_program, inputs
from interp.rasp.compression import compress, compression_curve, principal_directions
from interp.rasp.programs import fraction, histogram, reverse


@pytest.fixture(scope="module")
def compiled():
    return compile_program(reverse(), "ab", 4)


@pytest.fixture(scope="module")
def sequences(compiled):
    return inputs(compiled.encoding, all_up_to=4, n_random=0)


def test_all_directions_lose_nothing(compiled, sequences) -> None:
    whole = compress(compiled, compiled.model.cfg.d_model, sequences, method="pca")
    assert whole(sequences) == compiled(sequences)


def test_principal_directions_are_orthonormal_and_hold_the_activations(compiled, sequences) -> None:
    directions = principal_directions(compiled, sequences)
    identity = torch.eye(len(directions))
    torch.testing.assert_close(directions @ directions.T, identity, atol=1e-5, rtol=0)
    narrow = compress(compiled, 2, sequences, method="pca")
    assert narrow.projection.shape == (2, compiled.model.cfg.d_model)
    assert narrow.model.cfg.d_model == 2


@pytest.mark.slow
def test_learning_keeps_the_program_where_pca_loses_it(compiled, sequences) -> None:
    size = compiled.model.cfg.d_model // 2
    table = compression_curve(compiled, [size], sequences, sequences, method="pca")
    assert table["accuracy"].item() < 0.9
    learned = compression_curve(compiled, [size], sequences, sequences)
    assert learned["accuracy"].item() > 0.99
    assert learned["sequence_accuracy"].item() <= learned["accuracy"].item()


def test_learning_is_seeded(compiled, sequences) -> None:
    first, second = (compress(compiled, 5, sequences, steps=20, seed=1) for _ in range(2))
    assert torch.equal(first.projection, second.projection)
    other = compress(compiled, 5, sequences, steps=20, seed=2)
    assert not torch.equal(first.projection, other.projection)


def test_numbers_can_be_compressed() -> None:
    compiled = compile_program(fraction(), "xa", 4)
    sequences = inputs(compiled.encoding, 4, 0)
    curve = compression_curve(
        compiled, [compiled.model.cfg.d_model], sequences, sequences, steps=50
    )
    assert curve["accuracy"].item() == 1.0


@pytest.mark.parametrize("size", [0, 1000])
def test_impossible_sizes(compiled, sequences, size: int) -> None:
    with pytest.raises(ValueError, match=f"size is {size}: it must be from 1 to"):
        compress(compiled, size, sequences)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="no sequences"):
        compress(compile_program(histogram(), "ab", 3), 2, [])
