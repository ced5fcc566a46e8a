"""Facts of the source of a class or function, before it is checked: literals, parameters, docstring.

To parse the sources of all names in a spec takes longer than the checks, so the facts are kept in the user's
cache until one of the files changes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from registry.errors import UserError
from registry.language import locate
from registry.language.locate import Definition, definition, source_file
from registry.language.parameter import REQUIRED, Parameter
from registry.user_cache import UserCache, file_state, is_recent

LITERALS = (
    "inputs",
    "outputs",
    "off",
    "goals",
    "supplies",
    "conditions",
    "token_limits",
    "class_names",
    "file_arguments",
    "weightless",
)
DECORATORS = ("operation", "metric")  # whose keywords declare the ports of a function
COUNT = "count"  # the keyword of `operation` that makes a function a loss with a sum and a count
CACHE = UserCache("declarations", most_entries=500)
SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class SourceFacts:
    """The literals, constructor arguments and options of one class or function, and where it is."""

    literals: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Parameter] = field(default_factory=dict)
    options: Mapping[str, Parameter] = field(default_factory=dict)
    doc: str = ""
    file: str = ""
    line: int = 0
    counted: bool = False  # a loss that returns a sum and a count


def read_facts(target: str) -> SourceFacts:
    """Return the facts of `"package.module:Name"`, from the cache or its source; raise `UserError`."""
    # Parsing a file takes much longer than reading what was found in it.
    facts = _stored(target)
    if facts is None:
        source = definition(target)
        facts = _facts(target, source)
        _store(target, facts, source.modules)
    return facts


def _facts(target: str, source: Definition) -> SourceFacts:
    node = source.node
    if isinstance(node, ast.ClassDef):
        literals, arguments, options = _class_facts(target, source)
        counted = False
    else:
        literals, counted = _decorator_facts(target, node)
        arguments, options = {}, _parameters(node, keyword_only=True)
    sentence = first_sentence(ast.get_docstring(node))
    return SourceFacts(
        literals, arguments, options, sentence, source.file, node.lineno, counted
    )


def _class_facts(
    target: str, source: Definition
) -> tuple[dict[str, Any], dict[str, Parameter], dict[str, Parameter]]:
    """Return the literals, constructor arguments and options of a class with its bases."""
    constructors = []
    forwards = []
    for body in source.bases:
        for statement in body:
            if not isinstance(statement, ast.FunctionDef):
                continue
            if statement.name == "__init__":
                ends_in_settings = statement.args.kwarg is not None
                constructors.append((_parameters(statement, skip=1), ends_in_settings))
            elif statement.name == "forward":
                forwards.append(statement)
    literals: dict[str, Any] = {}
    # The class itself comes first and overrides its bases.
    for body in reversed(source.bases):
        for name, value in _assigned(body, LITERALS):
            literals[name] = _literal(target, name, value)
    # The nearest `forward` replaces those of the bases.
    options = _parameters(forwards[0], keyword_only=True) if forwards else {}
    return literals, inherited(constructors), options


def _decorator_facts(
    target: str, function: ast.FunctionDef
) -> tuple[dict[str, Any], bool]:
    """Return the literals in the decorators of a function, and whether it is a loss with a count."""
    literals: dict[str, Any] = {}
    counted = False
    for decorator in function.decorator_list:
        # A decorator without brackets declares nothing.
        if not isinstance(decorator, ast.Call):
            continue
        called = decorator.func
        # `@registry.operation(...)` or `@operation(...)`
        name = called.attr if isinstance(called, ast.Attribute) else ""
        if isinstance(called, ast.Name):
            name = called.id
        if name not in DECORATORS:
            continue
        for keyword in decorator.keywords:
            if keyword.arg in LITERALS:
                literals[keyword.arg] = _literal(target, keyword.arg, keyword.value)
            counted = counted or keyword.arg == COUNT
    return literals, counted


def inherited(
    constructors: Iterable[tuple[dict[str, Parameter], bool]],
) -> dict[str, Parameter]:
    """Return the arguments of a class from its constructors, nearest first: (parameters, ends in `**`)."""
    arguments: dict[str, Parameter] = {}
    for parameters, hands_on in constructors:
        for name, parameter in parameters.items():
            # A nearer constructor hides the parameter of a base.
            arguments.setdefault(name, parameter)
        if not hands_on:
            break
    return arguments


def _assigned(
    body: Iterable[ast.stmt], names: Iterable[str]
) -> Iterable[tuple[str, ast.expr]]:
    """Yield the assignments of a class body to one of `names`."""
    for statement in body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id in names:
            yield target.id, value


def _literal(target: str, name: str, tree: ast.expr) -> Any:
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError):
        message = "must be a literal, since it is read without running the code"
        raise UserError(f"{target}: `{name}` {message}") from None


def _parameters(
    function: ast.FunctionDef, skip: int = 0, keyword_only: bool = False
) -> dict[str, Parameter]:
    """Return a function's parameters: those after the first `skip`, or the keyword-only ones alone."""
    spec = function.args
    pairs = list(zip(spec.kwonlyargs, spec.kw_defaults, strict=True))
    if not keyword_only:
        plain = [*spec.posonlyargs, *spec.args]
        # `ast` lists defaults from the last parameter backwards: those in front have none.
        defaults = [None] * (len(plain) - len(spec.defaults)) + list(spec.defaults)
        pairs = list(zip(plain, defaults, strict=True))[skip:] + pairs
    parameters = {}
    for argument, default in pairs:
        annotation = ast.unparse(argument.annotation) if argument.annotation else ""
        parameters[argument.arg] = Parameter(
            argument.arg, annotation, _default(default)
        )
    return parameters


