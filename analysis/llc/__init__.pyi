from .calibrate import Calibration, calibrate_llc
from .checks import Check
from .config import LLCConfig
from .estimate import LLCEstimate, estimate_llc, llc_estimates
from .landscape import FunctionLandscape, Landscape, ModuleLandscape, NetworkLandscape
from .observables import (
    bayesian_influence,
    covariance_spectrum,
    loss_covariance,
    losses_elsewhere,
    singular_fluctuation,
    susceptibilities,
    wbic,
)
from .parts import restriction_to
from .restriction import Restriction
from .sampling import Trace, sample
from .stored import read_trace, write_trace
from .subspaces import beside

__all__ = [
    "Calibration",
    "Check",
    "FunctionLandscape",
    "LLCConfig",
    "LLCEstimate",
    "Landscape",
    "ModuleLandscape",
    "NetworkLandscape",
    "Restriction",
    "Trace",
    "bayesian_influence",
    "beside",
    "calibrate_llc",
    "covariance_spectrum",
    "estimate_llc",
    "llc_estimates",
    "loss_covariance",
    "losses_elsewhere",
    "read_trace",
    "restriction_to",
    "sample",
    "singular_fluctuation",
    "susceptibilities",
    "wbic",
    "write_trace",
]
