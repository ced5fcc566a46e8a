"""`mplug2 list`: everything that a spec can name, the details of one name, and the settings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import typer

import registry
from mplug2.cli.tables import print_table
from registry.checks.setting_names import FOREIGN_NAMES
from registry.language.aliases import SETTINGS as RENAMED_SETTINGS
from registry.language.declaration import REQUIRED, Declaration, Parameter
from registry.language.locate import definition
from registry.language.ports import Port
from registry.language.schema import EVALUATOR_ARGUMENTS, INJECTED_ARGUMENTS, SETTINGS
from registry.name_table import NameTable
from registry.registries import Registry

TABLES: dict[str, NameTable] = {
    "modules": registry.MODULES,
    "operations": registry.OPERATIONS,
    "kinds of streams": registry.KINDS,
    "tasks": registry.TASKS,
    "sources": registry.SOURCES,
    "evaluators": registry.EVALUATORS,
    "metrics": registry.METRICS,
    "optimizers": registry.OPTIMIZERS,
    "engines": registry.ENGINES,
    "loggers": registry.LOGGERS,
    "tokenizers": registry.TOKENIZERS,
    "key maps": registry.KEY_MAPS,
}
# The framework passes these: no key of a spec sets them.
INJECTED: dict[str, tuple[str, ...]] = {
    "task": (*INJECTED_ARGUMENTS, "spec"),
    "source": (*INJECTED_ARGUMENTS, "items"),
    "evaluator": EVALUATOR_ARGUMENTS,
}


@dataclass(frozen=True)
class Details:
    """All that a spec needs to know about one name; each row is (name, type or values, note)."""

    doc: str  # the complete docstring
    ports: list[tuple[str, str, str]]  # (direction and name, type, note)
    arguments: list[tuple[str, str, str]]  # (name, type, default)
    options: list[tuple[str, str, str]]


def list_names(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_PATTERN",
            help="A name, for its arguments and ports, or a pattern such as 'video*'.",
        ),
    ] = "*",
) -> None:
    """List everything that a spec can name, or print the arguments and ports of one name.

    Settings are listed by their section, such as `train`, or by a name or a pattern.
    """
    settings = settings_rows(pattern)
    if settings:
        print_table("settings", ("setting", "type", "default", "meaning"), settings)
    empty = not settings
    for title, table in TABLES.items():
        rows = []
        for name in table.names(pattern):
            rows.append((name, _summary(table, name)))
        if rows:
            print_table(title if empty else f"\n{title}", ("name", "description"), rows)
            empty = False
        if pattern in table and isinstance(table, Registry):
            _print_details(table, pattern)
    if empty:
        count = sum(len(table.names()) for table in TABLES.values())
        raise registry.UserError(
            f"nothing is named like '{pattern}'; there are {count} names: mplug2 list"
        )


def settings_rows(pattern: str) -> list[tuple[str, str, str, str]]:
    """Return (name, type, default, meaning) of all settings of a section, or of those that a pattern names.

    An old name of a setting, and a name that another program has for it, mean that setting. `*` means the
    registered names alone.
    """
    rows: list[tuple[str, str, str, str]] = []
    if pattern == "*":
        return rows
    for section, keys in SETTINGS.items():
        old_names = RENAMED_SETTINGS.get(section, {})
        sought_name = old_names.get(
            pattern.removeprefix(f"{section}."), FOREIGN_NAMES.get(pattern, pattern)
        )
        for name, key in keys.items():
            full_name = f"{section}.{name}"
            is_named = fnmatchcase(name, sought_name) or fnmatchcase(
                full_name, sought_name
            )
            if section == pattern or is_named:
                default = "required" if key.default is REQUIRED else repr(key.default)
                rows.append((full_name, key.annotation, default, key.meaning))
    return rows


def details(table: Registry, name: str) -> Details:
    """Return the ports and parameters of a name, without importing it; raise `UserError`."""
    declaration = table.declaration(name)
    injected = INJECTED.get(table.kind, ())
    arguments = [
        row for row in _parameters(declaration.arguments) if row[0] not in injected
    ]
    options = _parameters(declaration.options)
    return Details(
        _docstring(table, name), _ports(table.kind, declaration), arguments, options
    )


def _print_details(table: Registry, name: str) -> None:
    try:
        found = details(table, name)
    except registry.UserError:
        return  # The row of the name has the reason.
    if found.ports:
        print_table("\nports", ("port", "type", ""), found.ports)
    if found.arguments:
        print_table("\narguments", ("argument", "type", "default"), found.arguments)
    if found.options:
        print_table("\noptions", ("option", "type", "default"), found.options)
    # The table of names has printed the first paragraph.
    if rest := found.doc.partition("\n\n")[2]:
        print(f"\n{rest}")


def _summary(table: NameTable, name: str) -> str:
    """Return a summary, or why it cannot be read: one broken package must not hide the others."""
    try:
        doc = table.summary(name)
    except registry.UserError as error:
        return f"cannot be read: {error}"
    return " ".join(doc.split("\n\n")[0].replace("``", "`").split())


def _docstring(table: Registry, name: str) -> str:
    """Return the complete docstring: from the source or, in a notebook, from the live object."""
    try:
        text = ast.get_docstring(definition(table.target(name)).node)
    except registry.UserError:
        text = inspect.getdoc(table.load(name))
    return (text or "").replace("``", "`")


def _ports(kind: str, declaration: Declaration) -> list[tuple[str, str, str]]:
    # A task has no inputs: its outputs are the inputs of a network. A metric reads outputs of a goal.
    rows = []
    for name, port in declaration.inputs.items():
        rows.append(
            (
                f"in   {_port_name(name, port)}",
                str(port),
                _port_note(name, port, declaration),
            )
        )
    if kind != "metric":
        for name, port in declaration.outputs.items():
            note = _port_note(name, port, declaration) if port.optional else ""
            rows.append((f"out  {_port_name(name, port)}".rstrip(), str(port), note))
    return rows


def _port_name(name: str, port: Port) -> str:
    if port.named_by_call:
        return f"**{name}"
    return f"*{name}" if port.variadic else name


def _port_note(name: str, port: Port, declaration: Declaration) -> str:
    if name in declaration.off:
        return f"optional; not computed while {declaration.off[name]} is 0 or not set"
    return "optional" if port.optional else ""


def _parameters(parameters: Mapping[str, Parameter]) -> list[tuple[str, str, str]]:
    rows = []
    for parameter in parameters.values():
        if parameter.choices:
            values = ", ".join(repr(choice) for choice in parameter.choices)
        else:
            values = parameter.annotation
        rows.append((parameter.name, values, _default(parameter)))
    return rows


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    # The default of `x: float = math.inf` is known as source text only, since nothing is imported.
    is_source_text = (
        isinstance(parameter.default, str) and "str" not in parameter.annotation
    )
    if is_source_text and parameter.default not in parameter.choices:
        return str(parameter.default)
    return repr(parameter.default)
