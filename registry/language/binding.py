"""One call against one declaration: which argument fills which port, which sets which option."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from registry.errors import Location, Problem, require
from registry.language.annotations import accepts, as_annotated
from registry.language.declaration import Declaration, Parameter
from registry.language.equation import Equation, Literal, ModuleRef, Ref
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
        return [
            (port, argument)
            for port, filling in self.ports.items()
            for argument in (filling if isinstance(filling, tuple) else (filling,))
        ]

    def without(self, ports: frozenset[str]) -> Binding:
        """Return the binding with some ports left empty."""
        return replace(
            self,
            ports={
                name: filling for name, filling in self.ports.items() if name not in ports
            },
        )


def bind(equation: Equation, declaration: Declaration) -> tuple[Binding, list[Problem]]:
    """Return the binding of a line to the declaration of what it calls, and every problem of it."""
    require(equation, Equation, "equation")
    require(declaration, Declaration, "declaration")
    binder = _Binder(equation, declaration)
    binder.positional()
    binder.keywords()
    if not binder.problems:  # a misspelt port is missing, too: once is enough
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
    must = f"one of {', '.join(map(repr, allowed))}" if allowed else parameter.annotation
    near = (
        closest_name(value, [choice for choice in allowed if isinstance(choice, str)])
        if isinstance(value, str)
        else None
    )
    hint = f"did you mean '{near}'?" if near else ""
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
        given = list(self.equation.positional)
        for name, port in self.declaration.inputs.items():
            if not given:
                return
            if port.named_by_call:
                break
            if port.variadic:
                self.ports[name], given = tuple(given), []
            elif name not in self.equation.keywords or len(given) > self._open(name):
                self.fill(name, port, given.pop(0))
        if given:
            self.too_many(given[0])

    def too_many(self, first: Ref | ModuleRef) -> None:
        """Report the first stream that no port takes by position."""
        ports = {
            name: port
            for name, port in self.declaration.inputs.items()
            if not port.named_by_call
        }
        takes = f"{len(ports)} streams ({', '.join(ports) or 'none'})"
        count = len(self.equation.positional)
        message = f"{self.equation.callee} takes {takes}, but is given {count}"
        parts = [
            name for name, port in self.declaration.inputs.items() if port.named_by_call
        ]
        hint = f"name each part: `NAME={first}`" if parts else ""
        self.wrong(first.place, message, hint)

    def _open(self, name: str) -> int:
        """Return how many streams the ports after `name` may still take by position."""
        ports = list(self.declaration.inputs.items())
        rest = ports[list(self.declaration.inputs).index(name) :]
        free = [port for key, port in rest if key not in self.equation.keywords]
        return (
            len(self.equation.positional)
            if any(port.variadic for port in free)
            else len(free)
        )

    def fill(self, name: str, port: Port, argument: Ref | ModuleRef) -> None:
        takes_module = "module" in port.kinds
        if takes_module and isinstance(argument, Ref):
            hint = f"`@{argument.stream}`"
            self.wrong(
                argument.place,
                f"port '{name}' of {self.equation.callee} takes a module, written with @",
                hint,
            )
        elif not takes_module and isinstance(argument, ModuleRef):
            message = f"port '{name}' of {self.equation.callee} takes a stream, but {argument} is a module"
            self.wrong(argument.place, message)
        else:
            self.ports[name] = argument

    def keywords(self) -> None:
        callee = self.equation.callee
        inputs, options = self.declaration.inputs, self.declaration.options
        for name, argument in self.equation.keywords.items():
            key = self.equation.keys.get(name, argument.place)
            if name in inputs and name in self.ports:
                self.wrong(key, f"port '{name}' of {callee} is filled twice")
            elif name in inputs and isinstance(argument, Literal):
                message = f"port '{name}' of {callee} takes a stream, but {argument.value!r} is a value"
                self.wrong(argument.place, message)
            elif (
                name in inputs
                and inputs[name].variadic
                and not isinstance(argument, Literal)
            ):
                self.ports[name] = (argument,)
            elif name in inputs and not isinstance(argument, Literal):
                self.fill(name, inputs[name], argument)
            elif name in options and isinstance(argument, Literal):
                problem = value_problem(
                    f"option '{name}' of {callee}",
                    options[name],
                    argument.value,
                    argument.place,
                )
                self.options[name] = as_annotated(
                    options[name].annotation, argument.value
                )
                self.problems.extend([problem] if problem else [])
            elif name in options:
                hint = f"quote it: `{name}='{argument}'`"
                self.wrong(
                    argument.place,
                    f"option '{name}' of {callee} takes a value, but {argument} is a stream",
                    hint,
                )
            else:
                self.unknown(name, key)

    def unknown(self, name: str, place: Location) -> None:
        declaration, callee = self.declaration, self.equation.callee
        if name in declaration.arguments:
            hint = f"set it where the module is built: `{callee}: {{..., {name}: ...}}`"
            self.wrong(
                place,
                f"'{name}' is an argument of {callee}, not a port or an option of its calls",
                hint,
            )
            return
        names = [*declaration.inputs, *declaration.options]
        near = closest_name(name, names)
        listed = ", ".join(names) or "none"
        hint = (
            f"did you mean '{near}'?"
            if near
            else f"ports and options of {callee}: {listed}"
        )
        self.wrong(place, f"unknown port or option '{name}' of {callee}", hint)

    def missing(self) -> None:
        for name, port in self.declaration.inputs.items():
            if port.named_by_call and name not in self.ports and not port.optional:
                message = f"{self.equation.callee} must be called with at least one named part, but has none"
                self.wrong(self.equation.place, message, f"add `NAME=stream` ({port})")
            elif name not in self.ports and not port.optional:
                what = "@module" if port.kinds == ("module",) else "stream"
                message = (
                    f"port '{name}' of {self.equation.callee} must be filled, but is not"
                )
                self.wrong(self.equation.place, message, f"add `{name}={what}` ({port})")
        for name, option in self.declaration.options.items():
            if option.required and name not in self.options:
                message = (
                    f"option '{name}' of {self.equation.callee} must be set, but is not"
                )
                self.wrong(self.equation.place, message, f"add `{name}=...`")
