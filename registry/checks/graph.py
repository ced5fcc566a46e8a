"""Check stage 3, first half: the flow as a graph. Cycles, and what is made and never used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from registry.errors import Location, Problem
from registry.language.definition import Definition
from registry.language.equation import Equation
from registry.language.spec import Spec
from registry.language.topology import topological_order


@dataclass(frozen=True)
class Graph:
    """What the graph of a flow shows.

    `order`: the streams, each after what it reads, without those in a cycle and those that need one.
    `unused`: a problem for each stream and input that no goal needs, by name. `unused_lines`: those of the
    lines of definitions that nothing reads in any call.
    """

    cycles: list[Problem]
    uncalled: list[Problem]
    unused: dict[str, Problem]
    order: list[str]
    unused_lines: list[Problem]


def read_graph(spec: Spec) -> Graph:
    """Return the cycles, the order of computation, and all that is made and never used."""
    reads: dict[str, list[str]] = {}
    for name, line in spec.flow.items():
        # A line may read a stream twice; inputs are there before any line.
        streams = dict.fromkeys(ref.stream for ref in line.refs())
        reads[name] = [stream for stream in streams if stream in spec.flow]
    order = topological_order(reads)
    unused = _unused_streams(spec, reads) | _unused_inputs(spec)
    uncalled = _unused_modules(spec) + _unused_definitions(spec)
    cycles = _cycles(spec, reads, set(order))
    return Graph(cycles, uncalled, unused, order, _unused_lines(spec))


def _cycles(spec: Spec, reads: dict[str, list[str]], done: set[str]) -> list[Problem]:
    """Return one problem for each cycle, at its first line; `done` can be computed."""
    problems: list[Problem] = []
    seen = set(done)
    position = {name: index for index, name in enumerate(spec.flow)}
    for start in spec.flow:
        path: list[str] = []
        name = start
        # Each stream that cannot be computed reads another such stream: the path ends in a cycle, or in a
        # path that was followed before.
        while name not in seen and name not in path:
            path.append(name)
            name = next(source for source in reads[name] if source not in done)
        if name in path:
            cycle = path[path.index(name) :]
            # A path may come into the cycle at any line: it is shown from the first one of the file.
            first = min(cycle, key=position.__getitem__)
            turn = cycle[cycle.index(first) :] + cycle[: cycle.index(first)]
            message = f"the flow has a cycle: {' <- '.join([*turn, first])}"
            hint = "let one of these lines read something else"
            problems.append(Problem(spec.flow[first].place, message, hint))
        seen.update(path)
    return problems


def _unused_streams(spec: Spec, reads: dict[str, list[str]]) -> dict[str, Problem]:
    """Return a problem for each stream that no goal needs, except where only such a stream reads it.

    A call of a definition counts as one stream: it may compute parts that this call does not need.
    """
    group_reads: dict[str, dict[str, None]] = {}
    for name, before in reads.items():
        group = group_reads.setdefault(_line(name), {})
        group.update(dict.fromkeys(_line(stream) for stream in before))
    needed = _closure(group_reads, _needed_lines(spec))
    unused = [name for name in group_reads if name not in needed]
    read_by_unused: set[str] = set()
    for name in unused:
        read_by_unused.update(stream for stream in group_reads[name] if stream != name)
    problems: dict[str, Problem] = {}
    for name in unused:
        # What leads to an unused stream goes with it: one mistake, reported at its end.
        if name in read_by_unused:
            continue
        above = _closure(group_reads, group_reads[name]) - needed - {name}
        in_order = [stream for stream in reversed(group_reads) if stream in above]
        also = f", and {', '.join(in_order)}, which only it needs" if in_order else ""
        place = spec.key_place("flow", name)
        message = f"stream '{name}' is computed and never used"
        hint = f"use it, add it to a goal, or {_delete(spec, place, name)}{also}"
        problems[name] = Problem(place, message, hint)
    return problems


def _line(stream: str) -> str:
    """Return the line of the written flow that computes a stream, of a call perhaps."""
    return stream.partition(".")[0]


def _closure(reads: Mapping[str, Iterable[str]], roots: Iterable[str]) -> set[str]:
    """Return the streams that the roots need, themselves included."""
    needed: set[str] = set()
    # Without recursion: a flow may be longer than Python's stack.
    stack = [name for name in roots if name in reads]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(stream for stream in reads[name] if stream in reads)
    return needed


def _needed_lines(spec: Spec) -> list[str]:
    """Return the lines that goals return, and those that a definition reads which nothing calls."""
    lines = []
    for outputs in spec.goals.values():
        lines += [_line(ref.stream) for ref in outputs.values()]
    # That nothing calls the definition is the mistake: what it reads is not reported, too.
    for definition in _uncalled_definitions(spec):
        for line in definition.equations():
            lines += [ref.words[0] for ref in line.refs()]
    return lines


def _uncalled_definitions(spec: Spec) -> list[Definition]:
    """Return the definitions that no call of the flow leads to."""
    called: set[str] = set()
    for call in spec.expansion.calls.values():
        if call.definition is not None:
            called.add(call.definition.name)
    definitions = spec.definitions.items()
    return [definition for name, definition in definitions if name not in called]


def _unused_definitions(spec: Spec) -> list[Problem]:
    """Return the problems of definitions that nothing calls, and of parameters that nothing reads."""
    problems: list[Problem] = []
    uncalled = _uncalled_definitions(spec)
    called_by_others: set[str] = set()
    for definition in uncalled:
        called_by_others.update(line.callee for line in definition.equations())
    for definition in uncalled:
        if definition.name not in called_by_others:
            message = f"definition '{definition.name}' is never called"
            hint = f"call it in `flow`, or {_delete(spec, definition.place, definition.name)}"
            problems.append(Problem(definition.place, message, hint))
    for name, definition in spec.definitions.items():
        used = _words_of(definition)
        for parameter in definition.parameters:
            if parameter not in used:
                message = (
                    f"parameter '{parameter}' of definition '{name}' is never used"
                )
                hint = "use it, or remove it from the calls, too"
                problems.append(Problem(definition.place, message, hint))
    return problems


def _words_of(definition: Definition) -> set[str]:
    """Return the streams and modules that a definition names."""
    words = {ref.words[0] for ref in definition.returned_refs()}
    for line in definition.equations():
        words.add(line.callee)
        words.update(ref.words[0] for ref in line.refs())
        words.update(module.name for module in line.modules())
    return words


def _unused_lines(spec: Spec) -> list[Problem]:
    """Return a problem for each line of a definition that neither `return` nor a reader of a call needs."""
    problems: list[Problem] = []
    uncalled = {definition.name for definition in _uncalled_definitions(spec)}
    read_from_outside: dict[str, list[str]] = {}
    for name, line_name in spec.expansion.read_lines:
        read_from_outside.setdefault(name, []).append(line_name)
    for name, definition in spec.definitions.items():
        if name in uncalled:
            continue
        reads: dict[str, list[str]] = {}
        for line_name, line in definition.lines.items():
            reads[line_name] = [ref.words[0] for ref in line.refs()]
        roots = [ref.words[0] for ref in definition.returned_refs()]
        if isinstance(definition.returns, Equation):
            roots += [ref.words[0] for ref in definition.returns.refs()]
        roots += read_from_outside.get(name, [])
        needed = _closure(reads, roots)
        for line_name, line in definition.lines.items():
            if line_name not in needed:
                message = f"line '{line_name}' of definition '{name}' is computed and never used"
                problems.append(
                    Problem(
                        line.place, message, "use it, return it, or delete the line"
                    )
                )
    return problems


def _delete(spec: Spec, place: Location, name: str) -> str:
    """Return how an entry is deleted: its line, or by an empty value where another file set it."""
    return "delete the line" if place.file == spec.path else f"delete it by `{name}: `"


def _never(spec: Spec, section: str, name: str, what: str, mend: str) -> Problem:
    place = spec.key_place(section, name)
    return Problem(place, what, f"{mend}, or {_delete(spec, place, name)}")


def _unused_modules(spec: Spec) -> list[Problem]:
    called: set[str] = set()
    for line in spec.flow.values():
        called.add(line.callee)
        called.update(module.name for module in line.modules())
    # That nothing calls a definition is the mistake: its modules are not reported, too.
    for definition in _uncalled_definitions(spec):
        for line in definition.equations():
            called.add(line.callee)
            called.update(module.name for module in line.modules())
    problems = []
    for name in spec.modules:
        if name not in called:
            message = f"module '{name}' is built and never called"
            problems.append(_never(spec, "modules", name, message, "call it in `flow`"))
    return problems


def _unused_inputs(spec: Spec) -> dict[str, Problem]:
    read: set[str] = set()
    for line in spec.flow.values():
        read.update(ref.stream for ref in line.refs())
    for outputs in spec.goals.values():
        read.update(ref.stream for ref in outputs.values())
    for definition in _uncalled_definitions(spec):
        for line in definition.equations():
            read.update(ref.words[0] for ref in line.refs())
    problems = {}
    for name in spec.inputs:
        if name not in read:
            message = f"input '{name}' is declared and never used"
            hint = "read it in `flow`"
            problems[name] = _never(spec, "inputs", name, message, hint)
    return problems
