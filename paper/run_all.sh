#!/usr/bin/env bash
# Train, evaluate and tabulate the publication's experiments: paper/run_all.sh TO [EXPERIMENT ...]
#
# Runs go to TO/runs, tables to TO/tables. EXPERIMENT is a name or pattern of `interp list presets`;
# by default `universality`, the main table's 56 runs. What is done already is not done again, so
# this can be stopped, and started twice. A run that fails does not stop the others, but makes the
# exit status 1.
#
# PUBLISHED names a folder of published runs to compare with, SWEEP_FLAGS adds flags of `interp
# sweep`, such as "--engine processes" or "--engine slurm --slurm partition=gpu". With SLURM the jobs
# are only submitted: start this again when they are done, for the tables.
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 TO [EXPERIMENT ...]" >&2
  exit 2
fi
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$home/.venv/bin/python}
command -v "$python" >/dev/null || python=python
export PYTHONPATH=$home${PYTHONPATH:+:$PYTHONPATH}
to=$1
shift
(($# > 0)) || set -- universality
read -ra flags <<<"${SWEEP_FLAGS:-}"
published=()
[[ -z ${PUBLISHED:-} ]] || published=(--published "$PUBLISHED")

failed=0
for experiment in "$@"; do
  "$python" -m interp.cli sweep "$experiment" --to "$to/runs" --evaluate all "${flags[@]}" || {
    (($? != 2)) || exit 2 # a wrong request
    failed=1
  }
done
"$python" -m interp.cli tables --runs "$to/runs" --out "$to/tables" "${published[@]}" || failed=1
exit "$failed"
