from .accuracy import length_scores, step_scores, wilson_interval
from .attention import attention_scores, summary
from .effects import role_effects
from .measure import iteration_metrics

__all__ = [
    "attention_scores",
    "iteration_metrics",
    "length_scores",
    "role_effects",
    "step_scores",
    "summary",
    "wilson_interval",
]
