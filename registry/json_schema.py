"""The JSON schema of specs (draft 2020-12), for editors: made from the tables and registries of the checks.

A file may extend another and set a few keys, so the schema requires no key: it has the names, types, ranges
and choices. Only `mplug2 check` sees how the parts fit together. An empty value deletes a key everywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from registry.checks.runners import FACTORY_PARAMETERS, OWN_KEYS
from registry.checks.sources import SOURCE_KEYS
from registry.checks.training import BATCH_KEYS, STEP_KEYS
from registry.kinds import KINDS
from registry.language import aliases
from registry.language.adapting import KINDS as ADAPTERS
from registry.language.annotations import json_schema
from registry.language.declaration import REQUIRED, Parameter
from registry.language.freezing import UNTIL
from registry.language.schema import (
    DATA,
    EVAL,
    EVALUATOR_ARGUMENTS,
    INJECTED_ARGUMENTS,
    SETTINGS,
    SHARED_ARGUMENTS,
    SPLITS,
    TRAIN,
    Key,
)
from registry.name_table import NameTable
from registry.registries import REGISTRIES, Registries
from registry.training import LENGTHS

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "array", "items": STRING}
MAPPING: Schema = {"type": "object"}
COUNT: Schema = {"type": "integer", "minimum": 1}
# In a file that YAML tore apart at a comma, a key is not a word: `{a: join(x, y)}`.
WORD = {"pattern": r"^[^\W\d]\w*$"}
CALL: Schema = {"type": "string", "pattern": r"\(|^[\w.]+$"}


def _exact(**properties: Schema) -> Schema:
    """Return the schema of a mapping with these keys, the first of which it must have."""
    required = [next(iter(properties))]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


AMOUNT: Schema = {"anyOf": [COUNT, _exact(tokens=COUNT)]}


def spec_schema(names: Registries = REGISTRIES) -> Schema:
    """Return the schema of a spec file, as plain values that JSON can hold."""
    settings = _Settings(names)
    sections: dict[str, Schema] = {
        "extends": {
            "anyOf": [STRING, STRINGS],
            "description": "files that this one changes",
        },
        "inputs": _section("what a batch holds", _input(), WORD),
        "modules": _section("what has weights", _modules(names), WORD),
        "define": _section(
            "definitions of sub-flows", _values_of(anyOf=[STRING, _values_of(**STRING)])
        ),
        "flow": _section("one call a line", CALL, WORD),
        "goals": _section(
            "the outputs of each goal", {"anyOf": [STRING, _values_of(**STRING)]}, WORD
        ),
        "init": _section("first weights", _weight_source(names)),
        "tie": _section("one tensor under two names", STRING),
        "freeze": _freeze(),
        "adapt": _section("low-rank adapters of linear layers, by pattern", _adapter()),
        "momentum": _closed(settings.keys("momentum")),
        "data": settings.data(),
        "train": settings.train(),
        "eval": settings.evaluation(),
    }
    return {
        "$schema": DRAFT,
        "title": "mplug2 spec",
        "description": "A network with its data, training and evaluation. `mplug2 check` also checks shapes.",
        **_closed(sections),
        "$defs": settings.definitions,
    }


def _or_empty(schema: Schema) -> Schema:
    """Return a schema that also accepts an empty value; what describes the value stays outside."""
    outside: Schema = {
        key: schema[key]
        for key in ("description", "default", "deprecated")
        if key in schema
    }
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside} if inside else outside


def _closed(properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a mapping that has no other keys."""
    entries = {name: _or_empty(schema) for name, schema in properties.items()}
    return {"type": "object", "properties": entries, "additionalProperties": False}


def _values_of(**schema: Any) -> Schema:
    """Return the schema of a mapping with any keys whose values fit."""
    return {"type": "object", "additionalProperties": _or_empty(schema)}


def _section(description: str, entry: Schema, names: Schema | None = None) -> Schema:
    """Return the schema of a section with names that the user chooses."""
    section = {**_values_of(**entry), "description": description}
    return section if names is None else {**section, "propertyNames": names}


def _one_of(table: NameTable, old_names: Iterable[str] = ()) -> Schema:
    return {"enum": [*table.names(), *old_names]}


def _input() -> Schema:
    kinds = "|".join(map(re.escape, KINDS.names()))
    return {"type": "string", "pattern": rf"^\s*({kinds})(\s|$)"}


def _weight_source(names: Registries) -> Schema:
    families = "|".join(
        map(re.escape, [*names.key_maps.names(), *aliases.WEIGHT_SOURCES])
    )
    return {"type": "string", "pattern": rf"^({families}):."}


def _freeze() -> Schema:
    entries = _values_of(anyOf=[{"type": "boolean"}, _exact(**{UNTIL: COUNT})])
    return {
        "anyOf": [STRINGS, entries],
        "description": "modules or parameters that do not train",
    }


