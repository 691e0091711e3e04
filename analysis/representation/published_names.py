"""Column names of the publication's `summary_metrics.json` and `metrics.csv`, and ours.

Source: the results of arXiv 2302.03025. In a column for one irrep, {} is its published name.
"""

import re

TOTALS = {
    "train_loss": "loss/train",
    "test_loss": "loss/test",
    "all_loss": "loss/all",
    "train_acc": "accuracy/train",
    "test_acc": "accuracy/test",
    "percent_logits_explained": "logits/fve",
    "total_logit_excluded_loss": "logits/excluded_loss",
    "total_logit_restricted_loss": "logits/restricted_loss",
    "percent_x_embed_explained": "embed_a/fve",
    "percent_y_embed_explained": "embed_b/fve",
    "percent_unembed_explained": "unembed/fve",
    "percent_hidden_explained": "hidden/fve",
    "percent_hidden_xy_explained": "hidden_ab/fve",
    "total_hidden_excluded_loss": "hidden/excluded_loss",
    "total_hidden_restricted_loss": "hidden/restricted_loss",
    "sum_of_squared_weights": "weights/sum_of_squares",
    "test_loss_restricted_loss_ratio": "progress/test_to_restricted",
}
"""Columns for a network, with our metric."""

PER_IRREP = {
    "logit_{}_rep_trace_similarity": "logits/similarity",
    "logit_excluded_loss_{}_rep": "logits/excluded_loss",
    "logit_restricted_loss_{}_rep": "logits/restricted_loss",
    "percent_x_embed_{}_rep": "embed_a/fve",
    "percent_y_embed_{}_rep": "embed_b/fve",
    "percent_unembed_{}_rep": "unembed/fve",
    "percent_hidden_x_{}_rep": "hidden_a/fve",
    "percent_hidden_y_{}_rep": "hidden_b/fve",
    "percent_hidden_xy_{}_rep": "hidden_ab/fve",
    "total_percent_hidden_{}_rep": "hidden/fve",
    "hidden_excluded_loss_{}_rep": "hidden/excluded_loss",
    "hidden_restricted_loss_{}_rep": "hidden/restricted_loss",
}
"""Columns for one irrep, with our metric."""


def published_column(metric: str, irrep: str | None = None) -> str | None:
    """The column of our metric, for an irrep by its published name or in total; None if none."""
    columns = TOTALS if irrep is None else PER_IRREP
    template = next((column for column, ours in columns.items() if ours == metric), None)
    return template if template is None or irrep is None else template.format(irrep)


def from_published_column(column: str) -> tuple[str, str | None] | None:
    """Our metric and the published name of the irrep (None in total); None for other columns."""
    if column in TOTALS:
        return TOTALS[column], None
    for template, metric in PER_IRREP.items():
        if match := re.fullmatch(template.format("(.+)"), column):
            return metric, match[1]
    return None
