"""The settings sections against their schema, and the data, training and evaluations that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checks.best_metric import best_metric_problems
from registry.checks.collector import Collector
from registry.checks.evaluations import EvaluationChecker
from registry.checks.runners import RunnerChecker
from registry.checks.setting_names import setting_hint
from registry.checks.sources import SourceChecker
from registry.checks.training import TrainingChecker
from registry.errors import Location, Problem
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.schema import EVALUATIONS, SETTINGS, Key
from registry.language.spec import Spec
from registry.registries import Registries, Registry


def check_settings(spec: Spec, names: Registries) -> list[Problem]:
    """Return every problem of momentum, data, train and eval."""
    checker = _Settings(spec, names)
    for section, schema in SETTINGS.items():
        checker.section(section, schema)
    checker.registered("engine", names.engines)
    checker.registered("loggers", names.loggers)
    sources = SourceChecker(spec, names)
    training, evaluations = TrainingChecker(sources), EvaluationChecker(sources)
    runners = RunnerChecker(spec, names)
    runners.check()
    problems = (
        checker.problems
        + runners.problems
        + sources.problems
        + training.problems
        + evaluations.problems
    )
    return problems or best_metric_problems(spec, names)


class _Settings(Collector):
    def section(self, section: str, schema: Mapping[str, Key]) -> None:
        """Check the keys that a section sets; those of a reader are checked by `data`."""
        node = self.spec.node(section)
        values = getattr(self.spec, section)
        if node is None or not isinstance(node.value, dict):
            return
        # Only what the file sets: defaults fit.
        for name in node.value:
            # A named evaluation, which is checked with the others.
            if name in values.get(EVALUATIONS, ()):
                continue
            if name in schema:
                place = self.spec.place(section, name)
                self.value(f"{section}.{name}", schema[name], values[name], place)
            # Other keys of `data` and `eval` are arguments, which are checked separately.
            elif section not in ("data", "eval"):
                place = self.spec.key_place(section, name)
                meant = setting_hint(section, name)
                self.unknown(place, f"key of '{section}':", name, schema, meant)

    def value(self, what: str, key: Key, value: Any, place: Location) -> None:
        parameter = Parameter(what, key.annotation, key.default)
        problem = value_problem(f"'{what}'", parameter, value, place)
        if problem is not None:
            self.problems.append(problem)
        # An empty mapping of rates would train nothing.
        elif value == {} and what == "train.lr":
            message = "'train.lr' must hold a rate, but is empty"
            self.wrong(place, message, "`lr: {default: 2e-5}`")
        else:
            self.in_range(f"'{what}'", key, value, place)

    def registered(self, key: str, registry: Registry) -> None:
        """Check that `train` names registered things under a key, which holds a name or a list of names."""
        if self.spec.node("train", key) is None:
            return
        value = self.spec.train[key]
        for index, name in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(name, str) and name not in registry:
                path: tuple[str | int, ...] = ("train", key)
                if isinstance(value, list):
                    path = (*path, index)
                place = self.spec.place(*path)
                self.unknown(place, registry.kind, name, registry.names())
