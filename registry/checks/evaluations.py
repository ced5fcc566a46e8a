"""Check stage 2, what is measured: the evaluations of a spec, their goals, metrics, sources and splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checks.collector import Collector
from registry.checks.measured import goals_by_name
from registry.checks.sources import SourceChecker
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.schema import EVAL, EVALUATIONS, EVALUATOR_ARGUMENTS, SPLITS
from registry.registries import Registry
from registry.training import SHORT_SOURCE


class EvaluationChecker(Collector):
    """Checks the shared settings of `eval`, and each named evaluation."""

    def __init__(self, sources: SourceChecker) -> None:
        super().__init__(sources.spec, sources.names)
        self.splits = sources.splits
        self.evaluations()

    def evaluations(self) -> None:
        """Check the shared settings of `eval`, and each named evaluation."""
        shared = self.spec.eval
        named: Mapping[str, Any] = shared.get(EVALUATIONS) or {}
        if not named:
            self.evaluation(("eval",), shared)
        for name, settings in named.items():
            if not settings:
                continue
            for key, value in settings.items():
                self.evaluation_key(name, key, value)
            self.evaluation(("eval", name), shared | settings)

    def evaluation_key(self, name: str, key: str, value: Any) -> None:
        """Check a key of a named evaluation: one of all evaluations, or an argument of its evaluator."""
        choices = {**dict.fromkeys(EVAL), **dict.fromkeys(self.evaluator_arguments(name))}
        if key not in choices:
            self.unknown(self.spec.key_place("eval", name, key), f"key of 'eval.{name}':", key, choices)
        elif key in EVAL:
            parameter = Parameter(key, EVAL[key].annotation, EVAL[key].default)
            place = self.spec.place("eval", name, key)
            problem = value_problem(f"'eval.{name}.{key}'", parameter, value, place)
            self.problems.extend([problem] if problem else [])

    def evaluator_arguments(self, name: str) -> list[str]:
        """Return the settings that the evaluator of an evaluation takes; of any, if it names none."""
        evaluators = self.names.evaluators
        chosen = self.spec.eval[EVALUATIONS][name].get("evaluator") or self.spec.eval.get("evaluator")
        arguments: list[str] = []
        for evaluator in [chosen] if chosen in evaluators else evaluators.names():
            declared = evaluators.declaration(str(evaluator)).arguments
            arguments += [argument for argument in declared if argument not in EVALUATOR_ARGUMENTS]
        return arguments

    def evaluation(self, path: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        goal, metrics = settings.get("goal"), settings.get("metrics")
        self.evaluation_goal(path, goal, metrics, settings.get("evaluator"))
        for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
            if isinstance(metric, str) and metric not in self.names.metrics:
                place = self.spec.place(*path, "metrics", index)
                self.unknown(place, "metric", metric, self.names.metrics.names())
        self.registered(path, settings, "evaluator", self.names.evaluators)
        if settings.get("rerank") and "rerank" not in self.spec.goals:
            message = "to re-rank, a spec must have a goal 'rerank'"
            self.wrong(self.spec.place(*path, "rerank"), message, "`rerank: {score: <logits of 2 classes>}`")
        source = settings.get("source")
        if source is not None and source not in self.splits:
            self.unknown(self.spec.place(*path, "source"), "source", str(source), self.splits)
        elif self.splits:
            self.split(path, source, settings.get("split"))

    def split(self, path: tuple[str, ...], source: str | None, split: Any) -> None:
        """Check that the source of an evaluation has the split that the evaluation names itself."""
        source = source or self.spec.data.get("source") or next(iter(self.splits))
        if self.spec.node(*path, "split") is None or split in self.splits.get(source, ()):
            return
        # A resolved spec writes the default split of `eval`, which its data may lack.
        if len(path) == 1 and split in SPLITS:
            return
        evaluation = f" of evaluation '{path[1]}'" if len(path) > 1 else ""
        described = "'data'" if source == SHORT_SOURCE else f"source '{source}'{evaluation}"
        message = f"{described} has no split '{split}'"
        self.wrong(self.spec.place(*path, "split"), message, self._splits(source))

    def registered(
        self, path: tuple[str, ...], settings: Mapping[str, Any], key: str, registry: Registry
    ) -> None:
        name = settings.get(key)
        if isinstance(name, str) and name not in registry:
            self.unknown(self.spec.place(*path, key), registry.kind, name, registry.names())

    def evaluation_goal(self, path: tuple[str, ...], goal: Any, metrics: Any, evaluator: Any) -> None:
        evaluators = self.names.evaluators
        registered = isinstance(evaluator, str) and evaluator in evaluators
        if registered and evaluators.declaration(evaluator).goals:
            return  # It computes other goals.
        measured = self._measured(metrics)
        # A resolved spec writes the default, too, which may go unused.
        named = self.spec.node(*path, "goal") is not None and (measured or goal != EVAL["goal"].default)
        if not isinstance(goal, str) or goal in self.spec.goals:
            return
        if named:
            self.unknown(self.spec.place(*path, "goal"), "goal", goal, self.spec.goals)
        elif measured:
            message = f"metrics measure goal '{goal}', but there is no such goal"
            hint = "add it to `goals`, or set `goal: ...` in `eval`"
            self.wrong(self.spec.place(*path, "metrics"), message, hint)

    def _measured(self, metrics: Any) -> bool:
        """Return whether a metric measures the one goal `eval.goal`, and not goals that its inputs name."""
        registry, goals = self.names.metrics, goals_by_name(self.names)
        for metric in metrics if isinstance(metrics, list) else ():
            if not isinstance(metric, str):
                continue
            if metric not in registry or not goals & set(registry.declaration(metric).inputs):
                return True
        return False

    def _splits(self, source: str) -> str:
        return f"splits of '{source}': {', '.join(sorted(self.splits.get(source, ()))) or 'none'}"
