"""Check stage 3, first half: the flow as a graph. Circles, and what is made and never used."""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import Place, Problem
from registry.language.spec import Spec


@dataclass(frozen=True)
class Graph:
    """What the graph of a flow shows.

    `order`: the streams, each after what it reads, without those in a circle and those that need one.
    `unused`: a problem for each stream and input that no goal needs, by name.
    """

    circles: list[Problem]
    uncalled: list[Problem]
    unused: dict[str, Problem]
    order: list[str]


def read_graph(spec: Spec) -> Graph:
    """Return the circles, the order of computation, and all that is made and never used."""
    reads = {
        name: list(dict.fromkeys(ref.stream for ref in line.refs() if ref.stream in spec.flow))
        for name, line in spec.flow.items()
    }
    order = _order(reads)
    unused = _unused_streams(spec, reads) | _unused_inputs(spec)
    return Graph(_circles(spec, reads, set(order)), _unused_modules(spec), unused, order)


def _order(reads: dict[str, list[str]]) -> list[str]:
    """Return what can be computed, in order."""
    waits = {name: len(before) for name, before in reads.items()}
    readers: dict[str, list[str]] = {name: [] for name in reads}
    for name, before in reads.items():
        for one in before:
            readers[one].append(name)
    order = [name for name, count in waits.items() if count == 0]
    for name in order:  # grows while it is walked
        for reader in readers[name]:
            waits[reader] -= 1
            if waits[reader] == 0:
                order.append(reader)
    return order


def _circles(spec: Spec, reads: dict[str, list[str]], done: set[str]) -> list[Problem]:
    """Return one problem for each circle, at its first line; `done` can be computed."""
    problems: list[Problem] = []
    seen = set(done)
    for start in (name for name in spec.flow if name not in done):
        path: list[str] = []
        name = start
        while name not in seen and name not in path:
            path.append(name)
            name = next(one for one in reads[name] if one not in done)
        if name in path:
            circle = path[path.index(name) :]
            first = min(circle, key=list(spec.flow).index)
            turn = circle[circle.index(first) :] + circle[: circle.index(first)]
            text = " <- ".join([*turn, first])
            message = f"streams go in a circle: {text}"
            problems.append(
                Problem(spec.flow[first].place, message, "let one of these lines read something else")
            )
        seen.update(path)
    return problems


def _unused_streams(spec: Spec, reads: dict[str, list[str]]) -> dict[str, Problem]:
    """Return a problem for each stream that no goal needs, except where only such a stream reads it."""
    needed: set[str] = set()
    stack = [ref.stream for outputs in spec.goals.values() for ref in outputs.values()]
    while stack:
        name = stack.pop()
        if name in reads and name not in needed:
            needed.add(name)
            stack.extend(reads[name])
    unused = [name for name in spec.flow if name not in needed]
    read = {one for name in unused for one in reads[name]}
    problems: dict[str, Problem] = {}
    for name in (one for one in unused if one not in read):
        above: list[str] = []
        stack = list(reads[name])
        while stack:
            one = stack.pop(0)
            if one not in needed and one not in above:
                above.append(one)
                stack.extend(reads[one])
        also = f", and {', '.join(above)}, which only it needs" if above else ""
        place = spec.key_place("flow", name)
        hint = f"use it, add it to a goal, or {_delete(spec, place, name)}{also}"
        problems[name] = Problem(place, f"stream '{name}' is computed and never used", hint)
    return problems


def _delete(spec: Spec, place: Place, name: str) -> str:
    """Return how an entry is deleted: its line, or by an empty value where another file set it."""
    return "delete the line" if place.file == spec.path else f"delete it by `{name}: `"


def _never(spec: Spec, section: str, name: str, what: str, mend: str) -> Problem:
    place = spec.key_place(section, name)
    return Problem(place, what, f"{mend}, or {_delete(spec, place, name)}")


def _unused_modules(spec: Spec) -> list[Problem]:
    called = {line.callee for line in spec.flow.values()}
    called |= {module.name for line in spec.flow.values() for module in line.modules()}
    return [
        _never(spec, "modules", name, f"module '{name}' is built and never called", "call it in `flow`")
        for name in spec.modules
        if name not in called
    ]


def _unused_inputs(spec: Spec) -> dict[str, Problem]:
    read = {ref.stream for line in spec.flow.values() for ref in line.refs()}
    read |= {ref.stream for outputs in spec.goals.values() for ref in outputs.values()}
    return {
        name: _never(spec, "inputs", name, f"input '{name}' is declared and never used", "read it in `flow`")
        for name in spec.inputs
        if name not in read
    }
