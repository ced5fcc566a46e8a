"""A flow whose calls of definitions are replaced by the lines of these definitions.

The line `x` of the call `losses` becomes the line `losses.x`, and a returned call becomes the line `losses`.
A stream is looked up among the parameters first, then among the lines of the definition, and then among the
streams and inputs of the spec.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from registry.errors import CallSite, Location, Problem
from registry.language.call_graph import CallGraph
from registry.language.definition import RETURN, Definition
from registry.language.definition_calls import bind_call
from registry.language.equation import Argument, Equation, ModuleRef, Ref, make_ref
from registry.registries import closest_name


@dataclass
class Call:
    """One call of a definition: its dotted name, what fills the parameters, and what surrounds it.

    The flow of a spec is a call, too: it has no definition, no parameters, and nothing around it.
    """

    name: str
    lines: Mapping[str, Equation]
    definition: Definition | None = None
    outer: Call | None = None
    arguments: dict[str, Ref | ModuleRef] = field(default_factory=dict)
    # The module of each module parameter.
    modules: dict[str, str] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)  # by the line that makes them
    site: CallSite | None = None

    def stream(self, line: str) -> str:
        """Return the name in the expanded flow of what a line computes."""
        if self.outer is None:
            return line
        return self.name if line == RETURN else f"{self.name}.{line}"

    def at(self, place: Location) -> Location:
        """Return a position within the definition, which knows the call."""
        return place if self.site is None else replace(place, call=self.site)


class _Path(NamedTuple):
    """Words that are looked up in a call, and whether the step to them added an `ema(...)`."""

    call: Call
    words: tuple[str, ...]
    ema: bool
    place: Location


@dataclass
class Expansion:
    """The expanded flow, what was expanded, and the problems of paths that lead nowhere.

    `read_lines`: the lines of each definition that something outside of a call reads.
    """

    flow: dict[str, Equation] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    aliases: dict[str, Ref] = field(default_factory=dict)
    read_lines: set[tuple[str, str]] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


class Expander:
    """Expands one flow and then resolves streams that goals name."""

    def __init__(
        self,
        flow: Mapping[str, Equation],
        definitions: Mapping[str, Definition],
        inputs: Collection[str],
    ) -> None:
        self.definitions, self.inputs = definitions, inputs
        self.result = Expansion()
        self.resolved: dict[tuple[int, tuple[str, ...]], Ref] = {}
        self.top = Call("", flow)
        # First: an expansion of a cycle would not end, and that of a large spec would fill the memory.
        graph = CallGraph(flow, definitions)
        self.result.problems = graph.problems()
        for line in flow.values():
            if line.callee in definitions:
                self.result.problems += bind_call(line, definitions[line.callee])[1]
        if not self.result.problems:
            self.add_calls(self.top)
            self.add_lines(self.top)
            self.add_aliases()

    def add_calls(self, call: Call) -> None:
        """Add the calls that the lines of a call make; the depth is bounded by the call graph."""
        for name, line in call.lines.items():
            # A module parameter hides a definition of the same name.
            if line.callee in call.modules or line.callee not in self.definitions:
                continue
            definition = self.definitions[line.callee]
            arguments, _ = bind_call(line, definition)
            modules = {}
            for parameter, argument in arguments.items():
                if isinstance(argument, ModuleRef):
                    modules[parameter] = call.modules.get(argument.name, argument.name)
            full_name = call.stream(name)
            # The stream of a returned call has the name of the call around it, which is taken.
            if name == RETURN and call.outer:
                full_name = f"{call.name}.{RETURN}"
            lines = dict(definition.lines)
            if isinstance(definition.returns, Equation):
                lines[RETURN] = definition.returns
            site = CallSite(full_name, definition.name, call.at(line.place))
            inner = Call(
                full_name, lines, definition, call, arguments, modules, site=site
            )
            call.calls[name] = inner
            self.result.calls[full_name] = inner
            self.add_calls(inner)

    def add_lines(self, call: Call) -> None:
        """Add the lines of a call, and of the calls within it, to the expanded flow."""
        for name, line in call.lines.items():
            if name in call.calls:
                self.add_lines(call.calls[name])
            else:
                stream = call.stream(name)
                self.result.flow[stream] = self.expanded(call, stream, line)

    def expanded(self, call: Call, stream: str, line: Equation) -> Equation:
        """Return a line with the names of the expanded flow."""
        positional: list[Ref | ModuleRef] = []
        for written in line.positional:
            argument = self.argument(call, written)
            assert isinstance(argument, Ref | ModuleRef)
            positional.append(argument)
        keywords: dict[str, Argument] = {}
        for name, keyword in line.keywords.items():
            keywords[name] = self.argument(call, keyword)
        keys = {name: call.at(place) for name, place in line.keys.items()}
        callee = call.modules.get(line.callee, line.callee)
        changed = Equation(
            stream,
            callee,
            tuple(positional),
            keywords,
            call.at(line.place),
            line.text,
            keys,
        )
        # A line of the flow that names no part of a call keeps its text as the user wrote it.
        unchanged = call.outer is None and changed == line
        return line if unchanged else replace(changed, text=changed.write())

    def argument(self, call: Call, argument: Argument) -> Argument:
        """Return an argument of a line with the names of the expanded flow."""
        if isinstance(argument, Ref):
            return self.resolve(call, argument)
        if isinstance(argument, ModuleRef):
            name = call.modules.get(argument.name, argument.name)
            return ModuleRef(name, call.at(argument.place))
        return replace(argument, place=call.at(argument.place))

    def resolve(self, call: Call, ref: Ref) -> Ref:
        """Return the stream of the expanded flow that a name means within a call.

        A name that no line has is returned unchanged, with the position where it is written: the checks
        of names report it.
        """
        start = call.at(ref.place)
        path = _Path(call, ref.words, False, start)
        before = len(self.result.problems)
        # What the path led through, and whether `ema(...)` was added there: followed once for all streams.
        passed: dict[tuple[int, tuple[str, ...]], bool] = {}
        while True:
            # The same words mean the same stream everywhere in one call.
            key = (id(path.call), path.words)
            if key in self.resolved:
                target = self.resolved[key]
                break
            if key in passed:
                message = f"'{ref.name}' leads back to itself"
                self.result.problems.append(Problem(start, message))
                return replace(ref, place=start)
            step = self.step(path, ref, start)
            passed[key] = step.ema
            if isinstance(step, Ref):
                target = step
                break
            path = step
        exists = target.stream in self.inputs or target.words[0] in self.top.lines
        # From the end of the path to its beginning: `ema(...)` anywhere after a step holds for the step.
        averaged = target.ema
        for key, added in reversed(passed.items()):
            averaged = averaged or added
            if exists and len(self.result.problems) == before:
                self.resolved[key] = replace(target, ema=averaged)
        # A stream that does not exist is reported where it is written, within the definition.
        place = start if exists else path.place
        return replace(target, ema=averaged or ref.ema, place=place)

    def step(self, path: _Path, ref: Ref, start: Location) -> _Path | Ref:
        """Follow a path by one word: to an argument, to a call, or to the stream of a line."""
        call, (head, *rest) = path.call, path.words
        argument = call.arguments.get(head)
        # A parameter: the path continues outside, with what fills it.
        if isinstance(argument, Ref) and call.outer is not None:
            words = (*argument.words, *rest)
            return _Path(call.outer, words, argument.ema, call.outer.at(argument.place))
        if head not in call.lines:
            # Parameters and lines hide the streams of the flow; other names mean those.
            if call.outer is not None:
                return _Path(self.top, path.words, False, path.place)
            return make_ref(path.words[:2])
        # The name of a line that calls a definition means what the call returns.
        if head in call.calls:
            return self.enter(call.calls[head], rest, path, ref, start)
        if len(rest) > 1:
            message = f"a stream has at most one field, but '{ref.name}' names a field of a field"
            hint = f"`{call.stream(head)}.{rest[0]}`"
            self.result.problems.append(Problem(start, message, hint))
        return Ref(call.stream(head), rest[0] if rest else None)

    def enter(
        self, inner: Call, rest: list[str], path: _Path, ref: Ref, start: Location
    ) -> _Path | Ref:
        """Follow a path into a call: to what it returns, or to one of its lines."""
        assert inner.definition is not None
        returns = inner.definition.returns
        is_line = bool(rest) and rest[0] in inner.definition.lines
        if isinstance(returns, dict):
            part = returns.get(rest[0]) if rest else None
            # A part that has a field already has no fields: what follows is read from the line.
            has_fields = part is not None and part.field is None
            means_line = is_line and len(rest) > 1 and not has_fields
            if part is not None and not means_line:
                return _Path(inner, (*part.words, *rest[1:]), False, path.place)
        if is_line:
            # Read from outside, the line is not unused, though `return` does not need it.
            self.result.read_lines.add((inner.definition.name, rest[0]))
            return _Path(inner, tuple(rest), False, path.place)
        if isinstance(returns, Ref):
            return _Path(inner, (*returns.words, *rest), False, path.place)
        if isinstance(returns, Equation):
            return _Path(inner, (RETURN, *rest), False, path.place)
        parts = ", ".join(f"{inner.name}.{part}" for part in returns)
        if not rest:
            message = f"'{inner.name}' returns several parts: name one"
            self.result.problems.append(Problem(start, message, f"one of {parts}"))
        else:
            lines = ", ".join(inner.definition.lines)
            message = f"the call '{inner.name}' of '{inner.definition.name}' has no part '{rest[0]}'"
            hint = f"parts: {parts}; lines: {lines}"
            self.result.problems.append(Problem(start, message, hint))
        return Ref(inner.name, rest[0] if rest else None)

    def goals(
        self, written: Mapping[str, Ref | dict[str, Ref]]
    ) -> dict[str, dict[str, Ref]]:
        """Return the outputs of all goals; a goal that is a call has all parts that the call returns."""
        goals: dict[str, dict[str, Ref]] = {}
        for goal, outputs in written.items():
            if isinstance(outputs, Ref):
                goals[goal] = self.returned(goal, outputs)
            else:
                goals[goal] = {}
                for output, ref in outputs.items():
                    goals[goal][output] = self.resolve(self.top, ref)
        return goals

    def returned(self, goal: str, ref: Ref) -> dict[str, Ref]:
        """Return all parts of the call that is a goal, or report that the stream is not such a call."""
        call = self.top.calls.get(ref.name)
        returns = None
        if call is not None and call.definition is not None:
            returns = call.definition.returns
        if not isinstance(returns, dict):
            message = f"goal '{goal}' must be a mapping of outputs, or a call that returns parts"
            message += f", but is '{ref.name}'"
            # Of a stream that exists no other name was meant.
            exists = ref.words[0] in self.top.lines or ref.words[0] in self.inputs
            near = None if exists else closest_name(ref.name, self.top.calls)
            hint = f"`{goal}: {{loss: {ref.name}}}`"
            if near:
                hint = f"did you mean '{near}'?"
            self.result.problems.append(Problem(ref.place, message, hint))
            return {}
        outputs = {}
        for part in returns:
            outputs[part] = self.resolve(self.top, Ref(ref.name, part, place=ref.place))
        return outputs

    def add_aliases(self) -> None:
        """Add the names under which calls are known outside: that of the call, and those of its parts."""
        for name, call in self.result.calls.items():
            assert call.definition is not None
            returns = call.definition.returns
            if isinstance(returns, Ref):
                self.add_alias(name, call, returns)
            elif isinstance(returns, dict):
                for part, ref in returns.items():
                    self.add_alias(f"{name}.{part}", call, ref)
            # A returned call has its stream under the name already, unless it is a definition, too.
            elif RETURN in call.calls:
                self.add_alias(name, call, Ref(RETURN))

    def add_alias(self, name: str, call: Call, ref: Ref) -> None:
        """Add one name that means a stream of a call."""
        resolved = self.resolve(call, ref)
        # A stream needs no second entry under the name that it has.
        if resolved.name != name:
            self.result.aliases[name] = resolved
