"""Check stage 2, what is measured: the evaluations of a spec, their goals, metrics, sources and splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.checks.collector import Collector
from registry.checks.measured import goals_by_name
from registry.checks.setting_names import setting_hint
from registry.checks.sources import SourceChecker
from registry.errors import UserError
from registry.evaluations import evaluation_settings
from registry.language.binding import value_problem
from registry.language.declaration import Parameter
from registry.language.schema import EVAL, EVALUATIONS, EVALUATOR_ARGUMENTS, SPLITS
from registry.registries import Registry, closest_name
from registry.sources import SHORT_SOURCE


class EvaluationChecker(Collector):
    """Checks the shared settings of `eval`, and each named evaluation."""

    def __init__(self, sources: SourceChecker) -> None:
        super().__init__(sources.spec, sources.names)
        self.splits = sources.splits
        self.evaluations()

    def evaluations(self) -> None:
        """Check the shared settings of `eval`, and each named evaluation."""
        named: Mapping[str, Any] = self.spec.eval.get(EVALUATIONS) or {}
        # What is not a key of `eval` is an argument of the evaluator.
        shared = {}
        for key, value in self.spec.eval.items():
            if key not in EVAL and key != EVALUATIONS:
                shared[key] = value
        shared_evaluator = self.spec.eval.get("evaluator")
        meant_by_all = self.arguments(("eval",), shared, shared_evaluator)
        for name, settings in evaluation_settings(self.spec.eval).items():
            if name and self.is_argument(name, shared_evaluator):
                continue
            path = ("eval", name) if name else ("eval",)
            evaluator = settings.get("evaluator")
            meant = set(meant_by_all)
            if name:
                self.named_settings(name, named[name])
                arguments = {
                    key: value for key, value in named[name].items() if key not in EVAL
                }
                meant |= self.arguments(path, arguments, evaluator)
            self.evaluation(path, settings)
            # With the shared settings, which may have the argument.
            self.missing(path, settings, evaluator, meant)

    def named_settings(self, name: str, settings: Mapping[str, Any]) -> None:
        """Check those keys of a named evaluation that all evaluations have."""
        for key, value in settings.items():
            if key in EVAL:
                parameter = Parameter(key, EVAL[key].annotation, EVAL[key].default)
                place = self.spec.place("eval", name, key)
                problem = value_problem(f"'eval.{name}.{key}'", parameter, value, place)
                self.problems.extend([problem] if problem else [])

    def arguments(
        self, path: tuple[str, ...], arguments: Mapping[str, Any], evaluator: Any
    ) -> set[str]:
        """Check arguments of an evaluator; return the names that unknown ones were probably meant to be."""
        meant: set[str] = set()
        parameters = self.parameters(evaluator)
        # `eval` itself takes arguments of the evaluator that it names; of another, its evaluation does.
        accepted = parameters if evaluator is not None or len(path) > 1 else {}
        for key, value in arguments.items():
            if key in accepted and value is None:
                continue  # The default is meant.
            if key in accepted:
                what = f"argument '{key}' of evaluator '{evaluator}'"
                if evaluator is None:
                    what = f"'{'.'.join((*path, key))}'"
                place = self.spec.place(*path, key)
                problem = value_problem(what, accepted[key], value, place)
                self.problems.extend([problem] if problem else [])
                continue
            hint = setting_hint("eval", key)
            if key in parameters:
                hint = f"name the evaluator that has this argument: `eval: {{evaluator: ..., {key}: ...}}`"
            what = f"key of '{'.'.join(path)}':"
            place = self.spec.key_place(*path, key)
            self.unknown(place, what, key, [*EVAL, *accepted], hint)
            meant.add(closest_name(key, accepted) or "")
        return meant

    def missing(
        self,
        path: tuple[str, ...],
        settings: Mapping[str, Any],
        evaluator: Any,
        meant: set[str],
    ) -> None:
        """Report each required argument of an evaluator that is not set, nor ``meant`` by another key."""
        if not self.is_registered(evaluator):
            return
        for name, parameter in self.parameters(evaluator).items():
            if parameter.required and settings.get(name) is None and name not in meant:
                where = ".".join(path)
                message = f"{where} must set '{name}' of evaluator '{evaluator}', but does not"
                hint = f"add `{name}: ...` ({parameter.annotation or 'any value'})"
                self.wrong(self.spec.place(*path, "evaluator"), message, hint)

    def is_argument(self, name: str, evaluator: Any) -> bool:
        """Report a named evaluation that was meant as an argument: a mapping is always an evaluation."""
        if not self.is_registered(evaluator) or name not in self.parameters(evaluator):
            return False
        message = f"'eval.{name}' is a named evaluation, since it is a mapping"
        hint = f"as an argument of '{evaluator}': `eval: {{NAME: {{evaluator: {evaluator}, {name}: ...}}}}`"
        self.wrong(self.spec.key_place("eval", name), message, hint)
        return True

    def is_registered(self, evaluator: Any) -> bool:
        """Return whether a setting names an evaluator that exists."""
        return isinstance(evaluator, str) and evaluator in self.names.evaluators

    def parameters(self, evaluator: Any) -> dict[str, Parameter]:
        """Return the arguments that an evaluator takes from a spec; those of any if none is named."""
        evaluators = self.names.evaluators
        parameters: dict[str, Parameter] = {}
        for name in (
            [evaluator] if self.is_registered(evaluator) else evaluators.names()
        ):
            try:
                declaration = evaluators.declaration(name)
            except UserError:  # Reported where an evaluation names the evaluator.
                continue
            # An evaluator is a class or a function.
            of_evaluator = {**declaration.arguments, **declaration.options}
            for key, parameter in of_evaluator.items():
                if key not in EVALUATOR_ARGUMENTS:
                    parameters.setdefault(key, parameter)
        return parameters

    def evaluation(self, path: tuple[str, ...], settings: Mapping[str, Any]) -> None:
        """Check what an evaluation measures: its goal, metrics, evaluator, source and split."""
        metrics, evaluator = settings.get("metrics"), settings.get("evaluator")
        try:
            self.evaluation_goal(path, settings.get("goal"), metrics, evaluator)
        except UserError as error:  # The evaluator cannot be read.
            self.wrong(self.spec.place(*path, "evaluator"), str(error))
        for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
            if isinstance(metric, str) and metric not in self.names.metrics:
                place = self.spec.place(*path, "metrics", index)
                self.unknown(place, "metric", metric, self.names.metrics.names())
        self.registered(path, settings, "evaluator", self.names.evaluators)
        if settings.get("rerank") and "rerank" not in self.spec.goals:
            message = "to re-rank, a spec must have a goal 'rerank'"
            hint = "`rerank: {score: <logits of 2 classes>}`"
            self.wrong(self.spec.place(*path, "rerank"), message, hint)
        source = settings.get("source")
        # A value of another type, which a set cannot hold, is reported by the schema.
        if isinstance(source, str) and source not in self.splits:
            self.unknown(
                self.spec.place(*path, "source"), "source", source, self.splits
            )
        elif self.splits:
            self.split(path, source, settings.get("split"))

    def split(self, path: tuple[str, ...], source: Any, split: Any) -> None:
        """Check that the source of an evaluation has the split that the evaluation names itself."""
        source = source or self.spec.data.get("source") or next(iter(self.splits))
        if not isinstance(source, str) or not isinstance(split, str):
            return  # The schema reports it.
        if self.spec.node(*path, "split") is None or split in self.splits.get(
            source, ()
        ):
            return
        # A resolved spec writes the default split of `eval`, which its data may lack.
        if len(path) == 1 and split in SPLITS:
            return
        evaluation = f" of evaluation '{path[1]}'" if len(path) > 1 else ""
        owner = f"source '{source}'{evaluation}"
        if source == SHORT_SOURCE:
            owner = "'data'"
        message = f"{owner} has no split '{split}'"
        self.wrong(self.spec.place(*path, "split"), message, self._splits(source))

    def registered(
        self,
        path: tuple[str, ...],
        settings: Mapping[str, Any],
        key: str,
        registry: Registry,
    ) -> None:
        name = settings.get(key)
        if isinstance(name, str) and name not in registry:
            place = self.spec.place(*path, key)
            self.unknown(place, registry.kind, name, registry.names())

    def evaluation_goal(
        self, path: tuple[str, ...], goal: Any, metrics: Any, evaluator: Any
    ) -> None:
        evaluators = self.names.evaluators
        if self.is_registered(evaluator) and evaluators.declaration(evaluator).goals:
            return  # It computes other goals.
        measured = self._measured(metrics)
        # A resolved spec writes the default, too, which may go unused.
        is_needed = measured or goal != EVAL["goal"].default
        named = self.spec.node(*path, "goal") is not None and is_needed
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
            if metric not in registry:
                return True
            # Metrics of retrieval name the goals that they measure.
            if goals.isdisjoint(registry.declaration(metric).inputs):
                return True
        return False

    def _splits(self, source: str) -> str:
        splits = sorted(self.splits.get(source, ()))
        return f"splits of '{source}': {', '.join(splits) or 'none'}"
