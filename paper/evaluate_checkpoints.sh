#!/usr/bin/env bash
# Evaluate every checkpoint of runs: paper/evaluate_checkpoints.sh RUN [RUN ...]
#
# A RUN is a run folder or a folder of them; flags of `interp evaluate` can stand among them, such as
# --workers 4. What is measured already is not measured again, and a run that another process works
# on is left to it, so this can be stopped, and started twice. A run that fails does not stop the
# others, but makes the exit status 1.
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 RUN [RUN ...]" >&2
  exit 2
fi
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$home/.venv/bin/python}
command -v "$python" >/dev/null || python=python
export PYTHONPATH=$home${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -m interp.cli evaluate "$@"
