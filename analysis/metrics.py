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

ITERATION_LETTERS = """\
Of sequences with inputs x_1 ... x_L and states s_1 ... s_L; without a component, means over the
lengths from 4 on (the longest, if that is shorter) that have at least 30 test sequences (or all,
where none has), and with the component `length:12` of one length; `beyond` is the mean over the
lengths beyond training, where there are positions for them, of 256 sequences each.
A is the attention of a head, as in `L1H0:x_t`, with the role it is looked at in: EoI (from s_t to
the end of the input), x_t (from where s_t is to be said to x_t), previous (to the token before),
s_{t-1} (to that token itself)."""

_CHUGHTAI = "Chughtai, Chan and Nanda 2023"

REPRESENTATION_METRICS = (
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
"""Those of networks that compose in a group; loss and accuracy are any network's."""

_CABANNES = "Cabannes et al. 2024"
ITERATION_METRICS = (
    Metric("iteration/token_accuracy", "share of states s_t that are right on the test set", ""),
    Metric("iteration/end_accuracy", "share of test sequences with EoS just after s_L", ""),
    Metric(
        "iteration/sequence_accuracy",
        "share of test sequences in which all that is scored is right",
        _CABANNES,
    ),
    Metric("iteration/train_sequence_accuracy", "the same on the training set", _CABANNES),
    Metric(
        "iteration/free_running_accuracy",
        "the same when the network reads its own output: states and first EoS; of 256 a length",
        "",
    ),
    Metric("iteration/final_answer_accuracy", "the share with s_L in its place then", ""),
    Metric(
        "iteration/one_problem_token",
        "share of sequences, prompt and own output, with one problem token",
        _CABANNES,
    ),
    Metric("iteration/one_eoi", "the same of EoI", _CABANNES),
    Metric("iteration/eos_absorbing", "share with an EoS and nothing else after it", _CABANNES),
    Metric(
        "attention/mean", "mean of A[q, k] over a role's queries q with their keys k", _CABANNES
    ),
    Metric("attention/above_half", "share of them with A[q, k] > 1/2", _CABANNES),
    Metric(
        "attention/invariance",
        "1 - standard deviation (n - 1) of A[q, k] over sequences, averaged over q",
        _CABANNES,
    ),
)
"""Those of networks on iterative problems, beside loss and accuracy."""

LLC_LETTERS = """\
`interp llc` estimates them, see [the guide](llc.md). L is the loss, w* the checkpoint's parameters,
w a draw of the chains, nbeta the inverse temperature times the number of examples. Without a
component the numbers are those of all parameters, the task's loss and the training set; the
component says what is other than that, as in `l0h1`, `kl` (the divergence from the answers at w*),
or `irrep:standard@embed,kl,test`."""

_LAU = "Lau et al. 2023"
LLC_METRICS = (
    Metric("llc/estimate", "nbeta E[L(w) - L(w*)], where no check failed", _LAU),
    Metric("llc/standard_error", "of that, from the spread of the chains", ""),
    Metric("llc/low", "where its 95% interval begins (Student's t)", ""),
    Metric("llc/high", "where it ends", ""),
    Metric(
        "llc/failed_checks", "how many checks failed; if any did, there are none of the above", ""
    ),
    Metric("llc/unchecked", "nbeta E[L(w) - L(w*)], whatever the checks say", ""),
)
"""Local learning coefficients."""

METRICS = (*REPRESENTATION_METRICS, *ITERATION_METRICS, *LLC_METRICS)
"""Every metric that is built in, in the order of tables."""


def metrics_page() -> str:
    """The tables of metrics as Markdown: the page docs/metrics.md."""
    lines = ["# Metrics", "", "What `interp evaluate` and `interp llc` measure."]
    lines += _section("Composition in a group", METRIC_LETTERS, REPRESENTATION_METRICS)
    lines += _section("Chain of thought", ITERATION_LETTERS, ITERATION_METRICS)
    lines += _section("Local learning coefficients", LLC_LETTERS, LLC_METRICS)
    return "\n".join(lines) + "\n"


def _section(title: str, letters: str, metrics: tuple[Metric, ...]) -> list[str]:
    by_irrep = any(metric.per_irrep for metric in metrics)
    headings = ["metric", "formula", *["per irrep"] * by_irrep, "source"]
    rows = [headings, ["---"] * len(headings)]
    for metric in metrics:
        formula = metric.formula.replace("|", r"\|").replace("*", r"\*")
        per_irrep = ["yes" if metric.per_irrep else ""] * by_irrep
        rows.append([f"`{metric.name}`", formula, *per_irrep, metric.source])
    table = [f"| {' | '.join(row)} |" for row in rows]
    return ["", f"## {title}", "", letters, "", *table]
