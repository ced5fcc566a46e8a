"""One call against one declaration: which argument fills which port, which sets which option."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import Location, Problem, require
from registry.language.annotations import accepts, as_annotated
from registry.language.declaration import Declaration, Parameter
from registry.language.equation import Argument, Equation, Literal, ModuleRef, Ref
from registry.language.ports import Port
from registry.language.ramp import has_ramp, ramp_samples
from registry.registries import closest_name

Filling = Ref | ModuleRef | tuple[Ref | ModuleRef, ...]


@dataclass(frozen=True)
class Binding:
    """What fills each port (a tuple for a variadic one), and the values of the options that the line sets."""

    ports: dict[str, Filling] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def arguments(self) -> list[tuple[str, Ref | ModuleRef]]:
        """Return every stream and module with the port that it fills."""
        arguments: list[tuple[str, Ref | ModuleRef]] = []
        for port, filling in self.ports.items():
            streams = filling if isinstance(filling, tuple) else (filling,)
            for stream in streams:
                arguments.append((port, stream))
        return arguments

    def without(self, ports: frozenset[str]) -> Binding:
        """Return the binding with some ports left empty."""
        kept = {
            name: filling for name, filling in self.ports.items() if name not in ports
        }
        return replace(self, ports=kept)


def bind(equation: Equation, declaration: Declaration) -> tuple[Binding, list[Problem]]:
    """Return the binding of a line to the declaration of what it calls, and every problem of it."""
    require(equation, Equation, "equation")
    require(declaration, Declaration, "declaration")
    binder = _Binder(equation, declaration)
    binder.positional()
    binder.keywords()
    # A misspelt port is missing, too: it is reported once.
    if not binder.problems:
        binder.missing()
    return Binding(binder.ports, binder.options), binder.problems


def value_problem(
    what: str, parameter: Parameter, value: Any, place: Location
) -> Problem | None:
    """Return the problem of a value that does not fit a parameter's annotation."""
    if all(accepts(parameter.annotation, sample) for sample in ramp_samples(value)):
        return None
    shown = "empty" if value is None else repr(value)
    allowed = parameter.choices
    # `Literal['a', 'b']` reads better as its values.
    must = (
        f"one of {', '.join(map(repr, allowed))}" if allowed else parameter.annotation
    )
    hint = ""
    if isinstance(value, str):
        words = [choice for choice in allowed if isinstance(choice, str)]
        near = closest_name(value, words)
        hint = f"did you mean '{near}'?" if near else ""
    # A ramp passes through numbers between its ends, which few options allow.
    if has_ramp(value):
        hint = "only an option that takes any number, such as a weight, can be a ramp"
    return Problem(place, f"{what} must be {must}, but is {shown}", hint)


