"""One call compared with one definition, and what is wrong in a definition, whatever calls it."""

from __future__ import annotations

from collections.abc import Mapping

from registry.errors import Location, Problem
from registry.language.definition import Definition
from registry.language.equation import Argument, Equation, Literal, ModuleRef, Ref
from registry.registries import closest_name


def check_definition(
    definition: Definition, definitions: Mapping[str, Definition]
) -> list[Problem]:
    """Return what is wrong in a definition, whatever calls it."""
    problems: list[Problem] = []
    parameters = definition.parameters
    for line in definition.equations():
        # A parameter that is a module hides a definition of the same name.
        if not parameters.get(line.callee) and line.callee in definitions:
            problems += bind_call(line, definitions[line.callee])[1]
        for argument in line.arguments():
            problems += _misused(definition, argument)
    for ref in definition.returned_refs():
        problems += _unknown_return(definition, ref)
        problems += _misused(definition, ref)
    return problems


def _unknown_return(definition: Definition, ref: Ref) -> list[Problem]:
    """Return the problem of a returned stream that is neither a line nor a parameter."""
    head = ref.words[0]
    choices = [*definition.lines, *definition.parameters]
    if head in choices:
        return []
    near = closest_name(head, choices)
    hint = (
        f"did you mean '{near}'?" if near else f"lines: {', '.join(definition.lines)}"
    )
    message = f"definition '{definition.name}' has no line '{head}' to return"
    return [Problem(ref.place, message, hint)]


def _misused(definition: Definition, argument: Argument) -> list[Problem]:
    """Return the problem of a module parameter that is used as a stream."""
    if not isinstance(argument, Ref):
        return []
    name = argument.words[0]
    is_module = definition.parameters.get(name, False)
    if not is_module:
        return []
    message = f"'{name}' is a module parameter of '{definition.name}', not a stream"
    hint = f"pass it on as `@{name}`, or call it: `{name}(...)`"
    return [Problem(argument.place, message, hint)]


def bind_call(
    call: Equation, definition: Definition
) -> tuple[dict[str, Ref | ModuleRef], list[Problem]]:
    """Return what fills each parameter of a definition in a call, and every problem of the call."""
    names = list(definition.parameters)
    filled: dict[str, Ref | ModuleRef] = {}
    problems: list[Problem] = []
    if len(call.positional) > len(names):
        takes = f"{len(names)} argument{'' if len(names) == 1 else 's'}"
        message = (
            f"{definition.header} takes {takes}, but is given {len(call.positional)}"
        )
        first_extra = call.positional[len(names)]
        problems.append(Problem(first_extra.place, message))
    for name, argument, place in _named_arguments(call, names):
        problem: Problem | None
        if name not in definition.parameters:
            problem = _unknown_parameter(definition, name, place)
        elif name in filled:
            message = f"parameter '{name}' of '{definition.name}' is filled twice"
            problem = Problem(place, message)
        else:
            problem = _argument_problem(definition, name, argument)
        if problem is not None:
            problems.append(problem)
        elif not isinstance(argument, Literal):
            filled[name] = argument
    # A misspelt or wrong argument leaves its parameter open, too: that is one mistake, not two.
    if not problems:
        problems += _unfilled(call, definition, filled)
    return filled, problems


def _named_arguments(
    call: Equation, names: list[str]
) -> list[tuple[str, Argument, Location]]:
    """Return the arguments of a call with the parameters that they fill and their places."""
    arguments: list[tuple[str, Argument, Location]] = []
    # Arguments beyond the parameters are reported together, and left out here.
    for name, positional in zip(names, call.positional, strict=False):
        arguments.append((name, positional, positional.place))
    for name, keyword in call.keywords.items():
        arguments.append((name, keyword, call.keys.get(name, keyword.place)))
    return arguments


def _unfilled(
    call: Equation, definition: Definition, filled: Mapping[str, Ref | ModuleRef]
) -> list[Problem]:
    """Return a problem for each parameter that a call leaves open."""
    problems = []
    for name, is_module in definition.parameters.items():
        if name not in filled:
            parameter = f"@{name}" if is_module else name
            message = f"parameter '{parameter}' of '{definition.name}' must be filled, but is not"
            hint = f"write it as in {definition.header}"
            problems.append(Problem(call.place, message, hint))
    return problems


def _unknown_parameter(definition: Definition, name: str, place: Location) -> Problem:
    near = closest_name(name, list(definition.parameters))
    hint = f"did you mean '{near}'?" if near else f"write it as in {definition.header}"
    message = f"unknown parameter '{name}' of '{definition.name}'"
    return Problem(place, message, hint)


def _argument_problem(
    definition: Definition, name: str, argument: Argument
) -> Problem | None:
    """Return the problem of an argument that is of another sort than its parameter."""
    is_module = definition.parameters[name]
    parameter = f"parameter '{name}' of '{definition.name}'"
    if isinstance(argument, Literal):
        sort = "module" if is_module else "stream"
        message = f"{parameter} takes a {sort}, but {argument} is a value"
        return Problem(argument.place, message, "write the value in the definition")
    if is_module and isinstance(argument, Ref):
        message = (
            f"{parameter} takes a module, written with @, but {argument} is a stream"
        )
        return Problem(argument.place, message, f"`@{argument.words[0]}`")
    if not is_module and isinstance(argument, ModuleRef):
        message = f"{parameter} takes a stream, but {argument} is a module"
        hint = f"call it in a separate line, or write `@{name}` in the parameters of '{definition.name}'"
        return Problem(argument.place, message, hint)
    return None
