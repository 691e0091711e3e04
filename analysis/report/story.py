"""The pictures of a page, and what is said below them."""

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

# The pictures that tell the story, in its order, with a caption; the others are folded away.
STORY = {
    "program": "What each head and each MLP computes; grey parts do nothing.",
    "loss": "Where the test loss falls long after the training loss, the network grokked.",
    "accuracy": "",
    "iteration": (
        "States and whole sequences when the network reads the truth, and when it reads its own "
        "output."
    ),
    "attention_above_half_by_component": (
        "An iteration head is a head that attends to the end of the input (EoI) and, a layer "
        "later, one that attends to x_t where s_t is to be said."
    ),
    "attention": "",
    "logits_similarity_by_irrep": (
        "The cosine between the logits and the character of each irrep at a b c⁻¹. "
        "The irreps that rise are those that the network computes with."
    ),
    "fve": "How much of each part of the network lies in the key irreps.",
    "hidden_losses": (
        "Excluded: the training loss without the hidden layer's part in the key irreps of ab. "
        "Restricted: the loss on all data with nothing but that part."
    ),
    "model_losses": (
        "Excluded: the training loss without the last MLP's part in the key irreps of ab. "
        "Restricted: the loss on all data with only that part of the MLP, beside what bypasses it."
    ),
    "key_irrep_frequency": "",
    "learning_order": "",
    "embed_a_circles": (
        "Each point is an element of the group, projected on the two directions in which the "
        "embedding varies most at that frequency; colour is the angle of the element there."
    ),
    "embed_a_energy": (
        "The length of each direction's part in each irrep. Where the network computes with few "
        "irreps, few rows are filled, and each direction serves one of them."
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Figures by name, each with a caption that may be empty: the story, and the rest."""

    story: dict[str, tuple[go.Figure, str]]
    rest: dict[str, tuple[go.Figure, str]]


ANALYSES = {
    "llc_": (
        "Estimates with their 95% intervals; hollow where a check failed, so that the number is no "
        "local learning coefficient (point at it to read why)."
    ),
    "patching_": (
        "What is left of the answer when one activation comes from the other input of a pair, mean "
        "over the pairs."
    ),
    "circuit_": "",
}
"""Captions of what other commands than `interp evaluate` found, by how names begin."""


def pictures(figures: Mapping[str, go.Figure]) -> Pictures:
    """The figures with their captions, the story's in its order, then those of the analyses."""
    told = [name for name in STORY if name in figures]
    told += [name for name in figures if name.startswith(tuple(ANALYSES))]
    told = told or list(figures)
    return Pictures(
        story={name: (figures[name], _caption(name)) for name in told},
        rest={name: (figure, "") for name, figure in figures.items() if name not in told},
    )


def _caption(name: str) -> str:
    of_kind = (caption for begin, caption in ANALYSES.items() if name.startswith(begin))
    return STORY.get(name) or next(of_kind, "")
