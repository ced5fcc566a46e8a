"""What `mplug2 check` does; and a short way to it, since to load typer takes longer than to check a spec."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import registry
from registry.errors import visible

if TYPE_CHECKING:
    from registry import Problem


def quick(words: Sequence[str]) -> int | None:
    """Run `mplug2 check` with these words after it, and return its exit code.

    Only stages 1 to 3 of what is plainly asked for; None, and nothing done, for all else: typer tells it.
    """
    plain = [word for word in words if word not in ("--stages", "--stages=1-3", "1-3", "--json")]
    stages = " ".join(word for word in words if word in ("--stages", "--stages=1-3", "1-3"))
    if stages not in ("--stages 1-3", "--stages=1-3") or any(word.startswith("-") for word in plain):
        return None
    files, overrides = specs_and_overrides(plain)
    if not files:
        return None
    try:
        good = check_specs(files, overrides, 3, "--json" in words)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0 if good else 2


def specs_and_overrides(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Tell files from settings: what holds `=` and is no file is a setting."""
    specs: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        (overrides if "=" in argument and not os.path.isfile(argument) else specs).append(argument)
    return specs, overrides


def check_specs(files: Iterable[str], overrides: Sequence[str], last: int, as_json: bool) -> bool:
    """Print what is wrong with each spec in the stages up to ``last``; return whether nothing is."""
    good = True
    for file in files:
        began = time.perf_counter()
        problems, note = _problems(file, overrides, last)
        good &= not problems
        shown = visible(file)
        if as_json:
            print(
                json.dumps({"spec": file, "ok": not problems, "problems": [_record(one) for one in problems]})
            )
        elif problems:
            for problem in problems:
                print(problem)
            print(f"{shown}: {len(problems)} mistake{'s' if len(problems) > 1 else ''}")
        else:
            took = f"{time.perf_counter() - began:.1f} s"
            print(f"{shown}: no mistakes (stages 1-{last}, {took}{note and f'; {note}'})")
    return good


def _problems(file: str, overrides: Sequence[str], last: int) -> tuple[list[Problem], str]:
    """All that is wrong in the first stage, up to the ``last`` one, that finds anything; and what to add."""
    note = ""
    try:
        spec = registry.read_spec(file, overrides=overrides)
        found = list(registry.check(spec, files=True).problems)
        if last >= 4 and not found:
            from mplug2.build.dry_run import dry_run

            dry_run(spec)
        if last >= 5 and not found:
            from mplug2.build.smoke import smoke

            note = smoke(spec)
    except registry.SpecError as error:
        found = list(error.problems)
    except registry.UserError as error:
        found = [registry.Problem(registry.Place(file), str(error))]
    return found, note


def _record(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "message": problem.message,
        "hint": problem.hint,
    }
