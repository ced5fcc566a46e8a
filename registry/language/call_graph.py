"""Which definition calls which: cycles, and a bound on what a spec can expand to."""

from __future__ import annotations

from collections.abc import Mapping

from registry.errors import Problem
from registry.language.definition import Definition
from registry.language.equation import Equation
from registry.language.topology import topological_order

# Specs are untrusted input: a few definitions that call each other twice could fill the memory.
MOST_LINES = 20_000
MOST_ARGUMENTS = 200_000
DEEPEST = 32


class CallGraph:
    """The calls of a flow and of its definitions, and the size of each when it is expanded."""

    def __init__(
        self, flow: Mapping[str, Equation], definitions: Mapping[str, Definition]
    ) -> None:
        self.flow, self.definitions = flow, definitions
        self.calls: dict[str, list[Equation]] = {}
        for name, definition in definitions.items():
            self.calls[name] = []
            for line in definition.equations():
                # A module parameter hides a definition of the same name.
                if line.callee in definitions and not definition.parameters.get(
                    line.callee
                ):
                    self.calls[name].append(line)
        callees = {
            name: [line.callee for line in calls] for name, calls in self.calls.items()
        }
        # Each definition after those that it calls, without those in a cycle.
        self.order = topological_order(callees)
        self.acyclic = frozenset(self.order)

    def problems(self) -> list[Problem]:
        """Return the problems of cycles, or else of what is too deep or too large."""
        problems = self._cycles()
        return problems if problems else self._too_large()

    def _cycles(self) -> list[Problem]:
        """Return one problem for each cycle of definitions, at a call in it."""
        problems: list[Problem] = []
        seen = set(self.acyclic)
        for start in self.calls:
            path: dict[str, Equation] = {}
            name = start
            while name not in seen and name not in path:
                path[name] = next(
                    line for line in self.calls[name] if line.callee not in self.acyclic
                )
                name = path[name].callee
            if name in path:
                names = list(path)
                cycle = names[names.index(name) :]
                shown = " -> ".join([*cycle, name])
                message = f"definition '{name}' calls itself: {shown}"
                problems.append(
                    Problem(
                        path[name].place,
                        message,
                        "a definition is expanded: end the cycle",
                    )
                )
            seen.update(path)
        return problems

    def _too_large(self) -> list[Problem]:
        """Return a problem where calls are nested too deep or the expanded flow has too many lines."""
        lines: dict[str, int] = {}
        arguments: dict[str, int] = {}
        depth: dict[str, int] = {}
        for name in self.order:
            definition, calls = self.definitions[name], self.calls[name]
            below = [line.callee for line in calls]
            equations = list(definition.equations())
            lines[name] = (
                len(equations) - len(calls) + sum(lines[callee] for callee in below)
            )
            arguments[name] = sum(_size(line) for line in equations)
            arguments[name] += sum(arguments[callee] for callee in below)
            depth[name] = 1 + max((depth[callee] for callee in below), default=0)
            if depth[name] > DEEPEST:
                message = f"definitions call each other at most {DEEPEST} deep, but '{name}' is deeper"
                return [Problem(definition.place, message)]
        total_lines = total_arguments = 0
        for line in self.flow.values():
            total_lines += lines.get(line.callee, 1)
            total_arguments += arguments.get(line.callee, _size(line))
            if line.callee in lines and (
                total_lines > MOST_LINES or total_arguments > MOST_ARGUMENTS
            ):
                message = f"the flow expands to more than {MOST_LINES:,} lines"
                if total_lines <= MOST_LINES:
                    message = (
                        f"the flow expands to more than {MOST_ARGUMENTS:,} arguments"
                    )
                hint = f"'{line.callee}' expands to {lines[line.callee]:,} lines"
                return [Problem(line.place, message, hint)]
        return []


def _size(line: Equation) -> int:
    return len(line.positional) + len(line.keywords)
