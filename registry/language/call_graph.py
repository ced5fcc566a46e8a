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
        callees: dict[str, list[str]] = {}
        for name, definition in definitions.items():
            self.calls[name], callees[name] = [], []
            for line in definition.equations():
                # A module parameter hides a definition of the same name.
                is_module = definition.parameters.get(line.callee, False)
                if line.callee in definitions and not is_module:
                    self.calls[name].append(line)
                    callees[name].append(line.callee)
        # Each definition after those that it calls, without those in a cycle.
        self.order = topological_order(callees)
        self.acyclic = frozenset(self.order)

    def problems(self) -> list[Problem]:
        """Return the problems of cycles, or else of what is too deep or too large."""
        problems = self._cycles()
        # Sizes exist only without cycles.
        return problems if problems else self._too_large()

    def _cycles(self) -> list[Problem]:
        """Return one problem for each cycle of definitions, at a call in it."""
        problems: list[Problem] = []
        seen = set(self.acyclic)
        for start in self.calls:
            path: dict[str, Equation] = {}
            name = start
            # Along calls that need a cycle, until a definition comes again: every such path ends in one.
            while name not in seen and name not in path:
                for line in self.calls[name]:
                    if line.callee not in self.acyclic:
                        path[name] = line
                        break
                name = path[name].callee
            if name in path:
                names = list(path)
                # The path may lead into the cycle from outside.
                cycle = names[names.index(name) :]
                shown = " -> ".join([*cycle, name])
                message = f"definition '{name}' calls itself: {shown}"
                hint = "a definition is expanded: end the cycle"
                problems.append(Problem(path[name].place, message, hint))
            seen.update(path)
        return problems

    def _too_large(self) -> list[Problem]:
        """Return a problem where calls are nested too deep or the expanded flow has too many lines."""
        lines: dict[str, int] = {}
        arguments: dict[str, int] = {}
        depth: dict[str, int] = {}
        # In this order, the sizes of what a definition calls are known.
        for name in self.order:
            definition = self.definitions[name]
            lines[name] = arguments[name] = depth[name] = 0
            for line in definition.equations():
                lines[name] += 1
                arguments[name] += _size(line)
            for call in self.calls[name]:
                # The lines of a call take the place of the line that makes it.
                lines[name] += lines[call.callee] - 1
                arguments[name] += arguments[call.callee]
                depth[name] = max(depth[name], depth[call.callee])
            depth[name] += 1
            if depth[name] > DEEPEST:
                message = f"definitions call each other at most {DEEPEST} deep, but '{name}' is deeper"
                return [Problem(definition.place, message)]
        total_lines = total_arguments = 0
        for line in self.flow.values():
            total_lines += lines.get(line.callee, 1)
            total_arguments += arguments.get(line.callee, _size(line))
            too_large = total_lines > MOST_LINES or total_arguments > MOST_ARGUMENTS
            # Lines of the flow itself are in the file: only what expands them can be refused.
            if line.callee in lines and too_large:
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
