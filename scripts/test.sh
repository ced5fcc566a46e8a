#!/bin/sh
# Set up, lint, check the types, and run the tests.
#
#   sh scripts/test.sh                    lint and the quick tests
#   sh scripts/test.sh --all              also the slow tests (and those that need a GPU, if there is one)
#   sh scripts/test.sh tests/cli -k help  other arguments are passed to pytest
#   JOBS=8 sh scripts/test.sh             number of test processes (default: 2)
. "$(dirname -- "$0")/lib/project.sh"
sh "$project/scripts/setup.sh"
cd "$project"

if [ "${1:-}" = --all ]; then
    shift
    if command -v nvidia-smi >/dev/null 2>&1; then set -- -m '' "$@"; else set -- -m 'not gpu' "$@"; fi
fi

# Run every linter before a failure ends the run.
failed=
"$venv/bin/ruff" check . || failed="$failed 'ruff check'"
"$venv/bin/ruff" format --check . || failed="$failed 'ruff format --check'"
"$venv/bin/mypy" || failed="$failed mypy"
[ -z "$failed" ] || die "tests not run: first fix the problems reported by${failed} (ruff check --fix and ruff format fix most of them)"

# One thread per process: thread pools of parallel processes slow each other down, and sums would differ between machines.
OMP_NUM_THREADS=1 exec "$venv/bin/python" -m pytest -n "${JOBS:-2}" --dist loadfile "$@"
