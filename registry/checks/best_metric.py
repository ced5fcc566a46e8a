"""Check stage 2, `train.best_metric`: it must be a value that an evaluation during training can report."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.errors import Problem
from registry.evaluations import EvaluationSpec
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries, closest_name
from registry.training import training_plan


@dataclass
class ReportedValues:
    """The values that the evaluations of a run declare, by the names under which they are reported.

    ``open_evaluations`` may report more: a metric or a named evaluator of them does not declare its values.
    """

    names: list[str] = field(default_factory=list)
    open_evaluations: list[EvaluationSpec] = field(default_factory=list)

    def allow(self, value: str) -> bool:
        """Return whether an evaluation may report a value."""
        prefixes = [evaluation.key("") for evaluation in self.open_evaluations]
        return value in self.names or any(
            value.startswith(prefix) for prefix in prefixes
        )

    def problem(self, spec: Spec, value: str) -> Problem:
        """Return the problem of a value that no evaluation reports."""
        choices = list(self.names)
        for evaluation in self.open_evaluations:
            choices.append(evaluation.key("..."))
        listed = ", ".join(choices)
        message = f"train.best_metric must be one of {listed}, but is '{value}'"
        suggestion = self._with_prefix(spec, value) or closest_name(value, self.names)
        hint = f"did you mean '{suggestion}'?" if suggestion else ""
        return Problem(spec.place("train", "best_metric"), message, hint)

    def _with_prefix(self, spec: Spec, value: str) -> str | None:
        """Return a value under the name of its evaluation, if it was written without that name."""
        for evaluation in training_plan(spec).evaluations:
            key = evaluation.key(value)
            # `cider` was written, `captions/cider` is reported.
            if key != value and "/" not in value and self.allow(key):
                return key
        return None


def best_metric_problems(spec: Spec, names: Registries = REGISTRIES) -> list[Problem]:
    """Return a problem if no evaluation gives the value by which the best checkpoint is selected, or by which
    a run stops early."""
    chosen = spec.train.get("best_metric")
    evaluations = training_plan(spec, names).evaluations
    # A spec without data leaves it open what is measured.
    if spec.data and all(evaluation.train_split is None for evaluation in evaluations):
        problems = []
        for name in ("best_metric", "early_stop"):
            if spec.train.get(name) is None:
                continue
            message = f"train.{name} needs an evaluation on a validation split, but the spec has none"
            hint = "set `eval: {metrics: [...]}` and `data: {val: {path: ...}}`"
            hint += f", or leave `train.{name}` out"
            problems.append(Problem(spec.place("train", name), message, hint))
        return problems
    if not isinstance(chosen, str):
        return []
    values = reported_values(spec, names)
    if values.allow(chosen) or not evaluations:
        return []
    return [values.problem(spec, chosen)]


def reported_values(spec: Spec, names: Registries = REGISTRIES) -> ReportedValues:
    """Return what metrics and evaluators declare, for all evaluations that training runs."""
    values = ReportedValues()
    for evaluation in training_plan(spec, names).evaluations:
        if spec.data and evaluation.train_split is None:
            continue  # It is not measured during training.
        complete = True
        for metric in evaluation.metrics:
            outputs = names.metrics.declaration(metric).outputs
            values.names += [evaluation.key(name) for name in outputs]
            # A metric that declares no values may report any.
            complete = complete and bool(outputs)
        if evaluation.evaluator is not None:
            declaration = names.evaluators.declaration(evaluation.evaluator)
            values.names += [evaluation.key(name) for name in declaration.outputs]
            complete = complete and declaration.declares_outputs
        if not complete:
            values.open_evaluations.append(evaluation)
    return values
