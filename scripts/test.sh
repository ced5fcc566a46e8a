#!/bin/sh
# Set up, lint, check the types, and run the tests.
#
#   sh scripts/test.sh                    lint and the quick tests
#   sh scripts/test.sh --all              the slow ones, too (and those that need a GPU, where there is one)
#   sh scripts/test.sh tests/cli -k help  what follows goes to pytest
#   JOBS=8 sh scripts/test.sh             so many test processes instead of 2
set -eu
. "$(dirname -- "$0")/env.sh"
sh "$project/scripts/setup.sh"
cd "$project"

if [ "${1:-}" = --all ]; then
    shift
    if command -v nvidia-smi >/dev/null 2>&1; then set -- -m '' "$@"; else set -- -m 'not gpu' "$@"; fi
fi

# Every linter speaks before the first one that failed ends the run.
failed=
"$venv/bin/ruff" check . || failed="$failed 'ruff check'"
"$venv/bin/ruff" format --check . || failed="$failed 'ruff format --check'"
"$venv/bin/mypy" || failed="$failed mypy"
[ -z "$failed" ] || die "not tested yet: mend what${failed} found first (ruff check --fix and ruff format do most of it)"

# One thread a process: two processes with a pool each get in each other's way, and sums would differ between machines.
OMP_NUM_THREADS=1 exec "$venv/bin/python" -m pytest -n "${JOBS:-2}" --dist loadfile "$@"
