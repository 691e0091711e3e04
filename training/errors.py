"""What can go wrong in training that is not the program's fault."""

import contextlib
import errno
from collections.abc import Iterator, Mapping

from safetensors import SafetensorError

from interp.runs.run import Run


class DivergedError(RuntimeError):
    """A loss or weight became infinite or NaN."""


class DiskFullError(RuntimeError):
    """There was no room to write. What was written before is whole."""


@contextlib.contextmanager
def failures_recorded(runs: Mapping[int, Run]) -> Iterator[None]:
    """Write `failed` and why to the runs' status when the block raises; name a full disk as such.

    A diverged run has its status already.
    """
    try:
        yield
    except DivergedError:
        raise
    except Exception as error:
        told = _disk_full(error, runs) if _is_disk_full(error) else error
        for run in runs.values():
            with contextlib.suppress(OSError):  # where the disk is full, this may fail too
                run.write_status("failed", error=f"{told}")
        if told is error:
            raise
        raise told from error


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, SafetensorError):  # it has no number, only the system's text
        return "No space left" in str(error) or "os error 28" in str(error)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _disk_full(error: Exception, runs: Mapping[int, Run]) -> DiskFullError:
    run = next(iter(runs.values()))
    return DiskFullError(
        f"no space left for {run.path}: what is written there is whole; make room, then "
        f"`interp resume {run.path}`"
    )