def _adapter() -> Schema:
    above_zero = {"type": "number", "exclusiveMinimum": 0}
    return {
        "anyOf": [
            {"const": False},
            _exact(rank=COUNT, alpha=above_zero, kind={"enum": list(ADAPTERS)}),
        ]
    }


def _parameter(parameter: Parameter) -> Schema:
    """Return the schema of an argument: its annotation, and the range of one that tasks share by name."""
    shared = SHARED_ARGUMENTS.get(parameter.name)
    schema = json_schema(parameter.annotation)
    if shared is not None:
        schema = _in_range(schema, shared)
    if parameter.required or not isinstance(
        parameter.default, str | int | float | bool | list | tuple
    ):
        return schema
    return {**schema, "default": parameter.default}


def _parameters(
    parameters: Mapping[str, Parameter], left_out: Iterable[str] = ()
) -> dict[str, Schema]:
    left_out = set(left_out)
    return {
        name: _parameter(value)
        for name, value in parameters.items()
        if name not in left_out
    }


def _with_old_names(
    properties: Mapping[str, Schema], old_names: aliases.Words
) -> dict[str, Schema]:
    """Return properties with those that have older names, too, which an editor strikes out."""
    renamed = {}
    for old, new in old_names.items():
        if new in properties and old not in properties:
            renamed[old] = {
                **properties[new],
                "deprecated": True,
                "description": f"now `{new}`",
            }
    return {**properties, **renamed}


def _modules(names: Registries) -> Schema:
    """Return the schema of a module: the arguments follow from `use`, unless another file has it."""
    rules = []
    for use in names.modules.names():
        declaration = names.modules.declaration(use)
        properties = _with_old_names(
            _parameters(declaration.arguments), aliases.ARGUMENTS.get(use, {})
        )
        properties["use"] = {"const": use, "description": declaration.doc}
        rules.append(_if("use", use, _closed(properties)))
    return {
        "type": "object",
        "properties": {"use": _one_of(names.modules)},
        "allOf": rules,
    }


def _if(key: str, value: str, then: Schema) -> Schema:
    return {
        "if": {"properties": {key: {"const": value}}, "required": [key]},
        "then": then,
    }


def _in_range(schema: Schema, key: Key) -> Schema:
    """Return a schema whose numbers are in the range of a key, those in lists and mappings, too."""
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
            ranged[word] = _in_range(schema[word], key)
    for word in ("anyOf", "prefixItems"):
        if word in schema:
            ranged[word] = [_in_range(part, key) for part in schema[word]]
    return ranged


