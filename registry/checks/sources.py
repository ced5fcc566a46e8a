"""Check stage 2, the data: tasks and their arguments, sources, splits, mixtures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from registry.checks.collector import Collector
from registry.checks.setting_names import setting_hint
from registry.errors import Location, UserError
from registry.language.annotations import accepts
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.schema import COLOURS, DATA, INJECTED_ARGUMENTS, SHARED_ARGUMENTS
from registry.language.spec import Spec
from registry.registries import Registries, closest_name
from registry.splits import is_mixture, read_splits, splits_of, task_name

SOURCE_KEYS = ("task", "kind", "tokenizer")


class SourceChecker(Collector):
    """Checks the sources of `data`, and remembers their splits and tasks for the checks that follow."""

    def __init__(self, spec: Spec, names: Registries) -> None:
        super().__init__(spec, names)
        self.splits: dict[str, set[str]] = {}  # of each source
        self.tasks: dict[str, str] = {}  # of each source that has one
        self.readable = read_splits(spec)  # the names that a split may have
        if spec.data:
            self.data()

    def data(self) -> None:
        """Check the short or the long form of `data`; mixing them is a separate problem."""
        data = self.spec.data
        sources = data.get("sources")
        if sources is None:
            if data.get("batches") is not None:
                hint = "`sources: {pairs: {task: caption, train: {path: ..., media: ...}}}`"
                place = self.spec.key_place("data", "batches")
                self.wrong(place, "'data.batches' needs 'data.sources'", hint)
            self.source("data", ("data",), data)
            return
        if not isinstance(sources, dict):
            return  # its type is wrong, which is reported already
        for name, value in sources.items():
            if not is_mixture(value):
                self.named_source(name, value)
        self.defaults()
        # Last: the splits of a mixture are those of its sources.
        for name, value in sources.items():
            if is_mixture(value):
                self.mixture(name, value)

    def defaults(self) -> None:
        """Check that each key next to `sources` is an argument of one of their tasks, and not a split."""
        arguments: dict[str, list[Parameter]] = {}  # those of all tasks, by name
        for task in dict.fromkeys(self.tasks.values()):
            for name, parameter in self.task_arguments(task).items():
                arguments.setdefault(name, []).append(parameter)
        mappings = splits_of(self.spec.data, task_name(self.spec.data), self.names)
        for name in self.spec.data:
            if name in DATA and name not in mappings:
                continue
            if name in arguments:
                self.default(name, arguments[name])
                continue
            place = self.spec.key_place("data", name)
            if name in self.readable:
                message = (
                    f"with 'data.sources', the split '{name}' must be part of a source"
                )
                self.wrong(place, message, f"`sources: {{NAME: {{{name}: ...}}}}`")
            elif self.tasks:
                choices = [*arguments, *DATA]
                hint = setting_hint("data", name)
                self.unknown(place, "key of 'data':", name, choices, hint)

    def default(self, name: str, parameters: list[Parameter]) -> None:
        """Check the value of a key next to `sources`: it must fit at least one of the tasks that take it."""
        value, place = self.spec.data[name], self.spec.place("data", name)
        # Tasks may have arguments of one name and different types.
        chosen = parameters[0]
        for parameter in parameters:
            if accepts(parameter.annotation, value):
                chosen = parameter
                break
        self.argument(f"'data.{name}'", chosen, value, place)

    def named_source(self, name: str, value: Any) -> None:
        """Check a source of the long form."""
        path = ("data", "sources", name)
        if isinstance(value, dict):
            self.source(name, path, value)
            return
        hint = f"`{name}: {{task: caption, train: {{path: ..., media: ...}}}}`"
        message = f"source '{name}' must be a mapping or a list of sources"
        self.wrong(self.spec.place(*path), message, hint)

    def mixture(self, name: str, value: Any) -> None:
        """Check that a mixture lists other sources, by weights that are positive."""
        path = ("data", "sources", name)
        sources = self.spec.data["sources"]
        # A mixture of mixtures is refused: the weight of a sample would not be visible.
        plain = [other for other in sources if not is_mixture(sources[other])]
        weighted = isinstance(value, dict)
        for index, part in enumerate(value):
            place = self.spec.place(*path, index)
            if weighted:
                place = self.spec.key_place(*path, part)
            if part not in plain:
                self.unknown(place, f"source of mixture '{name}':", str(part), plain)
            elif weighted and not value[part] > 0:
                weight = value[part]
                message = (
                    f"the weight of source '{part}' must be positive, but is {weight}"
                )
                self.wrong(place, message)
        tasks = {self.tasks.get(part, "") for part in value if isinstance(part, str)}
        # Batches of a mixture of several tasks have no common options.
        if len(tasks) == 1 and "" not in tasks:
            self.tasks[name] = tasks.pop()
        parts = [self.splits[part] for part in value if part in self.splits]
        self.splits[name] = set.intersection(*parts) if parts else set()

    def source(
        self, name: str, path: tuple[str, ...], settings: Mapping[str, Any]
    ) -> None:
        """Check one source: its task, the arguments of the task, and that no split lacks a required one."""
        key_path = path if task_name(settings) is not None else ("data",)
        # The word that the file uses, for the place of the message.
        key = "task" if self.spec.node(*key_path, "task") is not None else "kind"
        task = settings.get(key) if key_path == path else self.spec.data.get(key)
        if task is None:
            listed = " ".join(self.names.tasks.names())
            what = "'data'" if path == ("data",) else f"source '{name}'"
            message = f"{what} must name its task, but does not"
            hint = f"add `task: ...`, one of: {listed}"
            self.wrong(self.spec.key_place(*path), message, hint)
            return
        if not isinstance(task, str):
            return  # its type is wrong, which is reported already
        task_place = self.spec.place(*key_path, key)
        if task not in self.names.tasks:
            self.unknown(task_place, "task", task, self.names.tasks.names())
            return
        try:
            arguments = self.task_arguments(task)
        except UserError as error:
            self.wrong(task_place, str(error))
            return
        self.tasks[name] = task
        self.source_arguments(name, path, settings, task, arguments)

    def argument(
        self, what: str, parameter: Parameter, value: Any, place: Location
    ) -> None:
        """Check the type of an argument, and the range of one that tasks share by name."""
        problem = value_problem(what, parameter, value, place)
        if problem is not None:
            self.problems.append(problem)
            return
        key = SHARED_ARGUMENTS.get(parameter.name)
        if key is None:
            return
        self.in_range(what, key, value, place)
        if isinstance(value, list) and len(value) != COLOURS:
            message = f"{what} must be one number or {COLOURS} (red, green, blue), but has {len(value)}"
            self.wrong(place, message)

    def task_arguments(self, task: str) -> dict[str, Parameter]:
        """Return the arguments of a task and of the sources that a spec may set; a task's own come first."""
        arguments = dict(self.names.tasks.declaration(task).arguments)
        for source in self.names.sources.names():
            declaration = self.names.sources.declaration(source)
            for name, parameter in declaration.arguments.items():
                # Not required: the kind of a source follows from the keys that a split sets.
                arguments.setdefault(name, replace(parameter, default=None))
        for name in INJECTED_ARGUMENTS:
            arguments.pop(name, None)
        return arguments

    def source_arguments(
        self,
        name: str,
        path: tuple[str, ...],
        settings: Mapping[str, Any],
        task: str,
        arguments: Mapping[str, Parameter],
    ) -> None:
        """Check the arguments that a source sets for all its splits, and those of each split."""
        splits = splits_of(settings, task, self.names)
        unread = [split for split in splits if split not in self.readable]
        # The split that a misspelt name means is not reported as missing, too.
        meant_splits = set()
        for split in unread:
            meant_splits.add(self.unread_split(name, path, split, arguments))
        self.splits[name] = set(splits) | meant_splits
        keys = tuple(DATA) if path == ("data",) else SOURCE_KEYS
        if path != ("data",):
            self.tokenizer(task, path, settings)
        shared = {}
        for key, value in settings.items():
            if key not in splits and key not in keys:
                shared[key] = value
        defaults = [key for key in self.spec.data if key not in DATA]
        # `kind` is an older word for `task`, which no message offers.
        choices = [*arguments, *(key for key in keys if key != "kind")]
        meant = self.arguments(task, path, shared, arguments, choices)
        for split, value in splits.items():
            if split in unread:
                continue
            meant_here = self.arguments(
                task, (*path, split), value, arguments, arguments
            )
            present = {*defaults, *shared, *value, *meant, *meant_here}
            self.missing_arguments((*path, split), task, arguments, present)

    def missing_arguments(
        self,
        path: tuple[str, ...],
        task: str,
        arguments: Mapping[str, Parameter],
        present: set[str],
    ) -> None:
        """Report the required arguments that a split lacks, or else that it names no samples."""
        where, place = ".".join(path), self.spec.key_place(*path)
        missing = False
        for argument, parameter in arguments.items():
            if parameter.required and argument not in present:
                missing = True
                message = (
                    f"{where} must set '{argument}' of task '{task}', but does not"
                )
                hint = f"add `{argument}: ...` ({parameter.annotation or 'any value'})"
                self.wrong(place, message, hint)
        # A source is found by its key, such as `path`.
        kinds = self.names.sources.names()
        if kinds and present.isdisjoint(kinds) and not missing:
            self.wrong(
                place, f"{where} needs samples", f"set one of: {', '.join(kinds)}"
            )

    def tokenizer(
        self, task: str, path: tuple[str, ...], settings: Mapping[str, Any]
    ) -> None:
        """Check the tokenizer that a source names in place of `data.tokenizer`."""
        if "tokenizer" not in settings:
            return
        place = self.spec.place(*path, "tokenizer")
        declared = self.names.tasks.declaration(task).arguments
        if "tokenizer" not in declared:
            message = f"task '{task}' reads no text, so that its source cannot have a tokenizer"
            self.wrong(self.spec.key_place(*path, "tokenizer"), message, "remove it")
            return
        parameter = Parameter("tokenizer", DATA["tokenizer"].annotation, None)
        what = f"'{'.'.join(path)}.tokenizer'"
        self.argument(what, parameter, settings["tokenizer"], place)

    def unread_split(
        self,
        source: str,
        path: tuple[str, ...],
        split: str,
        arguments: Mapping[str, Parameter],
    ) -> str:
        """Report a mapping that is not a split that something reads; return the name that was probably meant.

        It is a misspelt split or argument, or a split that no evaluation names.
        """
        place = self.spec.key_place(*path, split)
        candidates = [*sorted(self.readable), *arguments]
        suggestion = closest_name(split, candidates)
        described = "'data'" if path == ("data",) else f"source '{source}'"
        message = f"no batch and no evaluation reads the split '{split}' of {described}"
        hint = f"`eval: {{{split}: {{split: {split}}}}}`"
        if suggestion:
            hint = f"did you mean '{suggestion}'?"
        self.wrong(place, message, hint)
        return suggestion or split

    def arguments(
        self,
        task: str,
        path: tuple[str, ...],
        settings: Mapping[str, Any],
        arguments: Mapping[str, Parameter],
        choices: Iterable[str],
    ) -> set[str]:
        """Check arguments of a task; return the names that unknown ones were probably meant to be."""
        choices = list(choices)
        meant: set[str] = set()
        for name, value in settings.items():
            if name in arguments:
                what = f"argument '{name}' of task '{task}'"
                self.argument(
                    what, arguments[name], value, self.spec.place(*path, name)
                )
            else:
                what = f"key of '{'.'.join(path)}' with task '{task}':"
                place = self.spec.key_place(*path, name)
                self.unknown(place, what, name, choices, setting_hint("data", name))
                meant.add(closest_name(name, arguments) or "")
        return meant
