# Sourced by the other scripts: where the project is, and a home for caches where there is none.
# Sets: project (absolute path), venv, and the functions say, die.

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv=$project/.venv

say() { printf '%s\n' "$*"; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# pip, matplotlib and transformers write under $HOME; containers often have none, or one that is read-only.
if [ -z "${HOME:-}" ] || [ ! -w "${HOME:-/nonexistent}" ]; then
    HOME=$project/.cache/home
    mkdir -p "$HOME"
    export HOME
fi