class _Settings:
    """The schemas of the settings sections, from the table of their keys and from the registries."""

    def __init__(self, names: Registries) -> None:
        self.names = names
        self.definitions: dict[str, Schema] = {}  # what several sections refer to

    def defined(self, name: str, schema: Schema) -> Schema:
        """Return a reference to a schema that is written once, under this name."""
        self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def keys(self, section: str) -> dict[str, Schema]:
        """Return the schema of each key of a section."""
        properties = {}
        for name, key in SETTINGS[section].items():
            schema = _in_range(json_schema(key.annotation), key)
            schema = {**schema, "description": key.meaning}
            if key.default is not REQUIRED and key.default is not None:
                schema["default"] = key.default
            properties[name] = schema
        return _with_old_names(properties, aliases.SETTINGS.get(section, {}))

    def train(self) -> Schema:
        """Return the schema of `train`: names from the registries, lengths and steps by their form."""
        properties = self.keys("train")
        length = self.length()
        for name, schema in (
            ("engine", _one_of(self.names.engines)),
            ("loggers", {"type": "array", "items": _one_of(self.names.loggers)}),
            ("optimizer", self.optimizer()),
            ("epochs", length),
            ("eval_every", length),
            ("save_every", length),
            ("iteration", {"type": "array", "items": self.step()}),
            ("micro_batch", {"anyOf": [AMOUNT, _values_of(**AMOUNT)]}),
        ):
            described = {
                "description": TRAIN[name].meaning,
                "default": TRAIN[name].default,
            }
            properties[name] = {**schema, **described}
        return _closed(properties)

    def length(self) -> Schema:
        """Return the schema of a length: epochs, or a number of one unit."""
        above_zero = {"type": "number", "exclusiveMinimum": 0}
        properties = {**dict.fromkeys(LENGTHS, above_zero), "of": STRING}
        mapping = {**_closed(properties), "minProperties": 1}
        mapping["oneOf"] = [{"required": [unit]} for unit in LENGTHS]
        return {"anyOf": [COUNT, mapping]}

    def step(self) -> Schema:
        """Return the schema of a step of an iteration."""
        forms = {
            "draw": {"type": "object", "minProperties": 1},
            "all": {**STRINGS, "minItems": 1},
            "batch": STRING,
            "goal": STRING,
            "reuse": STRINGS,
            "until": self.length(),
            "cache_gradients": STRINGS,
        }
        step = _closed({name: forms[name] for name in STEP_KEYS})
        return {
            **step,
            "oneOf": [{"required": [name]} for name in ("draw", "all", "batch")],
        }

    def optimizer(self) -> Schema:
        """Return the schema of an optimizer: a registered name, or a class, with or without options."""
        name = {
            "anyOf": [
                _one_of(self.names.optimizers),
                {"type": "string", "pattern": ".:."},
            ]
        }
        rules = []
        for optimizer in self.names.optimizers.names():
            declaration = self.names.optimizers.declaration(optimizer)
            parameters = {**declaration.arguments, **declaration.options}
            properties = _parameters(parameters, FACTORY_PARAMETERS)
            properties |= {key: {} for key in OWN_KEYS}
            rules.append(_if("name", optimizer, _closed(properties)))
        mapping = {
            "type": "object",
            "properties": {"name": name},
            "required": ["name"],
            "allOf": rules,
        }
        return {"anyOf": [*name["anyOf"], mapping]}

    def task_arguments(self, task: str | None) -> dict[str, Schema]:
        """Return the arguments of a task and of all sources; those of all tasks if none is named."""
        properties: dict[str, Schema] = {}
        tables = [(self.names.tasks, [task] if task else self.names.tasks.names())]
        tables.append((self.names.sources, self.names.sources.names()))
        for table, entries in tables:
            for name in entries:
                arguments = _parameters(
                    table.declaration(name).arguments, INJECTED_ARGUMENTS
                )
                for argument, schema in arguments.items():
                    present = properties.get(argument, schema)
                    # The same argument may have another type in another task.
                    differs = task is None and present != schema
                    properties[argument] = {} if differs else present
        return _with_old_names(properties, aliases.SOURCE_ARGUMENTS)

    def source(self, what: str, keys: Mapping[str, Schema]) -> Schema:
        """Return the schema of a source, or of `data` as one: its other mappings are splits."""
        rules = []
        for task in (None, *self.names.tasks.names()):
            arguments = self.task_arguments(task)
            split = self.defined(f"split.{task or '*'}", _or_empty(_closed(arguments)))
            source = _closed({**arguments, **keys})
            source["properties"] |= dict.fromkeys(SPLITS, split)
            source["additionalProperties"] = split
            then = self.defined(f"{what}.{task or '*'}", source)
            if task is None:
                named = {"anyOf": [{"required": ["task"]}, {"required": ["kind"]}]}
                rules.append({"if": {"not": named}, "then": then})
            else:
                rules += [_if("task", task, then), _if("kind", task, then)]
        task_names = _one_of(self.names.tasks)
        return {
            "type": "object",
            "properties": {"task": task_names, "kind": task_names},
            "allOf": rules,
        }

    def data(self) -> Schema:
        """Return the schema of `data`: one source, or named sources and the batches that read them."""
        keys = self.keys("data")
        settings: dict[str, Schema] = {name: {} for name in SOURCE_KEYS}
        settings["tokenizer"] = keys["tokenizer"]
        mixture = {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "number"},
        }
        sources = _values_of(anyOf=[STRINGS, mixture, self.source("source", settings)])
        options = {name: {} if name == "batch_size" else STRING for name in BATCH_KEYS}
        batch = _closed({**self.task_arguments(None), **options, "batch_size": AMOUNT})
        for name, schema in (
            ("sources", sources),
            ("batches", _values_of(**batch)),
            ("batch_size", AMOUNT),
        ):
            keys[name] = {**schema, "description": DATA[name].meaning}
        return self.source("data", keys)

    def evaluation(self) -> Schema:
        """Return the schema of `eval`: shared settings, and mappings that are named evaluations."""
        keys = self.keys("eval")
        keys["metrics"] |= {"items": _one_of(self.names.metrics)}
        keys["evaluator"] = {
            **_one_of(self.names.evaluators),
            "description": EVAL["evaluator"].meaning,
        }
        arguments: dict[str, Schema] = {}
        for name in self.names.evaluators.names():
            declaration = self.names.evaluators.declaration(name)
            parameters = {**declaration.arguments, **declaration.options}
            for argument, schema in _parameters(parameters, EVALUATOR_ARGUMENTS).items():
                arguments[argument] = (
                    schema if arguments.get(argument, schema) == schema else {}
                )
        named = _closed({**arguments, **keys})
        evaluation = self.defined("evaluation", _or_empty(named))
        return {**named, "additionalProperties": evaluation}
