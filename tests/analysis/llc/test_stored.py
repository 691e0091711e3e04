"""Traces on disk, read by ourselves, by devinterp and as ArviZ does."""

from dataclasses import fields, replace
from math import nan

import pytest
import torch
import xarray as xr
from arviz_stats.base import array_stats
from devinterp.slt.llc import compute_llc

from analysis.llc.config import LLCConfig
from analysis.llc.sampling import Trace
from analysis.llc.stored import read_trace, write_trace

LABELS = ["step_0000002", "step_0000010", "step_0000001"]
"""Not in the order of the alphabet."""


@pytest.fixture
def trace() -> Trace:
    generator = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    return Trace(
        config=LLCConfig(chains=4, draws=20, full_every=3, batch_size=5, seed=7),
        nbeta=numbers(3) * 100,
        step_size=numbers(3) / 1000,
        n_examples=9,
        initial_loss=numbers(3),
        loss=numbers(3, 4, 20),
        excess=numbers(3, 4, 20),
        distance=numbers(3, 4, 20),
        full_loss=numbers(3, 4, 6),
        example_losses=numbers(3, 4, 6, 9),
        moves=numbers(3, 4, 6, 6).float(),
        last=numbers(3, 4, 6),
        metric=numbers(3, 4, 6),
        acceptance=numbers(3, 4),
        friction=numbers(3, 4),
        seconds=1 / 3,
    )


def _assert_equal(found: Trace, expected: Trace) -> None:
    for field in fields(Trace):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if not isinstance(other, torch.Tensor):
            assert one == other, field.name
        else:
            assert one.dtype == other.dtype
            assert torch.allclose(one, other, rtol=0, atol=0, equal_nan=True), field.name


def test_what_is_written_is_read(trace, tmp_path):
    trace.loss[1, 2, 5:] = nan  # a chain that diverged
    write_trace(trace, tmp_path / "trace.zarr", LABELS)
    found, labels = read_trace(tmp_path / "trace.zarr")
    assert labels == tuple(LABELS)
    _assert_equal(found, trace)
    assert [path.name for path in tmp_path.iterdir()] == ["trace.zarr"]


def test_what_was_not_kept_is_not_there(trace, tmp_path):
    trace = replace(trace, example_losses=None, moves=None, acceptance=None, friction=None)
    write_trace(trace, tmp_path / "trace.zarr", LABELS)
    found, _ = read_trace(tmp_path / "trace.zarr")
    assert found.last.shape == (3, 4, 0)
    _assert_equal(replace(found, last=trace.last, metric=trace.metric), trace)


def test_devinterp_computes_our_estimate(trace, tmp_path):
    write_trace(trace, tmp_path / "trace.zarr", LABELS)
    chains = trace.nbeta[:, None] * trace.excess.mean(dim=-1)
    with xr.open_datatree(tmp_path / "trace.zarr", engine="zarr", consolidated=False) as tree:
        for i, label in enumerate(LABELS):
            found = compute_llc(tree[label])
            assert found.llc_per_chain.values == pytest.approx(chains[i].numpy(), rel=1e-12)
            assert float(found.llc_mean) == pytest.approx(float(chains[i].mean()), rel=1e-12)
            assert float(found.init_loss) == pytest.approx(float(trace.initial_loss[i]))


def test_arviz_finds_chains_and_draws(trace, tmp_path):
    write_trace(trace, tmp_path / "trace.zarr", LABELS)
    with xr.open_datatree(tmp_path / "trace.zarr", engine="zarr", consolidated=False) as tree:
        group = tree[LABELS[0]].dataset.load()
    values = group["excess"]
    axes = {f"{dim}_axis": values.get_axis_num(dim) for dim in ("chain", "draw")}
    assert float(array_stats.rhat(values.values, **axes)) == pytest.approx(
        float(array_stats.rhat(trace.excess[0].numpy(), chain_axis=0, draw_axis=1))
    )
    assert group["full_draw"].values.tolist() == [2, 5, 8, 11, 14, 17]
    assert group["full_loss"].dims == ("chain", "full_draw")


def test_a_trace_takes_the_place_of_another_only_when_it_is_whole(trace, tmp_path, monkeypatch):
    path = tmp_path / "deeper" / "trace.zarr"
    write_trace(trace, path, LABELS)
    other = replace(trace, seconds=2.0)
    write_trace(other, path, LABELS)
    _assert_equal(read_trace(path)[0], other)

    def fail(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(xr.DataTree, "to_zarr", fail)
    with pytest.raises(OSError, match="full"):
        write_trace(trace, path, LABELS)
    _assert_equal(read_trace(path)[0], other)
    assert [file.name for file in path.parent.iterdir()] == ["trace.zarr"]


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "a", "b"], ["a", "b", "c/d"]])
def test_labels_that_are_not_names_of_the_points(trace, tmp_path, labels):
    with pytest.raises(ValueError, match=r"labels are a, .*: each of the 3 points needs its own"):
        write_trace(trace, tmp_path / "trace.zarr", labels)


def test_another_zarr_tree(tmp_path):
    xr.DataTree.from_dict({"a": xr.Dataset()}).to_zarr(tmp_path / "other", consolidated=False)
    with pytest.raises(ValueError, match=r"other is not a stored trace"):
        read_trace(tmp_path / "other")
