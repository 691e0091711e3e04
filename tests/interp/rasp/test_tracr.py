"""Models in tracr's format against a forward pass written after haiku, head by head."""

import numpy as np
import pytest
import torch

from interp.rasp import compile_program
from interp.rasp.programs import fraction, peak
from interp.rasp.tracr import TracrFileError, load_tracr

BOS, PAD = "BOS", "compiler_pad"


def exported(compiled, path, **changes) -> dict:
    """One of our own models, written as tracr would: tokens sorted with BOS among them."""
    model, encoding = compiled.model, compiled.encoding
    names = [*map(str, encoding.tokens), BOS, PAD]
    order = sorted(range(len(names)), key=lambda i: names[i])
    labels = [label.replace(" = ", ":") for label in compiled.basis]
    output = compiled.name(compiled.circuitry.output)
    arrays = {
        "token_embed/embeddings": model.W_E.detach().numpy()[order],
        "pos_embed/embeddings": model.W_pos.detach().numpy(),
        "num_heads": model.cfg.n_heads,
        "causal": model.cfg.attention_dir == "causal",
        "residual_labels": labels,
        "vocabulary": [names[i] for i in order],
        "bos": BOS,
        "pad": PAD,
        "output": output,
    }
    if not compiled.program.is_numerical:
        arrays["output_values"] = [str(value) for value in compiled.outputs]
    for layer, block in enumerate(model.blocks):
        prefix = f"transformer/layer_{layer}"
        attention = block.attn
        for name, module in (("Q", "query"), ("K", "key"), ("V", "value")):
            w, b = getattr(attention, f"W_{name}"), getattr(attention, f"b_{name}")
            arrays[f"{prefix}/attn/{module}/w"] = w.detach().permute(1, 0, 2).flatten(1).numpy()
            arrays[f"{prefix}/attn/{module}/b"] = b.detach().flatten().numpy()
        arrays[f"{prefix}/attn/linear/w"] = attention.W_O.detach().flatten(0, 1).numpy()
        arrays[f"{prefix}/attn/linear/b"] = attention.b_O.detach().numpy()
        if model.cfg.attn_only:
            width = model.cfg.d_model
            mlp = [np.zeros((width, 1)), np.zeros(1), np.zeros((1, width)), np.zeros(width)]
        else:
            mlp = [
                getattr(block.mlp, n).detach().numpy() for n in ("W_in", "b_in", "W_out", "b_out")
            ]
        for name, array in zip(("1/w", "1/b", "2/w", "2/b"), mlp, strict=True):
            arrays[f"{prefix}/mlp/linear_{name}"] = array
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def haiku_residual(arrays: dict, ids: list[int]) -> np.ndarray:
    """tracr's transformer on one sequence: [position, d_model]."""
    x = arrays["token_embed/embeddings"][ids] + arrays["pos_embed/embeddings"][: len(ids)]
    for layer in range(arrays["n_layers"]):
        prefix = f"transformer/layer_{layer}"

        def linear(x, module, prefix=prefix):
            return x @ arrays[f"{prefix}/{module}/w"] + arrays[f"{prefix}/{module}/b"]

        heads = []
        q, k, v = (linear(x, f"attn/{part}") for part in ("query", "key", "value"))
        size = q.shape[1] // arrays["num_heads"]
        for start in range(0, q.shape[1], size):
            part = slice(start, start + size)
            scores = q[:, part] @ k[:, part].T / np.sqrt(size)
            if arrays["causal"]:
                scores = np.where(np.tril(np.ones_like(scores)), scores, -1e30)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
        x = x + linear(np.concatenate(heads, axis=1), "attn/linear")
        x = x + linear(np.maximum(linear(x, "mlp/linear_1"), 0), "mlp/linear_2")
    return x


@pytest.fixture
def compiled():
    return compile_program(peak(), (0, 1, 2), 5)


def test_our_own_model_comes_back(compiled, tmp_path) -> None:
    exported(compiled, tmp_path / "peak.npz")
    imported = load_tracr(tmp_path / "peak.npz")
    assert imported.model.cfg.n_heads == 2
    sequences = [[0, 2, 1], [1], [2, 1, 0, 1, 2]]
    wanted = [[str(value) for value in row] for row in compiled(sequences)]
    assert imported(sequences) == wanted


@pytest.mark.parametrize("causal", [False, True])
def test_residual_stream_of_random_weights_equals_haikus(compiled, tmp_path, causal) -> None:
    random = np.random.default_rng(0)
    arrays = exported(compiled, tmp_path / "a.npz")
    noise = {
        name: random.normal(size=array.shape).astype(np.float32) / 4
        for name, array in arrays.items()
        if "/" in name
    }
    arrays = exported(compiled, tmp_path / "b.npz", causal=causal, **noise) | {"n_layers": 1}
    imported = load_tracr(tmp_path / "b.npz")
    sequence = [0, 2, 1, 1]
    ids = [arrays["vocabulary"].index(name) for name in (BOS, *map(str, sequence))]
    _, cache = imported.model.run_with_cache(imported.encoding.encode([sequence]))
    residual = cache["blocks.0.hook_resid_post"][0].numpy(force=True)
    np.testing.assert_allclose(residual, haiku_residual(arrays, ids), atol=1e-5)
    # A single head of the same total width would be another function.
    one_head = haiku_residual(arrays | {"num_heads": 1}, ids)
    assert np.abs(residual - one_head).max() > 1e-2


def test_a_numerical_output(tmp_path) -> None:
    compiled = compile_program(fraction(), "xa", 4)
    exported(compiled, tmp_path / "fraction.npz")
    imported = load_tracr(tmp_path / "fraction.npz")
    assert imported.output_values == ()
    np.testing.assert_allclose(imported(["xaax"])[0], [1, 1 / 2, 1 / 3, 1 / 2], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": None}, "has no num_heads"),
        ({"num_heads": 3}, "num_heads is 3, but queries have"),
        ({"output": "peek"}, "labelled 'peek:False'.*must be the label"),
        ({"transformer/layer_0/attn/key/w": None}, "has no array .*attn/key/w"),
        (
            {"transformer/layer_0/mlp/linear_2/b": np.zeros(3)},
            r"blocks.0.mlp.b_out has shape \(3,\)",
        ),
        ({"vocabulary": np.array([object()])}, "no .npz file of plain arrays"),
    ],
)
def test_what_does_not_fit_is_named(compiled, tmp_path, changes, message) -> None:
    exported(compiled, tmp_path / "bad.npz", **changes)
    with pytest.raises(TracrFileError, match=message):
        load_tracr(tmp_path / "bad.npz")


def test_a_file_that_is_something_else(tmp_path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(TracrFileError, match=r"no \.npz file"):
        load_tracr(tmp_path / "text.npz")
    with pytest.raises(FileNotFoundError):
        load_tracr(tmp_path / "absent.npz")


def test_weights_are_float32(compiled, tmp_path) -> None:
    exported(compiled, tmp_path / "peak.npz")
    assert load_tracr(tmp_path / "peak.npz").model.W_E.dtype == torch.float32
