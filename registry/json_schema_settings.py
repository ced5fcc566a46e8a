"""The JSON schemas of the settings sections, from the table of their keys and from the registries."""

from __future__ import annotations

from collections.abc import Mapping

from registry.checks.runners import FACTORY_PARAMETERS, OWN_KEYS
from registry.checks.sources import SOURCE_KEYS
from registry.checks.training import BATCH_KEYS, STEP_KEYS
from registry.json_schema_forms import (
    COUNT,
    STRING,
    STRINGS,
    Schema,
    closed,
    exact,
    if_key,
    in_range,
    one_of,
    or_empty,
    parameter_schemas,
    values_of,
    with_old_names,
)
from registry.language import aliases
from registry.language.annotations import json_schema
from registry.language.declaration import REQUIRED
from registry.language.schema import (
    DATA,
    EVAL,
    EVALUATOR_ARGUMENTS,
    INJECTED_ARGUMENTS,
    SETTINGS,
    SPLITS,
    TRAIN,
)
from registry.registries import Registries
from registry.training import LENGTHS

AMOUNT: Schema = {"anyOf": [COUNT, exact(tokens=COUNT)]}


class SettingsSchemas:
    """The schemas of the settings sections, from the table of their keys and from the registries."""

    def __init__(self, names: Registries) -> None:
        self.names = names
        # What several sections refer to, by name.
        self.definitions: dict[str, Schema] = {}

    def defined(self, name: str, schema: Schema) -> Schema:
        """Return a reference to a schema that is written once, under this name."""
        self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def keys(self, section: str) -> dict[str, Schema]:
        """Return the schema of each key of a section."""
        properties = {}
        for name, key in SETTINGS[section].items():
            schema = in_range(json_schema(key.annotation), key)
            schema = {**schema, "description": key.meaning}
            if key.default is not REQUIRED and key.default is not None:
                schema["default"] = key.default
            properties[name] = schema
        return with_old_names(properties, aliases.SETTINGS.get(section, {}))

    def train(self) -> Schema:
        """Return the schema of `train`: names from the registries, lengths and steps by their form."""
        properties = self.keys("train")
        length = self.length()
        for name, schema in (
            ("engine", one_of(self.names.engines)),
            ("loggers", {"type": "array", "items": one_of(self.names.loggers)}),
            ("optimizer", self.optimizer()),
            ("epochs", length),
            ("eval_every", length),
            ("save_every", length),
            ("iteration", {"type": "array", "items": self.step()}),
            ("micro_batch", {"anyOf": [AMOUNT, values_of(**AMOUNT)]}),
        ):
            key = TRAIN[name]
            described = {"description": key.meaning, "default": key.default}
            properties[name] = {**schema, **described}
        return closed(properties)

    def length(self) -> Schema:
        """Return the schema of a length: epochs, or a number of one unit."""
        above_zero = {"type": "number", "exclusiveMinimum": 0}
        properties = {**dict.fromkeys(LENGTHS, above_zero), "of": STRING}
        mapping = {**closed(properties), "minProperties": 1}
        # `of` alone is not a length: exactly one unit must be there.
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
        step = closed({name: forms[name] for name in STEP_KEYS})
        step["oneOf"] = [{"required": [name]} for name in ("draw", "all", "batch")]
        return step

    def optimizer(self) -> Schema:
        """Return the schema of an optimizer: a registered name, or a class, with or without options."""
        # `package.module:Class` is any class that can be imported: its options are open.
        import_path = {"type": "string", "pattern": ".:."}
        name = {"anyOf": [one_of(self.names.optimizers), import_path]}
        rules = []
        for optimizer in self.names.optimizers.names():
            declaration = self.names.optimizers.declaration(optimizer)
            parameters = {**declaration.arguments, **declaration.options}
            properties = parameter_schemas(parameters, FACTORY_PARAMETERS)
            properties |= {key: {} for key in OWN_KEYS}
            rules.append(if_key("name", optimizer, closed(properties)))
        mapping = {
            "type": "object",
            "properties": {"name": name},
            "required": ["name"],
            "allOf": rules,
        }
        return {"anyOf": [*name["anyOf"], mapping]}

    def task_arguments(self, task: str | None) -> dict[str, Schema]:
        """Return the arguments of a task and of all sources; those of all tasks if none is named."""
        tasks, sources = self.names.tasks, self.names.sources
        task_names = [task] if task else tasks.names()
        declarations = [tasks.declaration(name) for name in task_names]
        declarations += [sources.declaration(name) for name in sources.names()]
        properties: dict[str, Schema] = {}
        for declaration in declarations:
            arguments = parameter_schemas(declaration.arguments, INJECTED_ARGUMENTS)
            for argument, schema in arguments.items():
                present = properties.get(argument, schema)
                # The same argument may have another type in another task.
                differs = task is None and present != schema
                properties[argument] = {} if differs else present
        return with_old_names(properties, aliases.SOURCE_ARGUMENTS)

    def source(self, what: str, keys: Mapping[str, Schema]) -> Schema:
        """Return the schema of a source, or of `data` as one: its other mappings are splits."""
        rules = []
        # None: the task may be named in a file that this one extends, so all arguments are open.
        for task in (None, *self.names.tasks.names()):
            arguments = self.task_arguments(task)
            split = self.defined(f"split.{task or '*'}", or_empty(closed(arguments)))
            source = closed({**arguments, **keys})
            source["properties"] |= dict.fromkeys(SPLITS, split)
            # A split may have any name.
            source["additionalProperties"] = split
            then = self.defined(f"{what}.{task or '*'}", source)
            if task is None:
                named = {"anyOf": [{"required": ["task"]}, {"required": ["kind"]}]}
                rules.append({"if": {"not": named}, "then": then})
            else:
                rules += [if_key("task", task, then), if_key("kind", task, then)]
        task_names = one_of(self.names.tasks)
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
        sources = values_of(anyOf=[STRINGS, mixture, self.source("source", settings)])
        options = {name: {} if name == "batch_size" else STRING for name in BATCH_KEYS}
        batch = closed({**self.task_arguments(None), **options, "batch_size": AMOUNT})
        for name, schema in (
            ("sources", sources),
            ("batches", values_of(**batch)),
            ("batch_size", AMOUNT),
        ):
            keys[name] = {**schema, "description": DATA[name].meaning}
        return self.source("data", keys)

    def evaluation(self) -> Schema:
        """Return the schema of `eval`: shared settings, and mappings that are named evaluations."""
        keys = self.keys("eval")
        keys["metrics"] |= {"items": one_of(self.names.metrics)}
        evaluator = one_of(self.names.evaluators)
        keys["evaluator"] = {**evaluator, "description": EVAL["evaluator"].meaning}
        arguments: dict[str, Schema] = {}
        for name in self.names.evaluators.names():
            declaration = self.names.evaluators.declaration(name)
            parameters = {**declaration.arguments, **declaration.options}
            for argument, schema in parameter_schemas(
                parameters, EVALUATOR_ARGUMENTS
            ).items():
                # Two evaluators may have an argument of one name with different types.
                differs = arguments.get(argument, schema) != schema
                arguments[argument] = {} if differs else schema
        named = closed({**arguments, **keys})
        evaluation = self.defined("evaluation", or_empty(named))
        return {**named, "additionalProperties": evaluation}
