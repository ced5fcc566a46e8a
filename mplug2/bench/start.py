"""CPU time of commands from start to exit, beyond a bare interpreter and relative to the import of torch."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from modules.torchvision_guard import ensure_torchvision
from registry import UserError

BARE, TORCH = "python -c pass", "python -c 'import torch, timm'"
# timm imports torchvision, which fails to import next to some builds of torch
IMPORT_TORCH = f"import {ensure_torchvision.__module__} as m; m.ensure_torchvision(); import torch, timm"
FIRST = "mplug2 check --stages 1-3, empty cache"
UNCACHED = "mplug2 check, empty cache"
NO_CACHE = {"XDG_CACHE_HOME": os.devnull}
WITHOUT_CACHE = (
    FIRST,
    UNCACHED,
)  # The others read what the warm-up round has left in the user's cache.
# Packages are installed with their bytecode; in a checkout, the warm-up round writes it.
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
Figures = dict[str, list[float]]  # command: CPU seconds in each round


def commands(spec: str, overrides: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the words that are measured for each command, after the Python interpreter."""
    check = ["-m", "mplug2", "check", spec, *overrides]
    return {
        BARE: ["-c", "pass"],
        TORCH: ["-c", IMPORT_TORCH],
        "mplug2 --help": ["-m", "mplug2", "--help"],
        "mplug2 check --stages 1-3": [*check, "--stages", "1-3"],
        FIRST: [*check, "--stages", "1-3"],
        "mplug2 check": check,
        UNCACHED: check,
    }


def bench(
    spec: str,
    overrides: Sequence[str] = (),
    rounds: int = 3,
    on_progress: Callable[[str], object] = lambda command: None,
) -> Figures:
    """Return the CPU seconds of all commands, in interleaved rounds; raise UserError if one fails."""
    figures: Figures = {}
    for turn in range(rounds + 1):
        for name, words in commands(spec, overrides).items():
            on_progress(
                f"round {turn} of {rounds}: {name}" if turn else f"warm-up: {name}"
            )
            seconds = _cpu_seconds(words, NO_CACHE if name in WITHOUT_CACHE else {})
            if turn:  # the first run of each reads its files from disk
                figures.setdefault(name, []).append(seconds)
    return figures


def _cpu_seconds(
    words: Sequence[str], variables: Mapping[str, str] | None = None
) -> float:
    environment = {**os.environ, **(variables or {})}
    environment.pop(NO_BYTECODE, None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise UserError(
            f"python {' '.join(words)} failed with exit code {done.returncode}:\n{output}"
        )
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def lines(figures: Figures) -> list[tuple[str, str, str, str]]:
    """Return table rows: the command, its least CPU seconds, those beyond the bare interpreter, and relative
    to the import of torch.

    Of several runs the least is what other processes on the machine disturbed least.
    """
    bare, torch = min(figures[BARE]), min(figures[TORCH])
    rows = []
    for name, seconds in figures.items():
        least = min(seconds)
        rows.append(
            (name, f"{least:.2f}", f"{least - bare:.2f}", f"{least / torch:.2f}")
        )
    return rows
