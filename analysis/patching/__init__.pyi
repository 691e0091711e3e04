from .ablation import ablate
from .alignment import Alignment, align
from .direct import direct_attribution, neuron_attribution
from .interchange import interchange_accuracy
from .lens import logit_lens
from .metrics import METRICS, Reference
from .paths import Path, path_patch
from .replacement import ABLATIONS
from .result import Patching
from .sites import Site
from .sweep import patch, sweep

__all__ = [
    "ABLATIONS",
    "METRICS",
    "Alignment",
    "Patching",
    "Path",
    "Reference",
    "Site",
    "ablate",
    "align",
    "direct_attribution",
    "interchange_accuracy",
    "logit_lens",
    "neuron_attribution",
    "patch",
    "path_patch",
    "sweep",
]
