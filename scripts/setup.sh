#!/bin/sh
# Create .venv in the project folder and install mplug2 into it, with the versions of constraints.txt.
#
#   sh scripts/setup.sh
#
# A second call does nothing until setup.py, pyproject.toml, constraints.txt, the Python or the folder changes.
# The installation takes 1.5 to 3 minutes if pip has torch in its cache, and about 2 GB of disk (7 GB with the CUDA build).
#
# Settings (environment variables):
#   PYTHON=python3.12                  the Python that creates .venv (3.10 or newer); refused if .venv has a different one
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
#                                      install the small CPU build of torch on a machine without a GPU
. "$(dirname -- "$0")/lib/project.sh"
cd "$project"

stamp=$venv/.mplug2-stamp
log=$venv/install.log

# Print what the installation depends on, as one line; fail if the Python of .venv is missing or broken.
state() {
    interpreter=$("$venv/bin/python" -c 'import sys, pip; print(sys.version)' 2>/dev/null) || return 1
    printf '%s|%s|%s\n' "$project" "$interpreter" "$(cat setup.py pyproject.toml constraints.txt scripts/setup.sh | cksum)" |
        tr '\n' ' '
}

is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_python "$PYTHON" || die "PYTHON=$PYTHON must be a Python of 3.10 or newer, but is $("$PYTHON" -V 2>&1 || true)"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do
        if is_python "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    die "mplug2 needs Python 3.10 or newer, but found $(python3 -V 2>&1 || printf 'none').
Install it (Debian: apt install python3 python3-venv), or choose another: PYTHON=/path/to/python3.12 sh scripts/setup.sh"
}

make_venv() {
    python=$(find_python) || exit 1
    "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
        die "$python cannot make environments: its venv or ensurepip is missing (Debian: apt install python3-venv)"
    free=$(df -Pk "$project" | awk 'NR == 2 {print int($4 / 1048576)}')
    [ "${free:-9}" -ge 2 ] || die "setting up needs 2 GB of free disk, but $project has $free GB left"
    say "creating .venv with $("$python" -V)"
    "$python" -m venv --clear "$venv" || die "$venv could not be created: see above"
}

# Run pip in the background with its output in a log; show one updated line on a terminal, else a line every 30 seconds.
run_pip() {
    "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --progress-bar off "$@" </dev/null >>"$log" 2>&1 &
    pip=$!
    trap 'kill "$pip" 2>/dev/null || :; { wait "$pip" || :; } 2>/dev/null; printf "\ninterrupted; run again to continue\n" >&2; exit 130' INT TERM HUP
    seconds=0
    while kill -0 "$pip" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        if [ -t 1 ]; then
            printf '\r%4d s  %-70.70s' "$seconds" "$(tail -n 1 "$log")"
        elif [ $((seconds % 30)) -eq 0 ]; then
            printf '%4d s  %.70s\n' "$seconds" "$(tail -n 1 "$log")"
        fi
    done
    [ ! -t 1 ] || printf '\r%80s\r' ''
    trap - INT TERM HUP
    wait "$pip"
}

# Run one setup at a time on all machines that share the disk; the others wait, then have nothing left to do.
lock=$project/.cache/setup.lock
take_lock() {
    mkdir -p "$project/.cache"
    announced=
    while ! mkdir "$lock" 2>/dev/null; do
        [ -d "$lock" ] || die "$lock cannot be created: is $project writable?"
        read -r host process <"$lock/owner" 2>/dev/null || { host=; process=; }
        if [ "$host" = "$(uname -n)" ] && ! kill -0 "$process" 2>/dev/null; then
            rm -rf "$lock" # its owner was killed
            continue
        fi
        [ -n "$announced" ] || say "waiting for another setup, process ${process:-?} on ${host:-?} (if there is none: rm -r '$lock')"
        announced=yes
        sleep 1
    done
    trap 'rm -rf "$lock"' EXIT
    printf '%s %s\n' "$(uname -n)" "$$" >"$lock/owner"
}

if [ -n "${PYTHON:-}" ] && "$venv/bin/python" -c '' 2>/dev/null; then
    version='import sys; print(sys.version)'
    [ "$("$venv/bin/python" -c "$version")" = "$("$PYTHON" -c "$version" 2>/dev/null)" ] ||
        die "PYTHON=$PYTHON is not the Python that .venv was created with, $("$venv/bin/python" -V): rm -r '$venv' first, or unset PYTHON"
fi

installed() {
    now=$(state) || now=
    [ -n "$now" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]
}

if installed; then exit 0; fi
take_lock
if installed; then exit 0; fi # by the setup that held the lock

[ -n "$now" ] || make_venv
rm -f "$stamp"
: >"$log"
say "installing into .venv: usually 1.5 to 3 minutes, longer if torch must be downloaded (log: $log)"
if ! command -v nvidia-smi >/dev/null 2>&1 && [ -z "${PIP_EXTRA_INDEX_URL:-}${PIP_FIND_LINKS:-}${PIP_INDEX_URL:-}" ]; then
    say "no GPU found: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu would install torch without 3 GB of CUDA libraries"
fi
if ! run_pip -c constraints.txt -e '.[dev]'; then
    tail -n 15 "$log" >&2
    die "pip failed: its last lines are above, the complete output is in $log; run again to continue"
fi
# decord is optional and has wheels for few platforms; without it every file is read with PyAV.
run_pip -c constraints.txt --only-binary=:all: decord || say "decord has no wheel for this machine: videos are read with PyAV"

state >"$stamp.part" && mv "$stamp.part" "$stamp"
say "ready: $venv/bin/mplug2 --help"