class _Binder:
    def __init__(self, equation: Equation, declaration: Declaration) -> None:
        self.equation, self.declaration = equation, declaration
        self.ports: dict[str, Filling] = {}
        self.options: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def wrong(self, place: Location, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place, message, hint))

    def positional(self) -> None:
        remaining = list(self.equation.positional)
        for name, port in self.declaration.inputs.items():
            if not remaining:
                return
            if port.named_by_call:
                break
            if port.variadic:
                self.ports[name], remaining = tuple(remaining), []
            # A port that a keyword fills is skipped, unless the streams do not fit into the others: then
            # "filled twice" is the clearer message.
            elif name not in self.equation.keywords or len(remaining) > self._open(
                name
            ):
                self.fill(name, port, remaining.pop(0))
        if remaining:
            self.too_many(remaining[0])

    def too_many(self, first: Ref | ModuleRef) -> None:
        """Report the first stream that no port takes by position."""
        inputs = self.declaration.inputs
        ports = [name for name, port in inputs.items() if not port.named_by_call]
        takes = f"{len(ports)} streams ({', '.join(ports) or 'none'})"
        count = len(self.equation.positional)
        message = f"{self.equation.callee} takes {takes}, but is given {count}"
        has_parts = len(ports) < len(inputs)
        hint = f"name each part: `NAME={first}`" if has_parts else ""
        self.wrong(first.place, message, hint)

    def _open(self, name: str) -> int:
        """Return how many streams the ports after `name` may still take by position."""
        ports = list(self.declaration.inputs.items())
        rest = ports[list(self.declaration.inputs).index(name) :]
        free = [port for key, port in rest if key not in self.equation.keywords]
        # A variadic port takes all that there are.
        if any(port.variadic for port in free):
            return len(self.equation.positional)
        return len(free)

    def fill(self, name: str, port: Port, argument: Ref | ModuleRef) -> None:
        # A port for modules takes nothing else.
        takes_module = "module" in port.kinds
        if takes_module and isinstance(argument, Ref):
            callee = self.equation.callee
            message = f"port '{name}' of {callee} takes a module, written with @"
            self.wrong(argument.place, message, f"`@{argument.stream}`")
        elif not takes_module and isinstance(argument, ModuleRef):
            message = f"port '{name}' of {self.equation.callee} takes a stream, but {argument} is a module"
            self.wrong(argument.place, message)
        else:
            self.ports[name] = argument

    def keywords(self) -> None:
        inputs, options = self.declaration.inputs, self.declaration.options
        for name, argument in self.equation.keywords.items():
            key = self.equation.keys.get(name, argument.place)
            if name in inputs:
                self.port_keyword(name, argument, key)
            elif name in options:
                self.option(name, argument)
            else:
                self.unknown(name, key)

    def port_keyword(self, name: str, argument: Argument, key: Location) -> None:
        """Fill a port by its name."""
        callee = self.equation.callee
        port = self.declaration.inputs[name]
        if name in self.ports:
            self.wrong(key, f"port '{name}' of {callee} is filled twice")
        elif isinstance(argument, Literal):
            message = f"port '{name}' of {callee} takes a stream, but {argument.value!r} is a value"
            self.wrong(argument.place, message)
        elif port.variadic:
            self.ports[name] = (argument,)
        else:
            self.fill(name, port, argument)

    def option(self, name: str, argument: Argument) -> None:
        """Set an option."""
        callee = self.equation.callee
        parameter = self.declaration.options[name]
        if not isinstance(argument, Literal):
            # A word without quotes is a stream in a line.
            message = (
                f"option '{name}' of {callee} takes a value, but {argument} is a stream"
            )
            self.wrong(argument.place, message, f"quote it: `{name}='{argument}'`")
            return
        value = argument.value
        what = f"option '{name}' of {callee}"
        problem = value_problem(what, parameter, value, argument.place)
        if problem is not None:
            self.problems.append(problem)
        # Set although it is wrong, so that it is not reported as missing.
        self.options[name] = as_annotated(parameter.annotation, value)

    def unknown(self, name: str, place: Location) -> None:
        declaration, callee = self.declaration, self.equation.callee
        # A frequent mistake: arguments are set once, options at each call.
        if name in declaration.arguments:
            hint = f"set it where the module is built: `{callee}: {{..., {name}: ...}}`"
            message = f"'{name}' is an argument of {callee}, not a port or an option of its calls"
            self.wrong(place, message, hint)
            return
        names = [*declaration.inputs, *declaration.options]
        near = closest_name(name, names)
        hint = f"ports and options of {callee}: {', '.join(names) or 'none'}"
        if near:
            hint = f"did you mean '{near}'?"
        self.wrong(place, f"unknown port or option '{name}' of {callee}", hint)

    def missing(self) -> None:
        callee, place = self.equation.callee, self.equation.place
        for name, port in self.declaration.inputs.items():
            if name in self.ports or port.optional:
                continue
            if port.named_by_call:
                message = f"{callee} must be called with at least one named part, but has none"
                self.wrong(place, message, f"add `NAME=stream` ({port})")
            else:
                what = "@module" if port.kinds == ("module",) else "stream"
                message = f"port '{name}' of {callee} must be filled, but is not"
                self.wrong(place, message, f"add `{name}={what}` ({port})")
        for name, option in self.declaration.options.items():
            if option.required and name not in self.options:
                message = f"option '{name}' of {callee} must be set, but is not"
                self.wrong(place, message, f"add `{name}=...`")
