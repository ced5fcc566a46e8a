"""Problems of typed indices: `owner: index A -> Q` counts rows of Q, and of nothing else.

An index input without a target is settled by its first use; all other uses must agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registry.checks.sizes import Size
from registry.errors import Problem
from registry.kinds import KINDS
from registry.language.equation import Ref
from registry.language.ports import ARROW, Axis, StreamType
from registry.language.spec import Spec
from registry.registries import closest_name


@dataclass(frozen=True)
class IndexUse:
    """One call that reads an index: its port, the stream there, and whose rows the port wants counted.

    `rows`: another port of the call that has those rows, with its stream, or None.
    """

    callee: str
    port: str
    ref: Ref
    expected: Size
    rows: tuple[str, Ref] | None


def unknown_targets(spec: Spec) -> dict[str, Problem]:
    """Return a problem for each index input that counts rows of an axis which no input has, by its name."""
    letters: dict[Axis, None] = {}
    for declared in spec.inputs.values():
        # A mapping as an ordered set: the hint lists axes as the spec has them.
        letters.update(dict.fromkeys(declared.axes))
    problems: dict[str, Problem] = {}
    for name, declared in spec.inputs.items():
        target = declared.target
        if not isinstance(target, str) or target in letters:
            continue
        axes = [axis for axis in letters if isinstance(axis, str)]
        near = closest_name(target, axes)
        hint = f"axes of the inputs: {', '.join(axes) or 'none'}"
        if near:
            hint = f"did you mean '{near}'?"
        message = (
            f"index '{name}' counts rows of '{target}', but no input has such an axis"
        )
        problems[name] = Problem(spec.place("inputs", name), message, hint)
    return problems


def wrong_index(
    spec: Spec, streams: Mapping[str, StreamType], use: IndexUse, counted: Size
) -> Problem:
    """Return the problem of an index that counts other rows than those of the stream it picks from."""
    axis, wrong = use.expected.axis, counted.axis
    message = f"wrong index: stream '{use.ref.name}' counts rows of {wrong}"
    if use.rows is None or use.rows[1] == use.ref:
        message += f", but port '{use.port}' of {use.callee} must count rows of {axis}"
    else:
        port, ref = use.rows
        message += f", but stream '{ref.name}' (port '{port}' of {use.callee}) has rows of {axis}"
    hint = _hint(streams, use, axis, wrong)
    declared = spec.inputs.get(use.ref.name)
    if declared is not None and declared.target is None:  # another use has settled it
        hint += f"; if it counts rows of {axis}, write `{use.ref.name}: {declared} {ARROW} {axis}`"
    return Problem(use.ref.place, message, hint)


def _hint(
    streams: Mapping[str, StreamType], use: IndexUse, axis: Axis, wrong: Axis
) -> str:
    """Return which index counts the right rows, or which streams have the rows that are counted."""
    fixes: list[str] = []
    for name, kind in streams.items():
        if kind.target == axis and name != use.ref.name:
            fixes.append(f"use an index into {axis} ('{name}')")
            break
    if use.rows is not None:
        port, ref = use.rows
        taken = streams[ref.name].kind
        for name, kind in streams.items():
            has_rows = bool(kind.axes) and kind.axes[0] == wrong
            # Another index may have these rows by chance, and would be the next mistake.
            if kind.kind == taken and has_rows and not KINDS[taken].counts_rows:
                fixes.append(
                    f"fill '{port}' by a stream with rows of {wrong} ('{name}')"
                )
                break
    return ", or ".join(fixes) or f"add an input `NAME: index AXIS {ARROW} {axis}`"
