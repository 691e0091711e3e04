#!/usr/bin/env bash
# Evaluate the final checkpoint of runs: paper/evaluate_final.sh RUN [RUN ...]
#
# Otherwise as evaluate_checkpoints.sh.
set -euo pipefail

if (($# == 0)); then
  echo "usage: $0 RUN [RUN ...]" >&2
  exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/evaluate_checkpoints.sh" "$@" --final
