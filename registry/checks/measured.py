"""Check stage 3, what is measured: metrics against the outputs of goals, by kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.checks.misfits import Misfit
from registry.errors import Location, Problem, UserError
from registry.evaluations import EvaluationSpec
from registry.language.declaration import Declaration
from registry.language.ports import Port, StreamType
from registry.language.spec import Spec
from registry.registries import Registries
from registry.training import training_plan


def goals_by_name(names: Registries) -> frozenset[str]:
    """Return the names of metric inputs that are goals, and not outputs of the evaluated goal.

    They are the inputs of evaluators that name their goals, such as `embed_vision` of retrieval.
    """
    goals: set[str] = set()
    for name in names.evaluators.names():
        declaration = names.evaluators.declaration(name)
        if declaration.goals:
            goals.update(declaration.goals, declaration.inputs)
    return frozenset(goals)


def check_measured(
    spec: Spec, names: Registries, types: dict[str, StreamType]
) -> list[Misfit]:
    """Return the misfits of all evaluations: a metric must find what it measures, in its kind."""
    misfits: list[Misfit] = []
    # Without goals nothing can be measured, which is reported already.
    if not any(len(outputs) for outputs in spec.goals.values()):
        return misfits
    checker = _Measured(spec, names, types)
    for evaluation in training_plan(spec, names).evaluations:
        misfits += checker.evaluation(evaluation)
    return misfits


class _Measured:
    def __init__(
        self, spec: Spec, names: Registries, types: dict[str, StreamType]
    ) -> None:
        self.spec, self.names, self.types = spec, names, types
        self.goals = goals_by_name(names)

    def evaluation(self, evaluation: EvaluationSpec) -> list[Misfit]:
        """Return the misfits of one evaluation."""
        problems: list[Problem] = []
        supplied = self.supplied(evaluation.evaluator)
        # Outputs of the goal, and the first metric that measures them.
        measured: dict[tuple[str, ...], str] = {}
        path = ("eval", evaluation.name) if evaluation.name else ("eval",)
        # The metrics of the short form, or those that named evaluations share.
        if self.spec.node(*path, "metrics") is None:
            path = ("eval",)
        for index, metric in enumerate(evaluation.metrics):
            location = self.spec.place(*path, "metrics", index)
            try:
                declaration = self.names.metrics.declaration(metric)
            except UserError as error:
                problems.append(Problem(location, str(error)))
                continue
            problems += self.metric(
                evaluation.goal, declaration, metric, location, supplied
            )
            outputs = []
            for name, port in declaration.inputs.items():
                if not port.optional and name not in self.goals:
                    outputs.append(name)
            if outputs:
                measured.setdefault(tuple(outputs), metric)
        # An evaluation runs one evaluator, which collects one form of output.
        if len(measured) > 1 and not problems:
            parts = []
            for names, metric in measured.items():
                parts.append(f"'{metric}' {_quoted(names)}")
            message = f"metrics must measure one output of goal '{evaluation.goal}', but {' and '.join(parts)}"
            hint = "name the metrics of one; evaluate again with those of the other"
            problems.append(Problem(self.spec.place(*path, "metrics"), message, hint))
        problems += self.evaluator(evaluation)
        return [Misfit(problem, ()) for problem in problems]

    def evaluator(self, evaluation: EvaluationSpec) -> list[Problem]:
        """Return a problem for each kind that a named evaluator measures and that the goal does not give."""
        name, outputs = evaluation.evaluator, self.spec.goals.get(evaluation.goal)
        if name is None or name not in self.names.evaluators or outputs is None:
            return []
        declaration = self.names.evaluators.declaration(name)
        if declaration.goals:
            return []  # It measures other goals.
        path = ("eval", evaluation.name) if evaluation.name else ("eval",)
        place = self.spec.place(*path, "evaluator")
        kinds: set[str] = set()
        described = []
        for key, ref in outputs.items():
            solved = self.types.get(ref.name)
            # A stream in a cycle has no type.
            described.append(f"{key}: {solved or '?'}")
            if solved is not None:
                kinds.add(solved.kind)
        problems = []
        for port in declaration.inputs.values():
            if port.optional or kinds & set(port.kinds):
                continue
            message = (
                f"evaluator '{name}' measures {' or '.join(port.kinds)}, which goal '{evaluation.goal}' "
                f"does not give (got {', '.join(described)})"
            )
            problems.append(Problem(place, message))
        return problems

    def supplied(self, evaluator: str | None) -> dict[str, Port]:
        """Return what an evaluator computes for metrics itself, in place of outputs of the goal."""
        evaluators = self.names.evaluators
        if evaluator is None or evaluator not in evaluators:
            return {}
        return evaluators.declaration(evaluator).supplies

    def metric(
        self,
        goal: str,
        declaration: Declaration,
        metric: str,
        location: Location,
        supplied: Mapping[str, Port],
    ) -> list[Problem]:
        """Return a problem for each output that the goal lacks or has in another kind than a metric needs."""
        outputs = self.spec.goals.get(goal, {})
        problems = []
        for name, port in declaration.inputs.items():
            ref = outputs.get(name)
            # The evaluator computes it, such as ranks from similarities.
            if name in supplied and set(supplied[name].kinds) & set(port.kinds):
                continue
            if name in self.goals and name in self.spec.goals:
                problems += self.measured_goal(name, port, metric)
            elif ref is None and not port.optional:
                message = f"metric '{metric}' measures output '{name}' ({port}), which goal '{goal}' has not"
                hint = f"outputs of the goal: {', '.join(outputs) or 'none'}"
                if name in self.goals:
                    message = f"metric '{metric}' measures goal '{name}' ({port}), but there is no such goal"
                    hint = f"goals: {', '.join(self.spec.goals)}"
                problems.append(Problem(location, message, hint))
            elif ref is not None and ref.name in self.types:
                solved = self.types[ref.name]
                if solved.kind not in port.kinds:
                    stream = f"stream '{ref.name}' (goal '{goal}') is {solved}"
                    message = f"metric '{metric}' measures '{name}' as {port.kind}, but {stream}"
                    problems.append(Problem(location, message))
        return problems

    def measured_goal(self, goal: str, port: Port, metric: str) -> list[Problem]:
        """Return the problem of a goal that a metric names and that has not one output of its kind."""
        # The outputs of such a goal may have any names, so the kind decides which is meant.
        described = []
        num_fitting = 0
        for stream in self.spec.goals[goal].values():
            solved = self.types.get(stream.name)
            if solved is not None:
                described.append(f"'{stream}' ({solved})")
                num_fitting += solved.kind in port.kinds
        if num_fitting == 1:
            return []
        listed = ", ".join(described) or "none"
        message = f"metric '{metric}' measures one {port.kind} of goal '{goal}', which gives {listed}"
        return [Problem(self.spec.key_place("goals", goal), message)]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
