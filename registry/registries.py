"""The registries of everything that a spec can name; other packages add to them by entry points."""

from __future__ import annotations

from dataclasses import dataclass

from registry.language.declaration import Declaration
from registry.name_table import NameTable
from registry.name_table import closest_name as closest_name


class Registry(NameTable):
    """A table of classes and functions whose declarations are read without importing them."""

    def declaration(self, name: str) -> Declaration:
        """Return the declaration of a name, without importing it; raise `UserError`."""
        entry = self._entry(name)
        if entry.declaration is None:
            if entry.thing is None:
                entry.declaration = Declaration.read(entry.target)
            else:
                entry.declaration = Declaration.of(entry.thing)
        declaration: Declaration = entry.declaration
        return declaration

    def summary(self, name: str) -> str:
        """Return the first sentence of the docstring behind a name, without importing it."""
        return self.declaration(name).doc


MODULES = Registry("module", "mplug2.modules")
OPERATIONS = Registry("operation", "mplug2.operations")
TASKS = Registry(
    "task", "mplug2.tasks", requires=("outputs", "read", "encode", "question")
)
SOURCES = Registry(
    "source", "mplug2.sources", requires=("requests", "read", "blank", "names")
)
EVALUATORS = Registry(
    "evaluator", "mplug2.evaluators", requires=("goals", "update", "compute")
)
METRICS = Registry(
    "metric", "mplug2.metrics", requires=("inputs", "outputs", "compute")
)
LOGGERS = Registry("logger", "mplug2.loggers", requires=("log", "close"))
OPTIMIZERS = Registry("optimizer", "mplug2.optimizers")
ENGINES = Registry(
    "engine",
    "mplug2.engines",
    requires=("backward", "step", "save", "load", "consolidate"),
)
TOKENIZERS = Registry(
    "tokenizer", "mplug2.tokenizers", requires=("read", "encode", "pieces", "decode")
)
# Key maps are values and have no declaration to read, unlike classes and functions.
KEY_MAPS = NameTable("key map", "mplug2.key_maps", requires=("source", "roles", "rows"))


@dataclass(frozen=True)
class Registries:
    """The registries that a spec is checked against and built from."""

    modules: Registry = MODULES
    operations: Registry = OPERATIONS
    tasks: Registry = TASKS
    metrics: Registry = METRICS
    sources: Registry = SOURCES
    evaluators: Registry = EVALUATORS
    loggers: Registry = LOGGERS
    optimizers: Registry = OPTIMIZERS
    engines: Registry = ENGINES
    tokenizers: Registry = TOKENIZERS
    key_maps: NameTable = KEY_MAPS


REGISTRIES = Registries()
