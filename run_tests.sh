#!/usr/bin/env bash
# Format check, lint, types and tests: the one command before a commit. Makes .venv if need be.
# Arguments go to pytest: ./run_tests.sh -k launcher
set -eu
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$ROOT/scripts/venv.sh"
set_up requirements-dev.txt
cd "$ROOT"

step() { # WORD...: a tool of the virtual environment and its arguments
  printf '\n── %s\n' "$*"
  "$PYTHON" -m "$@"
}

step ruff format --check .
step ruff check .
step mypy
if [ $# -gt 0 ]; then
  step pytest "$@"
else # what computes, then what waits: neither is to disturb the other's clock
  step pytest -n auto --maxprocesses 4 -m "not processes and not display"
  # The second kind mostly sleeps, so there may be more of them than cores.
  step pytest -n 3 --dist loadfile -m "processes or display"
fi
