# shellcheck shell=sh
# Sourced by every script: sets project (absolute path) and venv, defines say and die.
set -eu

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
# shellcheck disable=SC2034  # used by the scripts that source this file
venv=$project/.venv

say() { printf '%s\n' "$*"; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# pip, matplotlib and transformers write to $HOME, which in containers is often missing or read-only.
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/nonexistent}" ]; then
    HOME=$project/.cache/home
    mkdir -p "$HOME"
    export HOME
fi
