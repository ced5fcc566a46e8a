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
                hint = (
                    "`sources: {pairs: {task: caption, train: {path: ..., media: ...}}}`"
                )
                self.wrong(
                    self.spec.key_place("data", "batches"),
                    "'data.batches' needs 'data.sources'",
                    hint,
                )
            self.source("data", ("data",), data)
            return
        if not isinstance(sources, dict):
            return  # its type is wrong, which is reported already
        for name, value in sources.items():
            if not is_mixture(value):
                self.named_source(name, value)
        self.defaults()
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
                self.unknown(
                    place, "key of 'data':", name, choices, setting_hint("data", name)
                )

    def default(self, name: str, parameters: list[Parameter]) -> None:
        """Check the value of a key next to `sources`: it must fit at least one of the tasks that take it."""
        value, place = self.spec.data[name], self.spec.place("data", name)
        fitting = [
            parameter for parameter in parameters if accepts(parameter.annotation, value)
        ]
        self.argument(f"'data.{name}'", (fitting or parameters)[0], value, place)

    def named_source(self, name: str, value: Any) -> None:
        """Check a source of the long form."""
        path = ("data", "sources", name)
        if isinstance(value, dict):
            self.source(name, path, value)
            return
        hint = f"`{name}: {{task: caption, train: {{path: ..., media: ...}}}}`"
        self.wrong(
            self.spec.place(*path),
            f"source '{name}' must be a mapping or a list of sources",
            hint,
        )

    def mixture(self, name: str, value: Any) -> None:
        """Check that a mixture lists other sources, by weights that are positive."""
        path = ("data", "sources", name)
        sources = self.spec.data["sources"]
        plain = [other for other in sources if not is_mixture(sources[other])]
        for index, part in enumerate(value):
            weighted = isinstance(value, dict)
            place = (
                self.spec.key_place(*path, part)
                if weighted
                else self.spec.place(*path, index)
            )
            if part not in plain:
                self.unknown(place, f"source of mixture '{name}':", str(part), plain)
            elif weighted and not value[part] > 0:
                self.wrong(
                    place,
                    f"the weight of source '{part}' must be positive, but is {value[part]}",
                )
        tasks = {self.tasks.get(part, "") for part in value if isinstance(part, str)}
        if len(tasks) == 1 and "" not in tasks:
            self.tasks[name] = tasks.pop()
        parts = [self.splits[part] for part in value if part in self.splits]
        self.splits[name] = set.intersection(*parts) if parts else set()

    def source(
        self, name: str, path: tuple[str, ...], settings: Mapping[str, Any]
    ) -> None:
        """Check one source: its task, the arguments of the task, and that no split lacks a required one."""
        key_path = path if task_name(settings) is not None else ("data",)
        key = "task" if self.spec.node(*key_path, "task") is not None else "kind"
        task = settings.get(key) if key_path == path else self.spec.data.get(key)
        if task is None:
            listed = " ".join(self.names.tasks.names())
            what = "'data'" if path == ("data",) else f"source '{name}'"
            hint = f"add `task: ...`, one of: {listed}"
            self.wrong(
                self.spec.key_place(*path),
                f"{what} must name its task, but does not",
                hint,
            )
            return
        if not isinstance(task, str):
            return  # its type is wrong, which is reported already
        if task not in self.names.tasks:
            self.unknown(
                self.spec.place(*key_path, key), "task", task, self.names.tasks.names()
            )
            return
        try:
            arguments = self.task_arguments(task)
        except UserError as error:
            self.wrong(self.spec.place(*key_path, key), str(error))
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
            for name, parameter in self.names.sources.declaration(
                source
            ).arguments.items():
                arguments.setdefault(name, replace(parameter, default=None))
        return {
            name: parameter
            for name, parameter in arguments.items()
            if name not in INJECTED_ARGUMENTS
        }

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
        meant_splits = {
            self.unread_split(name, path, split, arguments) for split in unread
        }
        self.splits[name] = set(splits) | meant_splits
        keys = tuple(DATA) if path == ("data",) else SOURCE_KEYS
        if path != ("data",):
            self.tokenizer(task, path, settings)
        shared = {
            key: value
            for key, value in settings.items()
            if key not in splits and key not in keys
        }
        defaults = {
            key: value for key, value in self.spec.data.items() if key not in DATA
        }
        choices = [*arguments, *(key for key in keys if key != "kind")]
        meant = self.arguments(task, path, shared, arguments, choices)
        for split, value in splits.items():
            if split in unread:
                continue
            meant_here = self.arguments(task, (*path, split), value, arguments, arguments)
            present = {*defaults, *shared, *value, *meant, *meant_here}
            missing = [
                key
                for key, parameter in arguments.items()
                if parameter.required and key not in present
            ]
            kinds = self.names.sources.names()
            if kinds and present.isdisjoint(kinds) and not missing:
                listed = ", ".join(kinds)
                message = f"{'.'.join((*path, split))} needs samples"
                self.wrong(
                    self.spec.key_place(*path, split), message, f"set one of: {listed}"
                )
            for argument, parameter in arguments.items():
                if argument in missing:
                    where = ".".join((*path, split))
                    message = (
                        f"{where} must set '{argument}' of task '{task}', but does not"
                    )
                    hint = (
                        f"add `{argument}: ...` ({parameter.annotation or 'any value'})"
                    )
                    self.wrong(self.spec.key_place(*path, split), message, hint)

    def tokenizer(
        self, task: str, path: tuple[str, ...], settings: Mapping[str, Any]
    ) -> None:
        """Check the tokenizer that a source names in place of `data.tokenizer`."""
        if "tokenizer" not in settings:
            return
        place = self.spec.place(*path, "tokenizer")
        declared = self.names.tasks.declaration(task).arguments
        if "tokenizer" not in declared:
            message = (
                f"task '{task}' reads no text, so that its source cannot have a tokenizer"
            )
            self.wrong(self.spec.key_place(*path, "tokenizer"), message, "remove it")
            return
        parameter = Parameter("tokenizer", DATA["tokenizer"].annotation, None)
        self.argument(
            f"'{'.'.join(path)}.tokenizer'", parameter, settings["tokenizer"], place
        )

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
        hint = (
            f"did you mean '{suggestion}'?"
            if suggestion
            else f"`eval: {{{split}: {{split: {split}}}}}`"
        )
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
                self.argument(what, arguments[name], value, self.spec.place(*path, name))
            else:
                what = f"key of '{'.'.join(path)}' with task '{task}':"
                place = self.spec.key_place(*path, name)
                self.unknown(place, what, name, choices, setting_hint("data", name))
                meant.add(closest_name(name, arguments) or "")
        return meant
