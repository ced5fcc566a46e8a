"""What `mplug2 check` does; and a short way to it, since to load typer takes longer than to check a spec."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import registry
from registry.errors import visible
from registry.language.renames import collected_renames

if TYPE_CHECKING:
    from mplug2.checking.stages import Findings
    from registry import Location, Problem, Spec

STAGES = ("1-3", "1-4")
READ, AXES, DRY_RUN, SMOKE, RUN = 1, 3, 4, 5, 6
SCHEMA = 1  # the version of the records of `--json` (docs/checking.md)
WORD = re.compile(r"[\w.@*!/-]+")


@dataclass(frozen=True)
class Request:
    """What to check: spec files with settings for them, up to which stage, and how to print it."""

    files: Sequence[str] = ()
    overrides: Sequence[str] = ()
    last: int = DRY_RUN
    smoke: bool = False
    run: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was found in one spec: problems of the last stage that ran, and notes on what was not checked."""

    stage: int = READ
    problems: Sequence[Problem] = ()
    notes: Sequence[Problem] = ()
    remarks: list[str] = field(default_factory=list)  # about the check itself
    warnings: Sequence[Problem] = ()  # old words


def quick(words: Sequence[str]) -> int | None:
    """Run `mplug2 check` with these words after it, and return its exit code.

    Only for what is plainly asked for; None, and nothing done, for all else: typer reports it.
    """
    request = _plain_request(words)
    if request is None or not request.files:
        return None
    try:
        good = check_specs(request)
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head`: nothing reads the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0 if good else 2


def _plain_request(words: Sequence[str]) -> Request | None:
    """Return what the words ask for; None if they have an option that only typer reads."""
    arguments: list[str] = []
    stages, as_json, run = STAGES[-1], False, False
    remaining = iter(words)
    for word in remaining:
        if word == "--stages":
            stages = next(remaining, "")
        elif word.startswith("--stages="):
            stages = word.partition("=")[2]
        elif word == "--json":
            as_json = True
        elif word == "--run":
            run = True
        elif word.startswith("-"):
            return None
        else:
            arguments.append(word)
    if stages not in STAGES or (run and stages != STAGES[-1]):
        return None
    files, overrides = specs_and_overrides(arguments)
    return Request(files, overrides, int(stages[-1]), run=run, as_json=as_json)


def specs_and_overrides(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Separate files from settings: a word with `=` that does not name a file is a setting."""
    specs: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        is_setting = "=" in argument and not os.path.isfile(argument)
        (overrides if is_setting else specs).append(argument)
    return specs, overrides


def check_specs(request: Request) -> bool:
    """Print what is wrong with each spec, and what was not checked; return whether nothing is wrong."""
    good = True
    for file in request.files:
        began = time.perf_counter()
        if request.as_json:
            outcome = _outcome_with_warnings(file, request)
            print(json.dumps(_record(file, outcome)))
        else:
            outcome = _outcome(file, request)
            _print(file, outcome, request, time.perf_counter() - began)
        good &= not outcome.problems
    return good


def _outcome_with_warnings(file: str, request: Request) -> Outcome:
    """Return the outcome of a spec, with its old words as warnings instead of lines on stderr."""
    with collected_renames() as renames:
        outcome = _outcome(file, request)
    problems = []
    for rename in renames:
        hint = f"`{rename.new}`"
        problems.append(registry.Problem(rename.location, rename.message, hint))
    return replace(outcome, warnings=problems)


def _outcome(file: str, request: Request) -> Outcome:
    """Return the problems of the first stage that finds any."""
    stage = READ
    try:
        spec = registry.read_spec(file, overrides=request.overrides)
        findings = _findings(spec, request)
        stage = findings.stage
        outcome = Outcome(stage, findings.problems, findings.notes)
        # A run needs what is absent.
        if request.run and findings.notes:
            return Outcome(RUN, [*findings.problems, *findings.notes])
        if findings.problems:
            return outcome
        if request.smoke:
            stage = SMOKE
            outcome = _smoke(spec, outcome)
        if request.run and not outcome.problems:
            from mplug2.cli.run_checks import run_findings

            stage = RUN
            problems, notes = run_findings(spec, findings.types)
            outcome = replace(outcome, stage=stage, problems=problems, notes=notes)
        return outcome
    except registry.SpecError as error:
        return Outcome(stage, error.problems)
    except registry.UserError as error:
        return Outcome(stage, [registry.Problem(registry.Location(file), str(error))])


def _findings(spec: Spec, request: Request) -> Findings:
    from mplug2.checking.stages import check_stages

    return check_stages(spec, request.last, required=request.run)


def _smoke(spec: Spec, outcome: Outcome) -> Outcome:
    """Run stage 5: one small step, and every evaluation on a few samples; raise `SpecError`."""
    from mplug2.build.smoke import check_step, small_network
    from mplug2.eval.rehearsal import try_evaluations

    net, remark = small_network(spec)
    check_step(net)
    problems, notes = try_evaluations(spec, net, incomplete=bool(outcome.notes))
    remarks = [remark] if remark else []
    return Outcome(SMOKE, problems, [*outcome.notes, *notes], remarks)


def _print(file: str, outcome: Outcome, request: Request, seconds: float) -> None:
    for note in outcome.notes:
        unchecked = "" if outcome.stage == RUN else " (not checked)"
        print(visible(f"note: {note.place}: {note.message}{unchecked}"))
    for problem in outcome.problems:
        print(problem)
    shown, count = visible(file), len(outcome.problems)
    if count:
        print(f"{shown}: {count} mistake{'s' if count > 1 else ''}")
        return
    last = SMOKE if request.smoke else request.last
    checked = f"stages 1-{last}{' and the run' if request.run else ''}"
    parts = "; ".join([f"{checked}, {seconds:.1f} s", *outcome.remarks])
    print(f"{shown}: no mistakes ({parts})")


def _record(file: str, outcome: Outcome) -> dict[str, Any]:
    """Return the JSON object of one spec (docs/checking.md)."""
    problems = []
    for problem in outcome.problems:
        problems.append(_problem_record(problem, "error", outcome.stage))
    # Old words are found while the file is read.
    for warning in outcome.warnings:
        problems.append(_problem_record(warning, "warning", READ))
    for note in outcome.notes:
        problems.append(_problem_record(note, "note", outcome.stage))
    return {
        "version": SCHEMA,
        "spec": file,
        "ok": not outcome.problems,
        "stage": outcome.stage,
        "problems": problems,
    }


def _problem_record(problem: Problem, severity: str, stage: int) -> Mapping[str, Any]:
    place = problem.place
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "end_column": _end_column(place),
        "severity": severity,
        "stage": stage,
        "message": problem.message,
        "hint": problem.hint,
    }


def _end_column(place: Location) -> int | None:
    """Return the column after the word at a place, in its line; None if there is no word."""
    word = WORD.match(place.text, place.column - 1) if place.line else None
    return word.end() + 1 if word else None
