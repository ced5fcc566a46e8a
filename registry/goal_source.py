"""Which source a goal reads outside of training: its tokenizer and its options apply in prediction, too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.planner import plan
from registry.registries import TASKS
from registry.sources import SHORT_SOURCE, SourceSpec
from registry.training import TrainingPlan, training_plan

if TYPE_CHECKING:
    from registry import Spec


@dataclass(frozen=True)
class GoalSource:
    """The source of a goal, and the split whose arguments win over those of the source."""

    source: SourceSpec
    split: str

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the source for this split."""
        return {**self.source.arguments, **self.source.splits.get(self.split, {})}


def source_of_goal(spec: Spec, goal: str) -> GoalSource | None:
    """Return the source that a goal is evaluated on, or else trained on; None if no source has a task.

    It is the first whose task supplies all inputs of the goal: evaluations and batches of the goal come
    first, then all others.
    """
    candidates = list(_candidates(spec, training_plan(spec), goal))
    required = set(plan(spec, goal).inputs) if goal in spec.goals else set()
    for candidate in candidates:
        if required <= set(TASKS.declaration(candidate.source.task or "").outputs):
            return candidate
    return candidates[0] if candidates else None


def goal_arguments(spec: Spec, goal: str) -> dict[str, Any]:
    """Return the arguments of the source that a goal reads; without a source those of `data`."""
    goal_source = source_of_goal(spec, goal)
    return dict(spec.data) if goal_source is None else goal_source.arguments


def goal_tokenizer(spec: Spec, goal: str) -> str | None:
    """Return the name of the tokenizer of the source that a goal reads, or else that of `data`."""
    name: str | None = goal_arguments(spec, goal).get("tokenizer") or spec.data.get(
        "tokenizer"
    )
    return name


def tokenizer_key(spec: Spec, goal: str) -> str:
    """Return the key of a spec that sets the tokenizer of a goal, for overrides."""
    goal_source = source_of_goal(spec, goal)
    if (
        goal_source is None
        or goal_source.source.name == SHORT_SOURCE
        or "tokenizer" not in goal_source.source.arguments
    ):
        return "data.tokenizer"
    return f"data.sources.{goal_source.source.name}.tokenizer"


def _candidates(spec: Spec, training: TrainingPlan, goal: str) -> Iterator[GoalSource]:
    """Yield the sources of a spec that have a task, the most likely one of a goal first."""
    used: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for evaluation in training.evaluations:
        fitting = used if evaluation.goal == goal else others
        fitting.append((evaluation.source, evaluation.split))
    for batch in training.batches.values():
        fitting = used if goal in training.goals_of(batch.name) else others
        fitting.append((batch.source, spec.eval["split"]))
    others += [(name, spec.eval["split"]) for name in training.sources]
    for name, split in used + others:
        source = training.sources[name]
        while source.mixture:  # All sources of a mixture have the same task.
            source = training.sources[next(iter(source.mixture))]
        if source.task is not None:
            yield GoalSource(source, split)
