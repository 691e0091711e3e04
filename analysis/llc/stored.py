"""Traces on disk: an xarray tree in zarr, a group for each point.

A group has what `devinterp.slt.llc.compute_llc` (2.x) reads, in its schema: `sampling_loss_micro`
(chain, step, batch_sampling, token_pos), `init_loss`, and `metadata`. It averages over all steps,
so a step is a draw here, and burn-in is not stored; the losses are L(w*) + `excess`, so that what
it computes is our estimate. Beside them are the fields of a `Trace` by their own names, with the
dimensions (chain, draw) that ArviZ expects.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import xarray as xr

from analysis.llc.config import LLCConfig
from analysis.llc.sampling import Trace

DIMS = {
    "loss": ("chain", "draw"),
    "excess": ("chain", "draw"),
    "distance": ("chain", "draw"),
    "full_loss": ("chain", "full_draw"),
    "example_losses": ("chain", "full_draw", "example"),
    "moves": ("chain", "full_draw", "move"),
    "acceptance": ("chain",),
    "friction": ("chain",),
    "last": ("chain", "move"),
    "metric": ("chain", "move"),
}


def write_trace(trace: Trace, path: Path, labels: Sequence[str]) -> None:
    """Store a trace; in place of what was there, when it is whole.

    All of it; but `last` and `metric`, as large as all chains' networks, only if moves were kept.

    Args:
        trace: of one or more points.
        path: the folder, by custom named `*.zarr`.
        labels: the name of each point's group, such as `step_0000100`.

    Raises `ValueError` for labels that are not one for each point.
    """
    if len(set(labels)) != len(trace.nbeta) or any("/" in label for label in labels):
        raise ValueError(
            f"labels are {', '.join(labels)}: each of the {len(trace.nbeta)} points needs its own, "
            "without '/'"
        )
    tree = xr.DataTree.from_dict({name: _group(trace, i) for i, name in enumerate(labels)})
    tree.attrs = {
        "trace": {
            "config": asdict(trace.config),
            "labels": list(labels),
            "n_examples": trace.n_examples,
            "seconds": trace.seconds,
        }
    }
    with _replacing(path) as folder:
        tree.to_zarr(folder, mode="w-", consolidated=False)


def read_trace(path: Path) -> tuple[Trace, tuple[str, ...]]:
    """A stored trace and its labels; its `last` has no coordinates if it was not stored.

    Raises `ValueError` for a zarr tree that is not a stored trace.
    """
    with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
        if "trace" not in tree.attrs:
            raise ValueError(f"{path} is not a stored trace")
        about = tree.attrs["trace"]
        groups = [tree[label].dataset.load() for label in about["labels"]]
    fields: dict[str, Any] = {
        name: torch.from_numpy(np.stack([group[name].values for group in groups]))
        if name in groups[0]
        else None
        for name in DIMS
    }
    if fields["last"] is None:
        fields["last"] = torch.empty(len(groups), about["config"]["chains"], 0)
    for name in ("nbeta", "step_size", "initial_loss"):
        values = [group.attrs[name] for group in groups]
        fields[name] = torch.tensor(values, dtype=torch.float64)
    own = {name: about[name] for name in ("n_examples", "seconds")}
    return Trace(config=LLCConfig(**about["config"]), **fields, **own), tuple(about["labels"])


def _group(trace: Trace, point: int) -> xr.Dataset:
    n_chains, n_draws = trace.excess.shape[1:]
    initial = float(trace.initial_loss[point])
    own = {
        name: (dims, getattr(trace, name)[point].numpy(force=True))
        for name, dims in DIMS.items()
        if getattr(trace, name) is not None and ("move" not in dims or trace.moves is not None)
    }
    theirs = {
        "sampling_loss_micro": (
            ("chain", "step", "batch_sampling", "token_pos"),
            own["excess"][1][..., None, None] + initial,
        ),
        "init_loss": (("chain", "token_pos"), np.full((n_chains, 1), initial)),
    }
    full_draws = np.arange(trace.config.full_every - 1, n_draws, trace.config.full_every)
    coords = {"chain": range(n_chains), "draw": range(n_draws), "full_draw": full_draws}
    return xr.Dataset({**own, **theirs}, coords=coords, attrs=_metadata(trace, point))


def _metadata(trace: Trace, point: int) -> dict[str, Any]:
    """What devinterp knows a sampler by, and the values of one point."""
    config = trace.config
    nbeta, step_size = float(trace.nbeta[point]), float(trace.step_size[point])
    sampler = {
        "n_beta": nbeta,
        "lr": step_size,
        "localization": config.localization,
        "num_chains": config.chains,
        "num_draws": config.draws,
        "num_steps_bw_draws": 1,
        "num_burnin_steps": 0,
        "batch_size": 1,
        "sampling_method": {"sgld": "sgmcmc_sgld"}.get(config.sampler, config.sampler),
    }
    return {
        "metadata": {"config": {"sampler": sampler}},
        "nbeta": nbeta,
        "step_size": step_size,
        "initial_loss": float(trace.initial_loss[point]),
    }


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A folder to write, renamed to `path` when the block ends well.

    What was there is moved away a moment before: no file system has one call for both.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as spare:
        new = Path(spare) / "new"
        yield new
        if path.exists():
            path.rename(Path(spare) / "old")
        new.rename(path)
