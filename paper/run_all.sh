#!/usr/bin/env bash
# Train, evaluate and tabulate the publication's experiments: paper/run_all.sh TO [EXPERIMENT ...]
#
# Runs go to TO/runs, tables to TO/tables. EXPERIMENT is a name or pattern of
# `python -m paper.experiments --list`; by default `universality`, the main table's 56 runs. What is
# done already is not done again, so this can be stopped, and started twice. A run that fails does
# not stop the others, but makes the exit status 1.
#
# PUBLISHED names a folder of published runs to compare with, EVALUATE_FLAGS adds flags of
# `interp evaluate`, TRAIN_FLAGS of `python -m paper.experiments`.
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
read -ra flags <<<"${TRAIN_FLAGS:-}"
published=()
[[ -z ${PUBLISHED:-} ]] || published=(--published "$PUBLISHED")

failed=0
"$python" -m paper.experiments "${@:-universality}" --to "$to/runs" "${flags[@]}" || {
  (($? != 2)) || exit 2 # a wrong request
  failed=1
}
"$home/paper/evaluate_checkpoints.sh" "$to/runs" || failed=1
"$python" -m paper.tables --runs "$to/runs" --out "$to/tables" "${published[@]}" || failed=1
exit "$failed"
