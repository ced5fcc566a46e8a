"""The forms that JSON schemas of specs are made of: mappings, choices, ranges, arguments with their defaults."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from registry.language import aliases
from registry.language.annotations import json_schema
from registry.language.declaration import Parameter
from registry.language.schema import SHARED_ARGUMENTS, Key
from registry.name_table import NameTable

Schema = dict[str, Any]
STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
COUNT: Schema = {"type": "integer", "minimum": 1}
# Keywords that describe a value, which an editor shows; the others restrict it.
DESCRIBING = ("description", "default", "deprecated")


def exact(**properties: Schema) -> Schema:
    """Return the schema of a mapping with these keys, the first of which it must have."""
    required = [next(iter(properties))]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def or_empty(schema: Schema) -> Schema:
    """Return a schema that also accepts an empty value; what describes the value stays outside."""
    outside: Schema = {}
    inside: Schema = {}
    for key, value in schema.items():
        if key in DESCRIBING:
            outside[key] = value
        else:
            inside[key] = value
    # A schema that restricts nothing accepts an empty value already.
    return {"anyOf": [inside, {"type": "null"}], **outside} if inside else outside


def closed(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a mapping that has no other keys."""
    entries = {name: or_empty(schema) for name, schema in properties.items()}
    return {"type": "object", "properties": entries, "additionalProperties": False}


def values_of(**schema: Any) -> Schema:
    """Return the schema of a mapping with any keys whose values fit."""
    return {"type": "object", "additionalProperties": or_empty(schema)}


def one_of(table: NameTable, old_names: Iterable[str] = ()) -> Schema:
    """Return the schema of a registered name."""
    return {"enum": [*table.names(), *old_names]}


def if_key(key: str, value: str, then: Schema) -> Schema:
    """Return the rule that a schema holds where a key has a value."""
    return {
        "if": {"properties": {key: {"const": value}}, "required": [key]},
        "then": then,
    }


def parameter_schema(parameter: Parameter) -> Schema:
    """Return the schema of an argument: its annotation, and the range of one that tasks share by name."""
    shared = SHARED_ARGUMENTS.get(parameter.name)
    schema = json_schema(parameter.annotation)
    if shared is not None:
        schema = in_range(schema, shared)
    # None as a default means that the argument is not set; a named constant has no value in the source.
    is_plain = isinstance(parameter.default, str | int | float | bool | list | tuple)
    if parameter.required or not is_plain:
        return schema
    return {**schema, "default": parameter.default}


def parameter_schemas(
    parameters: Mapping[str, Parameter], left_out: Iterable[str] = ()
) -> dict[str, Schema]:
    """Return the schema of each argument, but for those that no spec sets."""
    left_out = set(left_out)
    schemas = {}
    for name, parameter in parameters.items():
        if name not in left_out:
            schemas[name] = parameter_schema(parameter)
    return schemas


def with_old_names(
    properties: Mapping[str, Schema], old_names: aliases.Words
) -> dict[str, Schema]:
    """Return properties with those that have older names, too, which an editor strikes out."""
    renamed = {}
    for old, new in old_names.items():
        if new in properties and old not in properties:
            note = {"deprecated": True, "description": f"now `{new}`"}
            renamed[old] = {**properties[new], **note}
    return {**properties, **renamed}


def in_range(schema: Schema, key: Key) -> Schema:
    """Return a schema whose numbers are in the range of a key, those in lists and mappings, too."""
    # A key without a limit has an infinite one, which JSON cannot write.
    limits: Schema = {}
    for word, limit in (
        ("minimum", key.least),
        ("maximum", key.most),
        ("exclusiveMinimum", key.above),
        ("exclusiveMaximum", key.below),
    ):
        if limit is not None and math.isfinite(limit):
            limits[word] = limit
    ranged = dict(schema)
    if schema.get("type") in ("integer", "number"):
        ranged |= limits
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            ranged[word] = in_range(schema[word], key)
    for word in ("anyOf", "prefixItems"):
        if word in schema:
            ranged[word] = [in_range(part, key) for part in schema[word]]
    return ranged
