"""Models compiled by tracr (Lindner et al. 2023), from arrays alone: without tracr and jax.

The file that is read is described in docs/tracr.md, with the lines that write it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from interp.models.transformer import TaskTransformer
from tasks.sequences.encoding import SequenceEncoding, Token

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]
SETTINGS = ("num_heads", "causal", "residual_labels", "vocabulary", "bos", "pad", "output")
ATTENTION = {"W_Q": "query", "W_K": "key", "W_V": "value", "W_O": "linear"}
MLP = {"in": "linear_1", "out": "linear_2"}


class TracrFileError(ValueError):
    """A file that does not hold a tracr model as docs/tracr.md describes it."""


@dataclass(frozen=True, eq=False)
class TracrModel:
    """A transformer compiled by tracr."""

    model: TaskTransformer
    encoding: SequenceEncoding
    """Ids are in tracr's order, but for BOS and PAD, which come last."""
    residual_labels: tuple[str, ...]
    """What each direction of the residual stream stands for."""
    output_values: tuple[str, ...]
    """What the logits stand for; empty when the output is a number."""

    def __call__(self, sequences: Sequence[Sequence[Token]]) -> list[list[str]] | list[list[float]]:
        """The answer at every token. Raises `ValueError` for what is not in the vocabulary."""
        with torch.no_grad():
            logits = self.model(self.encoding.encode(sequences))
        rows = zip(logits, sequences, strict=True)
        answers = [row[1 : len(sequence) + 1] for row, sequence in rows]
        if not self.output_values:
            return [answer[:, 0].tolist() for answer in answers]
        return [[self.output_values[i] for i in a.argmax(dim=-1).tolist()] for a in answers]


def load_tracr(path: Path | str) -> TracrModel:
    """Read a model exported from tracr. Its heads, padded to one key size, stay what they are.

    Raises `TracrFileError` when something is missing or does not fit, `FileNotFoundError` when
    there is no file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, TypeError, OSError, BadZipFile) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise TracrFileError(f"{path} is no .npz file of plain arrays: {error}") from error
    if missing := [name for name in SETTINGS if name not in arrays]:
        raise TracrFileError(
            f"{path} has no {', '.join(missing)}: docs/tracr.md says how to export"
        )
    try:
        return _build(arrays)
    except KeyError as error:
        raise TracrFileError(f"{path} has no array {error}") from error
    except TracrFileError:
        raise
    except (ValueError, TypeError, IndexError) as error:
        raise TracrFileError(f"{path} holds an array that does not fit: {error}") from error


def _build(arrays: Arrays) -> TracrModel:
    vocabulary = [str(token) for token in arrays["vocabulary"]]
    bos, pad = str(arrays["bos"]), str(arrays["pad"])
    words = [token for token in vocabulary if token not in (bos, pad)]
    numbers = all(word.lstrip("-").isdigit() for word in words)
    tokens = tuple(int(word) if numbers else word for word in words)
    encoding = SequenceEncoding(tokens, len(arrays["pos_embed/embeddings"]) - 1)
    order = [vocabulary.index(name) for name in (*words, bos, pad)]
    W_U, values = _unembedding(arrays)
    model = _network(arrays, encoding, W_U.shape[1])
    weights = {
        "embed.W_E": arrays["token_embed/embeddings"][order],
        "pos_embed.W_pos": arrays["pos_embed/embeddings"],
        "unembed.W_U": W_U,
        "unembed.b_U": np.zeros(W_U.shape[1]),
    }
    for layer in range(model.cfg.n_layers):
        weights |= _attention(arrays, layer, model.cfg.n_heads) | _mlp(arrays, layer)
    _load(model, {name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    return TracrModel(model, encoding, tuple(map(str, arrays["residual_labels"])), values)


def _network(arrays: Arrays, encoding: SequenceEncoding, n_outputs: int) -> TaskTransformer:
    n_layers = 0
    while f"transformer/layer_{n_layers}/attn/query/w" in arrays:
        n_layers += 1
    n_heads = int(arrays["num_heads"])
    d_model, width = arrays["transformer/layer_0/attn/query/w"].shape
    if n_heads < 1 or width % n_heads:
        raise TracrFileError(
            f"num_heads is {n_heads}, but queries have {width} columns, which that does not divide"
        )
    return TaskTransformer(
        n_layers=n_layers,
        n_heads=n_heads,
        d_model=d_model,
        d_head=width // n_heads,
        d_mlp=arrays["transformer/layer_0/mlp/linear_1/w"].shape[1],
        n_ctx=encoding.context_length,
        d_vocab=len(encoding.vocabulary),
        d_vocab_out=n_outputs,
        attention_dir="causal" if arrays["causal"] else "bidirectional",
        pad_token=encoding.pad,
    )


def _unembedding(arrays: Arrays) -> tuple[Shaped[np.ndarray, "d_model output"], tuple[str, ...]]:
    """The directions of the output, one for each of its values, in their order."""
    labels = [str(label) for label in arrays["residual_labels"]]
    output = str(arrays["output"])
    values = tuple(str(value) for value in arrays.get("output_values", ()))
    wanted = [f"{output}:{value}" for value in values] or [output]
    if missing := [label for label in wanted if label not in labels]:
        raise TracrFileError(
            f"no direction of the residual stream is labelled {missing[0]!r}: `output` must be the "
            f"label of the last operation, such as {labels[-1].partition(':')[0]!r}"
        )
    W_U = np.zeros((len(labels), len(wanted)))
    W_U[[labels.index(label) for label in wanted], range(len(wanted))] = 1
    return W_U, values


def _attention(arrays: Arrays, layer: int, n_heads: int) -> dict[str, Shaped[np.ndarray, "..."]]:
    """haiku's [d_model, head * d_head] as TransformerLens' [head, d_model, d_head]."""
    found = {}
    for name, module in ATTENTION.items():
        w, b = _linear(arrays, f"transformer/layer_{layer}/attn/{module}")
        if name == "W_O":
            found[name], found["b_O"] = w.reshape(n_heads, -1, w.shape[1]), b
        else:
            found[name] = w.reshape(len(w), n_heads, -1).swapaxes(0, 1)
            found[name.replace("W", "b")] = b.reshape(n_heads, -1)
    return {f"blocks.{layer}.attn.{name}": array for name, array in found.items()}


def _mlp(arrays: Arrays, layer: int) -> dict[str, Shaped[np.ndarray, "..."]]:
    found = {}
    for end, module in MLP.items():
        w, b = _linear(arrays, f"transformer/layer_{layer}/mlp/{module}")
        found |= {f"blocks.{layer}.mlp.W_{end}": w, f"blocks.{layer}.mlp.b_{end}": b}
    return found


def _linear(
    arrays: Arrays, module: str
) -> tuple[Shaped[np.ndarray, "..."], Shaped[np.ndarray, "..."]]:
    return arrays[f"{module}/w"], arrays[f"{module}/b"]


def _load(model: TaskTransformer, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if weights[name].shape != parameter.shape:
                raise TracrFileError(
                    f"what becomes {name} has shape {tuple(weights[name].shape)} instead of "
                    f"{tuple(parameter.shape)}"
                )
            parameter.copy_(weights[name])
