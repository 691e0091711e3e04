#!/usr/bin/env bash
# Evaluate every checkpoint of runs: paper/evaluate_checkpoints.sh RUN [RUN ...]
#
# A RUN is a run folder or a folder of them. What is measured already is not measured again, and a
# run that another process works on is left to it, so this can be stopped, and started twice. A run
# that fails does not stop the others, but makes the exit status 1.
#
# EVALUATE_FLAGS adds flags of `interp evaluate`, such as "--final" or "--workers 4".
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 RUN [RUN ...]" >&2
  exit 2
fi
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$home/.venv/bin/python}
command -v "$python" >/dev/null || python=python
export PYTHONPATH=$home${PYTHONPATH:+:$PYTHONPATH}
read -ra flags <<<"${EVALUATE_FLAGS:-}"

failed=0
for folder in "$@"; do
  recipes=$(find -L "$folder" -name recipe.json 2>/dev/null | sort) || true
  if [[ -z $recipes ]]; then
    echo "$0: there is no run in $folder" >&2
    failed=1
  fi
  while IFS= read -r recipe; do
    [[ -n $recipe ]] || continue
    "$python" -m interp.cli evaluate "$(dirname "$recipe")" "${flags[@]}" </dev/null || failed=1
  done <<<"$recipes"
done
exit "$failed"
