"""The JSON schema of specs (draft 2020-12), for editors: made from the tables and registries of the checks.

A file may extend another and set a few keys, so the schema requires no key: it has the names, types, ranges
and choices. Only `mplug2 check` sees how the parts fit together. An empty value deletes a key everywhere.
"""

from __future__ import annotations

import re

from registry.json_schema_forms import (
    COUNT,
    STRING,
    STRINGS,
    Schema,
    closed,
    exact,
    if_key,
    one_of,
    parameter_schemas,
    values_of,
    with_old_names,
)
from registry.json_schema_settings import SettingsSchemas
from registry.kinds import KINDS
from registry.language import aliases
from registry.language.adapting import KINDS as ADAPTERS
from registry.language.freezing import UNTIL
from registry.registries import REGISTRIES, Registries

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# In a file that YAML tore apart at a comma, a key is not a word: `{a: join(x, y)}`.
WORD = {"pattern": r"^[^\W\d]\w*$"}
CALL: Schema = {"type": "string", "pattern": r"\(|^[\w.]+$"}


def spec_schema(names: Registries = REGISTRIES) -> Schema:
    """Return the schema of a spec file, as plain values that JSON can hold."""
    settings = SettingsSchemas(names)
    parents = {"anyOf": [STRING, STRINGS], "description": "files that this one changes"}
    # A line of a definition, or its parts to return; the call that a goal returns, or its outputs.
    text_or_mapping = {"anyOf": [STRING, values_of(**STRING)]}
    sections: dict[str, Schema] = {
        "extends": parents,
        "inputs": _section("what a batch holds", _input(), WORD),
        "modules": _section("what has weights", _modules(names), WORD),
        "define": _section("definitions of sub-flows", values_of(**text_or_mapping)),
        "flow": _section("one call a line", CALL, WORD),
        "goals": _section("the outputs of each goal", text_or_mapping, WORD),
        "init": _section("first weights", _weight_source(names)),
        "tie": _section("one tensor under two names", STRING),
        "freeze": _freeze(),
        "adapt": _section("low-rank adapters of linear layers, by pattern", _adapter()),
        "momentum": closed(settings.keys("momentum")),
        "data": settings.data(),
        "train": settings.train(),
        "eval": settings.evaluation(),
    }
    return {
        "$schema": DRAFT,
        "title": "mplug2 spec",
        "description": "A network with its data, training and evaluation. `mplug2 check` also checks shapes.",
        **closed(sections),
        # Filled by the settings sections above.
        "$defs": settings.definitions,
    }


def _section(description: str, entry: Schema, names: Schema | None = None) -> Schema:
    """Return the schema of a section with names that the user chooses."""
    section = {**values_of(**entry), "description": description}
    return section if names is None else {**section, "propertyNames": names}


def _input() -> Schema:
    # The kind alone is checked: its axes depend on it.
    kinds = "|".join(re.escape(kind) for kind in KINDS.names())
    return {"type": "string", "pattern": rf"^\s*({kinds})(\s|$)"}


def _weight_source(names: Registries) -> Schema:
    # `FAMILY:PATH`; older names of families are accepted, too.
    families = [*names.key_maps.names(), *aliases.WEIGHT_SOURCES]
    pattern = "|".join(re.escape(family) for family in families)
    return {"type": "string", "pattern": rf"^({pattern}):."}


def _freeze() -> Schema:
    entries = values_of(anyOf=[{"type": "boolean"}, exact(**{UNTIL: COUNT})])
    return {
        "anyOf": [STRINGS, entries],
        "description": "modules or parameters that do not train",
    }


def _adapter() -> Schema:
    above_zero = {"type": "number", "exclusiveMinimum": 0}
    adapter = exact(rank=COUNT, alpha=above_zero, kind={"enum": list(ADAPTERS)})
    # `false`: no adapters for these layers, though a less specific pattern fits them.
    return {"anyOf": [{"const": False}, adapter]}


def _modules(names: Registries) -> Schema:
    """Return the schema of a module: the arguments follow from `use`, unless another file has it."""
    rules = []
    for use in names.modules.names():
        declaration = names.modules.declaration(use)
        old_names = aliases.ARGUMENTS.get(use, {})
        arguments = parameter_schemas(declaration.arguments)
        properties = with_old_names(arguments, old_names)
        properties["use"] = {"const": use, "description": declaration.doc}
        rules.append(if_key("use", use, closed(properties)))
    return {
        "type": "object",
        "properties": {"use": one_of(names.modules)},
        "allOf": rules,
    }
