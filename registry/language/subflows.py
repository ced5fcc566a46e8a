"""Reads the section `define`: each definition of a sub-flow from its key and its lines."""

from __future__ import annotations

import re
from collections.abc import Mapping

from registry.errors import Location, Problem, SpecError
from registry.language.definition import RETURN, Definition, Returns
from registry.language.definition_calls import check_definition
from registry.language.equation import Equation, Ref, name_problem
from registry.language.line_reader import is_torn, read_equation, read_ref
from registry.yaml.tree import Node

HEADER = re.compile(r"(\w+)\s*\(([^()]*)\)")
EXAMPLE = (
    "`encode(text, @encoder): {embeds: text_embedding(text), return: encoder(embeds)}`"
)
RETURN_FORMS = "`return: STREAM`, `return: CALL` or `return: {PART: STREAM}`"


def read_definitions(
    section: Node | None,
) -> tuple[dict[str, Definition], list[Problem]]:
    """Return the definitions by name, each of which was checked for itself, and what is wrong in them."""
    definitions: dict[str, Definition] = {}
    problems: list[Problem] = []
    if section is None or section.value is None:
        return definitions, problems
    if not isinstance(section.value, dict):
        message = "'define' must be a mapping of definitions"
        problem = Problem(section.place, message, f"`define: {{{EXAMPLE[1:-1]}}}`")
        return definitions, [problem]
    torn = any("(" in key and ")" not in key for key in section.value)
    for key, node in section.value.items():
        if torn and "(" not in key:
            continue  # The rest of parameters that a comma within { } tore apart.
        try:
            definition = read_definition(key, node)
        except SpecError as error:
            problems.extend(error.problems)
            continue
        # YAML refuses equal keys, but `f(a)` and `f(b)` are two keys with one name.
        if definition.name in definitions:
            first = definitions[definition.name].place.seen_from(definition.place)
            message = f"definition '{definition.name}' exists already (at {first})"
            problems.append(Problem(definition.place, message, "keep one of the two"))
        definitions[definition.name] = definition
    # Last, since a definition may call others that come after it.
    for definition in definitions.values():
        problems.extend(check_definition(definition, definitions))
    return definitions, problems


def read_definition(key: str, node: Node) -> Definition:
    """Return the definition under a key of `define`; raise `SpecError` with all that is wrong in it."""
    place = node.key or node.place
    name, parameters = _read_header(key, place)
    if not isinstance(node.value, dict) or not node.value:
        message = f"definition '{name}' must be a mapping of lines with `return`"
        raise SpecError.at(place, message, EXAMPLE)
    lines, problems = _read_lines(name, parameters, node.value)
    returns: Returns = {}
    if node.value.get(RETURN) is None:
        message = f"definition '{name}' must have the line `return`"
        problems.append(Problem(place, message, RETURN_FORMS))
    else:
        try:
            returns = _read_returns(name, node.value[RETURN])
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    if not lines and not isinstance(returns, Equation):
        message = f"definition '{name}' computes nothing: it has no line but `return`"
        raise SpecError.at(place, message)
    return Definition(name, parameters, lines, returns, place)


def _read_lines(
    name: str, parameters: Mapping[str, bool], nodes: Mapping[str, Node]
) -> tuple[dict[str, Equation], list[Problem]]:
    """Return the lines of a definition, without `return`, and what is wrong in them."""
    lines: dict[str, Equation] = {}
    problems: list[Problem] = []
    torn = any(is_torn(line) for line in nodes.values())
    for line_name, line in nodes.items():
        if line_name == RETURN:
            continue
        if torn and line.value is None and not line_name.isidentifier():
            continue  # The rest of a line that a comma within { } tore apart.
        problem = _line_problem(name, parameters, line_name, line)
        if problem is not None:
            problems.append(problem)
            continue
        try:
            lines[line_name] = read_equation(line_name, line)
        except SpecError as error:
            problems.extend(error.problems)
    return lines, problems


def _read_header(key: str, place: Location) -> tuple[str, dict[str, bool]]:
    """Return the name and the parameters in the key of a definition."""
    match = HEADER.fullmatch(key.strip())
    if match is None:
        raise _wrong_header(key, place)
    name, inner = match.group(1), match.group(2).strip()
    parameters: dict[str, bool] = {}
    # `"".split(",")` is one empty name, not none.
    for text in inner.split(",") if inner else []:
        is_module = text.strip().startswith("@")
        parameter = text.strip().removeprefix("@").strip()
        if not parameter.isidentifier():
            message = f"a parameter of '{name}' must be a name or @name, but is '{text.strip()}'"
            raise SpecError.at(place, message, f"`{name}(stream, @module):`")
        if parameter in parameters:
            message = f"parameter '{parameter}' of '{name}' is listed twice"
            raise SpecError.at(place, message)
        parameters[parameter] = is_module
    for used in (name, *parameters):
        if problem := name_problem(used):
            raise SpecError.at(place, problem, "choose another name")
    # `ema(...)` in a line is the average of a stream; and `\w+` also fits a number.
    if not name.isidentifier() or name == "ema":
        message = f"'{name}' cannot be the name of a definition"
        raise SpecError.at(place, message, "choose another name")
    return name, parameters


def _wrong_header(key: str, place: Location) -> SpecError:
    """Return the error of a key that is not a name with parameters."""
    if "(" in key and ")" not in key:
        hint = f"within {{ }}, quote it: `'{key}, ...)': {{...}}`"
        return SpecError.at(place, f"the parameters of '{key}' are not closed", hint)
    message = f"the key of a definition must be a name with parameters, but is '{key}'"
    name = key.partition("(")[0].strip()
    hint = f"`{name}(stream, @module):`" if name.isidentifier() else EXAMPLE
    return SpecError.at(place, message, f"{hint}, or `()` if it has no parameters")


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
        # `ema(x)` has brackets, too, but is not a call: `read_ref` explains why it cannot be returned.
        is_call = "(" in node.value and not node.value.lstrip().startswith("ema")
        return read_equation(RETURN, node) if is_call else read_ref(node)
    if not isinstance(node.value, dict) or not node.value:
        message = f"`return` of '{name}' must be a stream, a call or parts"
        raise SpecError.at(node.place, message, RETURN_FORMS)
    parts: dict[str, Ref] = {}
    problems: list[Problem] = []
    for part, stream in node.value.items():
        message = name_problem(part)
        if not part.isidentifier():
            message = f"a part of '{name}' must be one word, but is '{part}'"
        if message:
            place = stream.key or stream.place
            problems.append(Problem(place, message, "choose another name"))
            continue
        try:
            parts[part] = read_ref(stream)
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return parts
