"""What a run trains and measures: sources, batches, the optimizer steps of an iteration, evaluations.

A spec has a short form (one source, one goal, one evaluation) or a long one (several of each, by name).
`training_plan` turns both into the same typed plan; `registry.checks.training` has checked it before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import UserError, require
from registry.evaluations import EvaluationSpec, read_evaluations
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries
from registry.sources import SourceSpec, read_sources

LOSS = "loss"  # the output that makes a goal trainable
LENGTHS = ("steps", "samples", "epochs")
DATA_DEFAULTS = ("source", "batch_size")  # keys of `data` that batches inherit


@dataclass(frozen=True)
class Length:
    """A number of optimizer steps, samples or epochs; epochs and samples are those of the batch ``of``."""

    unit: str
    number: float
    of: str | None = None


@dataclass(frozen=True)
class BatchSpec:
    """A named batch: which source feeds which goal, and in what amounts.

    ``batch_size`` counts samples (``tokens``: tokens) of an optimizer step over all ranks, ``micro_batch``
    (``micro_tokens``) those of one forward pass of a rank. The short form gives ``accumulation`` in place of
    ``batch_size``. ``arguments`` are options of the task for this batch.
    """

    name: str
    source: str
    goal: str
    split: str = "train"
    batch_size: int | None = None
    tokens: int | None = None
    micro_batch: int | None = None
    micro_tokens: int | None = None
    accumulation: int | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepSpec:
    """One optimizer step of an iteration: ``draw``, ``all`` or ``batch``, exactly one of the three.

    ``draw`` picks one batch by weight, the same on all ranks; ``all`` adds the gradients of several batches;
    ``batch`` named again means the samples that it had earlier in this iteration. ``reuse`` names outputs of
    that earlier step, which are handed in without their gradient. After ``until`` the step is left out.
    """

    draw: dict[str, float] = field(default_factory=dict)
    all: tuple[str, ...] = ()
    batch: str | None = None
    goal: str | None = None
    reuse: tuple[str, ...] = ()
    until: Length | None = None
    cache_gradients: tuple[str, ...] = ()

    @property
    def batches(self) -> tuple[str, ...]:
        """The batches that the step may use."""
        return (*self.draw, *self.all, *((self.batch,) if self.batch else ()))


@dataclass(frozen=True)
class TrainingPlan:
    """All sources, batches, optimizer steps and evaluations of a spec, by their names."""

    sources: dict[str, SourceSpec]
    batches: dict[str, BatchSpec]
    iteration: tuple[StepSpec, ...]
    evaluations: tuple[EvaluationSpec, ...]

    def goals_of(self, batch: str) -> list[str]:
        """Return the goals that a batch feeds in an iteration."""
        goals: dict[str, None] = {}
        for step in self.iteration:
            if batch in step.batches:
                # A mapping as an ordered set: steps may repeat a goal.
                goals[step.goal or self.batches[batch].goal] = None
        return list(goals)

    @property
    def main_batch(self) -> str:
        """The batch whose epochs count where a length names none: the first of the iteration."""
        return self.iteration[0].batches[0]


def training_plan(spec: Spec, names: Registries = REGISTRIES) -> TrainingPlan:
    """Return the plan of a checked spec; its iteration is empty if no goal can be trained."""
    require(spec, Spec, "spec")
    sources = read_sources(spec, names)
    batches = _batches(spec, sources)
    return TrainingPlan(
        sources, batches, _iteration(spec, batches), read_evaluations(spec, sources)
    )


def plan_of_loaders(plan: TrainingPlan, names: Iterable[str]) -> TrainingPlan:
    """Return a plan for loaders that the user made: one batch for the goal of each name."""
    batches = {name: BatchSpec(name, source="", goal=name) for name in names}
    # Loaders of the user have no weights.
    step = StepSpec(draw=dict.fromkeys(batches, 1.0))
    if len(batches) == 1:
        step = StepSpec(batch=next(iter(batches)))
    return TrainingPlan(plan.sources, batches, (step,), plan.evaluations)


def trainable_goals(spec: Spec) -> list[str]:
    """Return the goals with an output `loss`."""
    return [goal for goal, outputs in spec.goals.items() if LOSS in outputs]


def length_of(value: Any, unit: str = "epochs") -> Length:
    """Return the length that a setting writes: a number, `{steps: 500}`, `{epochs: 3, of: a}`."""
    if isinstance(value, dict):
        (unit,) = (key for key in value if key in LENGTHS)
        return Length(unit, value[unit], value.get("of"))
    return Length(unit, value)


def _batches(spec: Spec, sources: Mapping[str, SourceSpec]) -> dict[str, BatchSpec]:
    if not sources:
        return {}
    if spec.data.get("sources") is None:
        return _short_batch(spec, sources)
    batches = {}
    for name, value in (spec.data["batches"] or {}).items():
        settings: dict[str, Any] = {}
        for key in DATA_DEFAULTS:
            if spec.data.get(key) is not None:
                settings[key] = spec.data[key]
        settings |= value
        size, tokens = _amount(settings.pop("batch_size", None))
        micro, micro_tokens = _amount(_of_batch(spec.train["micro_batch"], name))
        batches[name] = BatchSpec(
            name,
            settings.pop("source"),
            # A batch that names no goal feeds the goal of its name.
            settings.pop("goal", name),
            settings.pop("split", "train"),
            batch_size=size,
            tokens=tokens,
            micro_batch=micro,
            micro_tokens=micro_tokens,
            # What is left are options of the task.
            arguments=settings,
        )
    return batches


def _short_batch(spec: Spec, sources: Mapping[str, SourceSpec]) -> dict[str, BatchSpec]:
    """Return the only batch of the short form; none where no goal has a loss, as in a spec to evaluate."""
    goals = trainable_goals(spec)
    if not goals:
        return {}
    (source,) = sources
    batch = BatchSpec(
        "train",
        source,
        goal="train" if "train" in goals else goals[0],
        # `train.batch_size` counts the samples of one forward pass of a rank.
        micro_batch=spec.train["batch_size"],
        accumulation=spec.train["grad_accumulation_steps"],
    )
    return {batch.name: batch}


def _of_batch(value: Any, name: str) -> Any:
    """Return the value of a setting for one batch: the same for all, or an entry of a mapping by batch."""
    # `{tokens: 4096}` is an amount for all batches, `{image: 8}` one by batch.
    if isinstance(value, dict) and "tokens" not in value:
        return value.get(name)
    return value


def _amount(value: Any) -> tuple[int | None, int | None]:
    """Return samples and tokens of an amount: `32`, or `{tokens: 4096}`; one of the two is None."""
    if isinstance(value, dict):
        return None, value["tokens"]
    return value, None


def _iteration(spec: Spec, batches: Mapping[str, BatchSpec]) -> tuple[StepSpec, ...]:
    if not batches:
        return ()
    entries = spec.train["iteration"]
    if entries is not None:
        return tuple(_step(spec, entry) for entry in entries)
    if len(batches) == 1:
        return (StepSpec(batch=next(iter(batches))),)
    # Without `train.iteration`, each step draws one of the batches, all with the same chance.
    return (StepSpec(draw=dict.fromkeys(batches, 1.0)),)


def _step(spec: Spec, entry: str | dict[str, Any]) -> StepSpec:
    """Return the optimizer step that an entry of `train.iteration` means; a name alone is a batch."""
    settings: dict[str, Any] = {"batch": entry} if isinstance(entry, str) else entry
    weights = settings.get("draw", {})
    # A cached stream may be named by the call that returns it; the network knows the expanded name.
    cached = [spec.stream(name).name for name in settings.get("cache_gradients", ())]
    return StepSpec(
        draw={name: float(weight) for name, weight in weights.items()},
        all=tuple(settings.get("all", ())),
        batch=settings.get("batch"),
        goal=settings.get("goal"),
        reuse=tuple(settings.get("reuse", ())),
        until=length_of(settings["until"]) if "until" in settings else None,
        cache_gradients=tuple(cached),
    )


def evaluation_of(
    spec: Spec, name: str, names: Registries = REGISTRIES
) -> EvaluationSpec:
    """Return the evaluation of a name; raise `UserError` with the names that there are."""
    evaluations = training_plan(spec, names).evaluations
    for evaluation in evaluations:
        if evaluation.name == name:
            return evaluation
    listed = ", ".join(evaluation.name for evaluation in evaluations if evaluation.name)
    place = spec.place("eval")
    message = (
        f"{place}: there is no evaluation '{name}'. Evaluations: {listed or 'none'}"
    )
    raise UserError(message)
