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
        for name in (
            node.value if node is not None and isinstance(node.value, dict) else ()
        ):
            if name in values.get(EVALUATIONS, ()):
                continue
            value = values[name]
            if name in schema:
                self.value(
                    f"{section}.{name}",
                    schema[name],
                    value,
                    self.spec.place(section, name),
                )
            elif section not in (
                "data",
                "eval",
            ):  # Their arguments are checked separately.
                place, meant = (
                    self.spec.key_place(section, name),
                    setting_hint(section, name),
                )
                self.unknown(place, f"key of '{section}':", name, schema, meant)

    def value(self, what: str, key: Key, value: Any, place: Location) -> None:
        problem = value_problem(
            f"'{what}'", Parameter(what, key.annotation, key.default), value, place
        )
        if problem is not None:
            self.problems.append(problem)
        elif value == {} and what == "train.lr":
            self.wrong(
                place,
                "'train.lr' must hold a rate, but is empty",
                "`lr: {default: 2e-5}`",
            )
        else:
            self.in_range(f"'{what}'", key, value, place)

    def registered(self, key: str, registry: Registry) -> None:
        """Check that `train` names registered things under a key, which holds a name or a list of names."""
        if self.spec.node("train", key) is None:
            return
        value = self.spec.train[key]
        for index, name in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(name, str) and name not in registry:
                path = (
                    ("train", key, index) if isinstance(value, list) else ("train", key)
                )
                self.unknown(
                    self.spec.place(*path), registry.kind, name, registry.names()
                )