def _default(tree: ast.expr | None) -> Any:
    """Return a default's value; one that is not a literal (`math.inf`) is kept as its source text."""
    if tree is None:
        return REQUIRED
    try:
        return ast.literal_eval(tree)
    except (ValueError, TypeError, SyntaxError):
        return ast.unparse(tree)


def first_sentence(doc: str | None) -> str:
    """Return the first sentence of a docstring, in one line."""
    words: list[str] = []
    for line in (doc or "").strip().splitlines():
        # The first paragraph ends.
        if not line.strip():
            break
        words += line.split()
    paragraph = " ".join(words)
    return paragraph.split(". ")[0].rstrip(".") + "." if paragraph else ""


def _stored(target: str) -> SourceFacts | None:
    """Return the facts of a target that are in the cache, unless a source has changed since."""
    record = CACHE.read(_key(target))
    try:
        for module, state in record["modules"]:
            # Any file that the search went through may change what it finds.
            if _module_state(module) != state:
                return None
        return SourceFacts(
            _unpacked(record["literals"]),
            _unpacked_parameters(record["arguments"]),
            _unpacked_parameters(record["options"]),
            str(record["doc"]),
            str(record["file"]),
            int(record["line"]),
            bool(record["counted"]),
        )
    # No entry, or not one that `_store` writes.
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _store(target: str, facts: SourceFacts, modules: Mapping[str, str | None]) -> None:
    """Store facts with the state of the modules that they were read from."""
    try:
        for file in modules.values():
            # A file may change again within the resolution of its time.
            if file is not None and is_recent(file):
                return
        record = {
            "modules": [(module, _module_state(module)) for module in modules],
            "literals": _packed(dict(facts.literals)),
            "arguments": _packed_parameters(facts.arguments),
            "options": _packed_parameters(facts.options),
            "doc": facts.doc,
            "file": facts.file,
            "line": facts.line,
            "counted": facts.counted,
        }
    except (OSError, TypeError):  # A default that JSON does not have, such as a set.
        return
    CACHE.write(_key(target), record)


def _key(target: str) -> str:
    return f"{target} {_reader_state()}"


@lru_cache(maxsize=1)
def _reader_state() -> str:
    """Return the state of the code that reads facts: another version may read others."""
    return f"{file_state(__file__)} {file_state(locate.__file__)}"


def _module_state(module: str) -> str:
    """Return the file of a module and its state; '' if there is no such module."""
    file = source_file(module)
    return file_state(file) if file is not None else ""


def _packed(value: Any) -> Any:
    """Return a literal as JSON can represent it, with the types of its collections; raise `TypeError`."""
    # The exact type: JSON would turn a subclass, such as an enum, into a plain value.
    if type(value) in SCALARS:
        return value
    if type(value) in (list, tuple):
        return [type(value).__name__, *map(_packed, value)]
    if type(value) is dict:
        items = [[_packed(key), _packed(item)] for key, item in value.items()]
        return ["dict", *items]
    raise TypeError(type(value).__name__)


def _unpacked(value: Any) -> Any:
    """Return the literal of what `_packed` returned."""
    if not isinstance(value, list):
        return value
    kind, *items = value
    if kind == "dict":
        return {_unpacked(key): _unpacked(item) for key, item in items}
    literals = [_unpacked(item) for item in items]
    return tuple(literals) if kind == "tuple" else literals


def _packed_parameters(parameters: Mapping[str, Parameter]) -> list[list[Any]]:
    """Return name, annotation and, unless it is required, default of each parameter."""
    records = []
    for parameter in parameters.values():
        default = [] if parameter.required else [_packed(parameter.default)]
        records.append([parameter.name, parameter.annotation, *default])
    return records


def _unpacked_parameters(records: Iterable[Any]) -> dict[str, Parameter]:
    parameters = {}
    for name, annotation, *rest in records:
        default = _unpacked(rest[0]) if rest else REQUIRED
        parameters[name] = Parameter(name, annotation, default)
    return parameters
