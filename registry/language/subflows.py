"""Definitions of sub-flows, the section `define`: their reading, and what is checked once for each.

define:
  encode(text, @encoder):       # streams, and modules written with @
    embeds: text_embedding(text)
    return: encoder(embeds)     # one stream, one call, or {part: stream}
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import NOWHERE, Location, Problem, SpecError
from registry.language.equation import (
    Equation,
    Literal,
    ModuleRef,
    Ref,
    name_problem,
    read_equation,
    read_ref,
)
from registry.registries import closest_name
from registry.yaml.tree import Node

RETURN = "return"
HEADER = re.compile(r"(\w+)\s*\(([^()]*)\)")
EXAMPLE = (
    "`encode(text, @encoder): {embeds: text_embedding(text), return: encoder(embeds)}`"
)
Returns = Ref | Equation | dict[str, Ref]


@dataclass(frozen=True)
class Definition:
    """A sub-flow: parameters that are streams or modules, lines, and what a call returns."""

    name: str
    parameters: dict[str, bool]  # whether each is a module, in the order of a call
    lines: dict[str, Equation]
    returns: Returns
    place: Location = field(default=NOWHERE, compare=False, repr=False)

    @property
    def header(self) -> str:
        """The key of the definition in a spec."""
        written = [
            f"@{name}" if module else name for name, module in self.parameters.items()
        ]
        return f"{self.name}({', '.join(written)})"

    def equations(self) -> Iterator[Equation]:
        """Yield the lines, and the call that is returned, if one is."""
        yield from self.lines.values()
        if isinstance(self.returns, Equation):
            yield self.returns

    def returned_refs(self) -> list[Ref]:
        """Return the streams that the definition returns by name."""
        if isinstance(self.returns, dict):
            return list(self.returns.values())
        return [self.returns] if isinstance(self.returns, Ref) else []

    def resolved(self) -> dict[str, Any]:
        """Return the definition as a plain mapping, as a spec writes it."""
        written: dict[str, Any] = {name: line.text for name, line in self.lines.items()}
        if isinstance(self.returns, dict):
            written[RETURN] = {part: str(ref) for part, ref in self.returns.items()}
        else:
            written[RETURN] = (
                self.returns.text
                if isinstance(self.returns, Equation)
                else str(self.returns)
            )
        return written


def read_definitions(section: Node | None) -> tuple[dict[str, Definition], list[Problem]]:
    """Return the definitions by name, each of which was checked for itself, and what is wrong in them."""
    definitions: dict[str, Definition] = {}
    problems: list[Problem] = []
    if section is None or section.value is None:
        return definitions, problems
    if not isinstance(section.value, dict):
        hint = f"`define: {{{EXAMPLE[1:-1]}}}`"
        return definitions, [
            Problem(section.place, "'define' must be a mapping of definitions", hint)
        ]
    torn = any("(" in key and ")" not in key for key in section.value)
    for key, node in section.value.items():
        if torn and "(" not in key:
            continue  # The rest of parameters that a comma within { } tore apart.
        try:
            definition = read_definition(key, node)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        if definition.name in definitions:
            first = definitions[definition.name].place.seen_from(definition.place)
            message = f"definition '{definition.name}' exists already (at {first})"
            problems.append(Problem(definition.place, message, "keep one of the two"))
        definitions[definition.name] = definition
    for definition in definitions.values():
        problems.extend(check_definition(definition, definitions))
    return definitions, problems


def read_definition(key: str, node: Node) -> Definition:
    """Return the definition under a key of `define`; raise `SpecError` with all that is wrong in it."""
    place = node.key or node.place
    name, parameters = _read_header(key, place)
    if not isinstance(node.value, dict) or not node.value:
        raise SpecError.at(
            place,
            f"definition '{name}' must be a mapping of lines with `return`",
            EXAMPLE,
        )
    problems: list[Problem] = []
    lines: dict[str, Equation] = {}
    torn = any(_is_open(line) for line in node.value.values())
    for line_name, line in node.value.items():
        # The second test is for the rest of a line that a comma within { } tore apart.
        if line_name == RETURN or (
            torn and line.value is None and not line_name.isidentifier()
        ):
            continue
        problem = _line_problem(name, parameters, line_name, line)
        if problem is not None:
            problems.append(problem)
            continue
        try:
            lines[line_name] = read_equation(line_name, line)
        except SpecError as error:
            problems.extend(error.problems)
    returns: Returns = {}
    if node.value.get(RETURN) is None:
        hint = "`return: STREAM`, `return: CALL` or `return: {PART: STREAM}`"
        problems.append(
            Problem(place, f"definition '{name}' must have the line `return`", hint)
        )
    else:
        try:
            returns = _read_returns(name, node.value[RETURN])
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    if not lines and not isinstance(returns, Equation):
        raise SpecError.at(
            place, f"definition '{name}' computes nothing: it has no line but `return`"
        )
    return Definition(name, parameters, lines, returns, place)


def _read_header(key: str, place: Location) -> tuple[str, dict[str, bool]]:
    """Return the name and the parameters in the key of a definition."""
    match = HEADER.fullmatch(key.strip())
    if match is None:
        if "(" in key and ")" not in key:
            hint = f"within {{ }}, quote it: `'{key}, ...)': {{...}}`"
            raise SpecError.at(place, f"the parameters of '{key}' are not closed", hint)
        message = (
            f"the key of a definition must be a name with parameters, but is '{key}'"
        )
        name = key.partition("(")[0].strip()
        hint = f"`{name}(stream, @module):`" if name.isidentifier() else EXAMPLE
        raise SpecError.at(place, message, f"{hint}, or `()` if it has no parameters")
    name, inner = match.group(1), match.group(2).strip()
    parameters: dict[str, bool] = {}
    for written in inner.split(",") if inner else []:
        is_module = written.strip().startswith("@")
        parameter = written.strip().removeprefix("@").strip()
        if not parameter.isidentifier():
            message = f"a parameter of '{name}' must be a name or @name, but is '{written.strip()}'"
            raise SpecError.at(place, message, f"`{name}(stream, @module):`")
        if parameter in parameters:
            raise SpecError.at(
                place, f"parameter '{parameter}' of '{name}' is listed twice"
            )
        parameters[parameter] = is_module
    for used in (name, *parameters):
        if problem := name_problem(used):
            raise SpecError.at(place, problem, "choose another name")
    if not name.isidentifier() or name == "ema":
        raise SpecError.at(
            place, f"'{name}' cannot be the name of a definition", "choose another name"
        )
    return name, parameters


def _is_open(line: Node) -> bool:
    """Return whether a bracket of a line is not closed."""
    return isinstance(line.value, str) and line.value.count("(") > line.value.count(")")


def _line_problem(
    name: str, parameters: Mapping[str, bool], line_name: str, line: Node
) -> Problem | None:
    """Return what is wrong with the name of a line of a definition."""
    place = line.key or line.place
    if not line_name.isidentifier():
        message = f"a line of definition '{name}' must have a name of one word, but has '{line_name}'"
        return Problem(place, message)
    if message := name_problem(line_name):
        return Problem(place, message, "choose another name")
    if line_name in parameters:
        message = f"'{line_name}' is a parameter of definition '{name}' already"
        return Problem(place, message, "give the line another name")
    if line.value is None:
        message = (
            f"'{name}.{line_name}' is empty, which deletes, but nothing set it before"
        )
        return Problem(place, message)
    return None


def _read_returns(name: str, node: Node) -> Returns:
    """Return what a definition returns: a stream, a call, or streams by the names of the parts."""
    if isinstance(node.value, str):
        called = "(" in node.value and not node.value.lstrip().startswith("ema")
        return read_equation(RETURN, node) if called else read_ref(node)
    if not isinstance(node.value, dict) or not node.value:
        hint = "`return: STREAM`, `return: CALL` or `return: {PART: STREAM}`"
        raise SpecError.at(
            node.place, f"`return` of '{name}' must be a stream, a call or parts", hint
        )
    parts: dict[str, Ref] = {}
    problems: list[Problem] = []
    for part, stream in node.value.items():
        message = (
            ""
            if part.isidentifier()
            else f"a part of '{name}' must be one word, but is '{part}'"
        )
        message = message or name_problem(part)
        if message:
            problems.append(
                Problem(stream.key or stream.place, message, "choose another name")
            )
            continue
        try:
            parts[part] = read_ref(stream)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return parts


def check_definition(
    definition: Definition, definitions: Mapping[str, Definition]
) -> list[Problem]:
    """Return what is wrong in a definition, whatever calls it."""
    problems: list[Problem] = []
    parameters = definition.parameters
    for line in definition.equations():
        if not parameters.get(line.callee) and line.callee in definitions:
            problems += bind_call(line, definitions[line.callee])[1]
        for argument in line.arguments():
            problems += _misused(definition, argument)
    for ref in definition.returned_refs():
        head = ref.words[0]
        if head not in definition.lines and head not in parameters:
            near = closest_name(head, [*definition.lines, *parameters])
            listed = f"lines: {', '.join(definition.lines)}"
            message = f"definition '{definition.name}' has no line '{head}' to return"
            problems.append(
                Problem(ref.place, message, f"did you mean '{near}'?" if near else listed)
            )
        problems += _misused(definition, ref)
    return problems


def _misused(
    definition: Definition, argument: Ref | ModuleRef | Literal
) -> list[Problem]:
    """Return the problem of a module parameter that is used as a stream."""
    if isinstance(argument, Ref) and definition.parameters.get(argument.words[0]) is True:
        name = argument.words[0]
        message = f"'{name}' is a module parameter of '{definition.name}', not a stream"
        return [
            Problem(
                argument.place,
                message,
                f"pass it on as `@{name}`, or call it: `{name}(...)`",
            )
        ]
    return []


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
        problems.append(Problem(call.positional[len(names)].place, message))
    arguments: list[tuple[str, Ref | ModuleRef | Literal, Location]] = []
    for name, positional in zip(names, call.positional, strict=False):
        arguments.append((name, positional, positional.place))
    for name, keyword in call.keywords.items():
        arguments.append((name, keyword, call.keys.get(name, keyword.place)))
    for name, argument, place in arguments:
        if name not in definition.parameters:
            near = closest_name(name, names)
            hint = (
                f"did you mean '{near}'?"
                if near
                else f"write it as in {definition.header}"
            )
            problems.append(
                Problem(place, f"unknown parameter '{name}' of '{definition.name}'", hint)
            )
        elif name in filled:
            problems.append(
                Problem(
                    place, f"parameter '{name}' of '{definition.name}' is filled twice"
                )
            )
        else:
            problem = _argument_problem(definition, name, argument)
            if problem is not None:
                problems.append(problem)
            elif not isinstance(argument, Literal):
                filled[name] = argument
    if not problems:  # a misspelt parameter is missing, too
        for name in names:
            if name not in filled:
                written = f"@{name}" if definition.parameters[name] else name
                message = f"parameter '{written}' of '{definition.name}' must be filled, but is not"
                problems.append(
                    Problem(call.place, message, f"write it as in {definition.header}")
                )
    return filled, problems


def _argument_problem(
    definition: Definition, name: str, argument: Ref | ModuleRef | Literal
) -> Problem | None:
    """Return the problem of an argument that is of another sort than its parameter."""
    is_module = definition.parameters[name]
    parameter = f"parameter '{name}' of '{definition.name}'"
    if isinstance(argument, Literal):
        message = f"{parameter} takes a {'module' if is_module else 'stream'}, but {argument} is a value"
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
