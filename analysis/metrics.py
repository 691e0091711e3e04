"""The table of metrics: what each is called, its formula, and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A line of the table of metrics."""

    name: str
    formula: str
    """In the letters of `METRIC_LETTERS`."""
    source: str
    per_irrep: bool = False
    """Whether there is a value for each irrep, with component `irrep:NAME`."""


METRIC_LETTERS = """\
For a group with n elements, over its n^2 pairs (a, b): L[a, b, c] the logits, C the logits less
their mean over c; H the last hidden layer, neuron by neuron, H~ less its mean over the pairs; U the
map from it to the logits (W_U, or W_out W_U); S what a transformer's last MLP is bypassed by, W_U
the map from there to the logits (in networks without such a path S = 0). For an irrep k of
character chi_k: K_k[a, b, c] = chi_k(a b c^-1); P_k the orthogonal projection of functions on the
group onto its isotypic space, applied along a, b or ab; D_k[g] = P_k applied to the mean of H over
the pairs with ab = g. CE is the mean cross-entropy with target ab. In total, with an empty
component, the sum of the key irreps takes the place of one irrep's part."""

_CHUGHTAI = "Chughtai, Chan and Nanda 2023"

METRICS = (
    Metric("loss/train", "CE of L on the training set; mean squared error for regression", ""),
    Metric("loss/test", "the same on the test set", ""),
    Metric("loss/all", "the same on all examples", ""),
    Metric(
        "accuracy/train", "share of scored positions where the target has the largest logit", ""
    ),
    Metric("accuracy/test", "the same on the test set", ""),
    Metric("logits/similarity", "s_k = ⟨C, K_k⟩ / (|C| |K_k|), k not trivial", _CHUGHTAI, True),
    Metric("logits/fve", "s_k^2; in total over all k but the trivial one", _CHUGHTAI, True),
    Metric("logits/excluded_loss", "CE_train(L - ⟨C, K_k⟩ K_k / |K_k|^2)", _CHUGHTAI, True),
    Metric("logits/restricted_loss", "CE_all(⟨C, K_k⟩ K_k / |K_k|^2)", _CHUGHTAI, True),
    Metric(
        "embed_a/fve", "|P_k E_a|^2 / |E_a|^2, E_a = W_E_a W_in[:d] (MLP) or W_E", _CHUGHTAI, True
    ),
    Metric("embed_b/fve", "the same of E_b", _CHUGHTAI, True),
    Metric("unembed/fve", "|P_k U^T|^2 / |U|^2", _CHUGHTAI, True),
    Metric("hidden_a/fve", "|P_k H~|^2 / |H~|^2, projected on functions of a", _CHUGHTAI, True),
    Metric("hidden_b/fve", "the same for functions of b", _CHUGHTAI, True),
    Metric("hidden_ab/fve", "the same for functions of ab", _CHUGHTAI, True),
    Metric("hidden/fve", "the sum of hidden_a, hidden_b and hidden_ab", _CHUGHTAI, True),
    Metric("hidden/excluded_loss", "CE_train((H - D_k[ab]) U)", _CHUGHTAI, True),
    Metric("hidden/restricted_loss", "CE_all(D_k[ab] U)", _CHUGHTAI, True),
    Metric("model/excluded_loss", "CE_train(L - D_k[ab] U)", "ours", True),
    Metric("model/restricted_loss", "CE_all(S W_U + D_k[ab] U)", "ours", True),
    Metric(
        "model/restricted_loss_mean_kept",
        "CE_all(S W_U + (D[ab] + mean of H) U), D summed over the key irreps",
        "ours",
    ),
    Metric("weights/sum_of_squares", "sum of w^2 over all parameters", ""),
    Metric("progress/test_to_restricted", "loss/test over hidden/restricted_loss", _CHUGHTAI),
)
"""Every metric that is built in, in the order of tables."""


def metrics_page() -> str:
    """The table of metrics as Markdown: the page docs/metrics.md."""
    lines = ["# Metrics", "", "What `interp evaluate` measures.", "", METRIC_LETTERS, ""]
    lines += ["| metric | formula | per irrep | source |", "|---|---|---|---|"]
    for metric in METRICS:
        formula = metric.formula.replace("|", r"\|").replace("*", r"\*")
        by_irrep = "yes" if metric.per_irrep else ""
        lines.append(f"| `{metric.name}` | {formula} | {by_irrep} | {metric.source} |")
    return "\n".join(lines) + "\n"
