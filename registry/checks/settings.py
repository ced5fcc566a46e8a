"""The settings sections against their schema, the reader that `data` names, the metrics that `eval` names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from registry.errors import Place, Problem, UserError
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.schema import DATA, NAMED_GOALS, SETTINGS, SPLITS, SUPPLIED, Key
from registry.language.spec import Spec
from registry.registries import Catalogue, nearest


def check_settings(spec: Spec, names: Catalogue) -> list[Problem]:
    """Return every problem of momentum, data, train and eval: keys, values, reader, goal, metrics."""
    checker = _Settings(spec, names)
    for section, schema in SETTINGS.items():
        checker.section(section, schema)
    if spec.data:
        checker.data()
    checker.eval()
    return checker.problems


def matches_module(pattern: str, modules: Iterable[str]) -> bool:
    """Return whether a pattern of parameters can match: its first word, up to a wildcard, names a module."""
    first = re.match(r"[^.*?\[]*", pattern)
    begin = first.group() if first else ""
    if len(begin) < len(pattern) and pattern[len(begin)] != ".":
        return any(name.startswith(begin) for name in modules)
    return begin in modules


class _Settings:
    def __init__(self, spec: Spec, names: Catalogue) -> None:
        self.spec, self.names = spec, names
        self.problems: list[Problem] = []

    def wrong(self, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(place, message, hint))

    def unknown(self, place: Place, what: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        near = nearest(name, known)
        hint = f"did you mean '{near}'?" if near else f"one of {', '.join(known)}" if known else ""
        self.wrong(place, f"unknown {what} '{name}'", hint)

    def section(self, section: str, schema: Mapping[str, Key]) -> None:
        """Check the keys that a section sets; those of a reader are checked by `data`."""
        node = self.spec.node(section)
        for name in node.value if node is not None and isinstance(node.value, dict) else ():
            value = getattr(self.spec, section)[name]
            if name in schema:
                self.value(f"{section}.{name}", schema[name], value, self.spec.place(section, name))
            elif section != "data":
                self.unknown(self.spec.key_place(section, name), f"key of '{section}':", name, schema)

    def value(self, what: str, key: Key, value: Any, place: Place) -> None:
        problem = value_problem(f"'{what}'", Parameter(what, key.annotation, key.default), value, place)
        if problem is not None:
            self.problems.append(problem)
        elif value == {} and what == "train.lr":
            self.wrong(place, "'train.lr' must hold a rate, but is empty", "`lr: {default: 2e-5}`")
        elif key.least is not None:
            numbers = (
                value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            )
            for number in (one for one in numbers if isinstance(one, int | float)):
                if number < key.least:
                    self.wrong(place, f"'{what}' must be at least {key.least:g}, but is {number:g}")
                elif number > key.most:
                    self.wrong(place, f"'{what}' must be at most {key.most:g}, but is {number:g}")
                elif number >= key.below:
                    self.wrong(place, f"'{what}' must be less than {key.below:g}, but is {number:g}")

    def data(self) -> None:
        spec, kind = self.spec, self.spec.data.get("kind")
        if kind is None:
            known = " ".join(self.names.tasks.names())
            message = "'data' must name its reader by 'kind', but does not"
            self.wrong(spec.key_place("data"), message, f"add `kind: ...`, one of: {known}")
            return
        if not isinstance(kind, str):
            return
        if kind not in self.names.tasks:
            self.unknown(spec.place("data", "kind"), "reader", kind, self.names.tasks.names())
            return
        try:
            arguments = self.names.tasks.declaration(kind).arguments
        except UserError as error:
            self.wrong(spec.place("data", "kind"), str(error))
            return
        arguments = {name: one for name, one in arguments.items() if name not in SUPPLIED}
        shared = {name: one for name, one in spec.data.items() if name not in DATA}
        wrong = self.arguments(kind, ("data",), shared, arguments, [*arguments, *DATA])
        for split in SPLITS:
            given = spec.data.get(split)
            if not isinstance(given, dict):
                continue
            wrong_here = self.arguments(kind, ("data", split), given, arguments, arguments)
            for name, parameter in arguments.items():
                if parameter.required and name not in {*shared, *given, *wrong, *wrong_here}:
                    message = f"data.{split} must set '{name}' of reader '{kind}', but does not"
                    hint = f"add `{name}: ...` ({parameter.annotation or 'any value'})"
                    self.wrong(spec.key_place("data", split), message, hint)

    def arguments(
        self,
        kind: str,
        path: tuple[str, ...],
        given: Mapping[str, Any],
        arguments: Mapping[str, Parameter],
        known: Iterable[str],
    ) -> set[str]:
        """Check arguments of a reader; return the names that the unknown ones were probably meant to be."""
        meant: set[str] = set()
        for name, value in given.items():
            if name in arguments:
                what = f"argument '{name}' of reader '{kind}'"
                problem = value_problem(what, arguments[name], value, self.spec.place(*path, name))
                self.problems.extend([problem] if problem else [])
            else:
                what = f"key of '{'.'.join(path)}' with reader '{kind}':"
                self.unknown(self.spec.key_place(*path, name), what, name, known)
                meant.add(nearest(name, arguments) or "")
        return meant

    def eval(self) -> None:
        spec, goal, metrics = self.spec, self.spec.eval.get("goal"), self.spec.eval.get("metrics")
        measured = self._measured(metrics)
        # a resolved spec writes the default, too, which may go unused
        named = spec.node("eval", "goal") is not None and (
            measured or goal != SETTINGS["eval"]["goal"].default
        )
        if isinstance(goal, str) and goal not in spec.goals and named:
            self.unknown(spec.place("eval", "goal"), "goal", goal, spec.goals)
        elif isinstance(goal, str) and goal not in spec.goals and measured:
            message = f"metrics measure goal '{goal}', but there is no such goal"
            self.wrong(
                spec.place("eval", "metrics"), message, "add it to `goals`, or set `goal: ...` in `eval`"
            )
        for at, metric in enumerate(metrics if isinstance(metrics, list) else ()):
            if isinstance(metric, str) and metric not in self.names.metrics:
                self.unknown(spec.place("eval", "metrics", at), "metric", metric, self.names.metrics.names())
        if spec.eval.get("rerank") and "rerank" not in spec.goals:
            message = "to re-rank, a spec must have a goal 'rerank'"
            self.wrong(spec.place("eval", "rerank"), message, "`rerank: {score: <logits of 2 classes>}`")
        self.select(spec.train.get("select"), metrics)

    def select(self, chosen: Any, metrics: Any) -> None:
        """Check that a metric gives the value by which the best checkpoint is chosen."""
        if not isinstance(chosen, str) or not isinstance(metrics, list):
            return
        names = [one for one in metrics if isinstance(one, str) and one in self.names.metrics]
        known = [self.names.metrics.declaration(one).outputs for one in names]
        values = [name for outputs in known for name in outputs]
        # a metric of another package may not say what its values are
        if metrics and len(known) == len(metrics) and all(known) and chosen not in values:
            near = nearest(chosen, values)
            message = f"train.select must be one of {', '.join(values)}, but is '{chosen}'"
            self.wrong(self.spec.place("train", "select"), message, f"did you mean '{near}'?" if near else "")

    def _measured(self, metrics: Any) -> bool:
        """Return whether a metric measures the one goal `eval.goal`, and not goals that its inputs name."""
        known = self.names.metrics
        return any(
            one not in known or not set(known.declaration(one).inputs) & set(NAMED_GOALS)
            for one in (metrics if isinstance(metrics, list) else ())
            if isinstance(one, str)
        )
