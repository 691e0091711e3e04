"""Who estimates in `paper.llc_accuracy`: this package, and processes with devinterp."""

import json
import os
import subprocess
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64

from analysis.llc.config import LLCConfig
from analysis.llc.estimate import judged
from analysis.llc.known import RegularData
from analysis.llc.restriction import Restriction
from analysis.llc.sampling import Trace, sample
from interp.arguments import UsageError
from paper.llc_cases import Setting

PerChain = Float64[np.ndarray, "repetition chain"]


def ours(setting: Setting, repetitions: int) -> tuple[PerChain, Bool[np.ndarray, "repetition"]]:
    """The estimates of all chains, and which repetitions pass the checks.

    All are sampled in one run, whose chains are then shared out: they are independent.
    """
    chains = setting.config.chains
    landscape = setting.known.landscape()
    trace = sample(landscape, replace(setting.config, chains=repetitions * chains))
    landscape.centres = landscape.centres.expand(repetitions, -1)
    estimates = judged(_shared_out(trace, setting.config), landscape, Restriction())
    passed = [not estimate.failures for estimate in estimates]
    return np.stack([estimate.chains for estimate in estimates]), np.array(passed)


def _shared_out(trace: Trace, config: LLCConfig) -> Trace:
    """A trace of one point as if of many, with `config.chains` chains each."""

    def shared(x: torch.Tensor) -> torch.Tensor:
        return x[0].unflatten(0, (-1, config.chains))

    count = trace.excess.shape[1] // config.chains
    return replace(
        trace,
        config=config,
        **{name: getattr(trace, name).expand(count) for name in ("nbeta", "step_size")},
        initial_loss=trace.initial_loss.expand(count),
        **{
            name: shared(getattr(trace, name))
            for name in ("loss", "excess", "distance", "full_loss", "last", "friction")
            if getattr(trace, name) is not None
        },
    )


class Devinterp:
    """A process that has one of devinterp's generations, and ends with the stack.

    Raises `UsageError` if there is no such Python.
    """

    def __init__(self, python: Path, stack: ExitStack) -> None:
        self.python = python
        script = Path(__file__).with_name("llc_devinterp.py")
        if not python.exists():
            raise UsageError(f"there is no Python at {python}")
        self.process = stack.enter_context(
            subprocess.Popen(
                [python, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"TQDM_DISABLE": "1"},
                text=True,
            )
        )

    def estimates(self, setting: Setting, seed: int) -> list[float]:
        """Each chain's estimate. Raises `UsageError` if the process failed."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(job(setting, seed)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise UsageError(f"{self.python} failed: see above")
        return json.loads(answer)


def job(setting: Setting, seed: int) -> dict[str, Any]:
    """What `paper/llc_devinterp.py` is asked."""
    known, config = setting.known, setting.config
    centre = known.landscape().centres[0]
    examples, fields = torch.zeros_like(centre)[None], asdict(known)
    if isinstance(known, RegularData):
        examples, fields = known.examples, {"curvatures": known.curvatures}
    names = ("step_size", "nbeta", "localization", "chains", "draws", "thin")
    return {
        **{name: getattr(config, name) for name in names},
        "batch_size": config.batch_size or len(examples),
        "burn_in": config.burn_in_steps,
        "seed": seed,
        "loss": type(known).__name__,
        "known": fields,
        "centre": centre.tolist(),
        "examples": examples.tolist(),
    }
