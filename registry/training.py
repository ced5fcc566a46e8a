"""What a run trains and measures: sources, batches, the optimizer steps of an iteration, evaluations.

A spec has a short form (one source, one goal, one evaluation) or in a long one (several of each, by
name). `training_plan` turns both into the same typed plan; `registry.checks.training` has judged it before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.errors import NOWHERE, Location, UserError, require
from registry.language.schema import DATA, EVAL, EVALUATIONS
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries
from registry.splits import is_mixture, splits_of, task_name

SHORT_SOURCE = "data"  # the name of the only source of the short form
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
class SourceSpec:
    """A named source: a task with its files for each split, or a mixture of other sources.

    ``mixture``: other sources and their weights; a weight of None means in proportion to their sizes.
    """

    name: str
    task: str | None
    arguments: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    mixture: dict[str, float | None] | None = None


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
class EvaluationSpec:
    """A named evaluation. ``name`` is empty in the short form; results are `name/value`, or else `value`.

    ``split`` is what `mplug2 eval` measures; ``train_split`` is measured during training, and None where
    there is none: a test split never selects a checkpoint.
    """

    name: str
    source: str
    split: str
    train_split: str | None
    goal: str
    evaluator: str | None
    metrics: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    place: Location = field(default=NOWHERE, compare=False)  # of its name in the spec

    @property
    def label(self) -> str:
        """How messages name it: the key of the spec."""
        return f"eval.{self.name}" if self.name else "eval"

    def key(self, value: str) -> str:
        """Return the name under which a value is reported."""
        return f"{self.name}/{value}" if self.name else value


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
                goals[step.goal or self.batches[batch].goal] = None
        return list(goals)

    @property
    def main_batch(self) -> str:
        """The batch whose epochs count where a length names none: the first of the iteration."""
        return self.iteration[0].batches[0]


def training_plan(spec: Spec, names: Registries = REGISTRIES) -> TrainingPlan:
    """Return the plan of a checked spec; its iteration is empty if no goal can be trained."""
    require(spec, Spec, "spec")
    sources = _sources(spec, names)
    batches = _batches(spec, sources)
    return TrainingPlan(
        sources, batches, _iteration(spec, batches), _evaluations(spec, sources)
    )


def plan_of_loaders(plan: TrainingPlan, names: Iterable[str]) -> TrainingPlan:
    """Return a plan for loaders that the user made: one batch for the goal of each name."""
    batches = {name: BatchSpec(name, source="", goal=name) for name in names}
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


def _sources(spec: Spec, names: Registries) -> dict[str, SourceSpec]:
    if not spec.data:
        return {}
    if spec.data.get("sources") is None:
        task = task_name(spec.data)
        splits = splits_of(spec.data, task, names)
        arguments = {}
        for name, value in spec.data.items():
            if name not in DATA and name not in splits:
                arguments[name] = value
        return {SHORT_SOURCE: SourceSpec(SHORT_SOURCE, task, arguments, splits)}
    shared = {name: value for name, value in spec.data.items() if name not in DATA}
    sources = {}
    for name, value in spec.data["sources"].items():
        if is_mixture(value):
            weights = dict(value) if isinstance(value, dict) else dict.fromkeys(value)
            sources[name] = SourceSpec(name, None, mixture=weights)
            continue
        task = task_name(value) or task_name(spec.data)
        splits = splits_of(value, task, names)
        arguments = dict(shared)
        for key, setting in value.items():
            if key not in splits and key not in ("task", "kind"):
                arguments[key] = setting
        sources[name] = SourceSpec(name, task, arguments, splits)
    return sources


def _batches(spec: Spec, sources: Mapping[str, SourceSpec]) -> dict[str, BatchSpec]:
    if not sources:
        return {}
    if spec.data.get("sources") is None:
        goals = trainable_goals(spec)
        if not goals:
            return {}
        goal = "train" if "train" in goals else goals[0]
        (source,) = sources
        size, accumulation = (
            spec.train["batch_size"],
            spec.train["grad_accumulation_steps"],
        )
        batch = BatchSpec(
            "train", source, goal, micro_batch=size, accumulation=accumulation
        )
        return {batch.name: batch}
    batches = {}
    for name, value in (spec.data["batches"] or {}).items():
        settings = {
            key: spec.data[key] for key in DATA_DEFAULTS if spec.data.get(key) is not None
        }
        settings |= value
        size, tokens = _amount(settings.pop("batch_size", None))
        micro, micro_tokens = _amount(_of_batch(spec.train["micro_batch"], name))
        batches[name] = BatchSpec(
            name,
            settings.pop("source"),
            settings.pop("goal", name),
            settings.pop("split", "train"),
            batch_size=size,
            tokens=tokens,
            micro_batch=micro,
            micro_tokens=micro_tokens,
            arguments=settings,
        )
    return batches


def _of_batch(value: Any, name: str) -> Any:
    """Return the value of a setting for one batch: the same for all, or an entry of a mapping by batch."""
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
    if spec.train["iteration"] is None:
        if len(batches) > 1:
            return (StepSpec(draw=dict.fromkeys(batches, 1.0)),)
        return (StepSpec(batch=next(iter(batches))),)
    steps = []
    for entry in spec.train["iteration"]:
        settings: dict[str, Any] = {"batch": entry} if isinstance(entry, str) else entry
        steps.append(
            StepSpec(
                draw={
                    name: float(weight)
                    for name, weight in settings.get("draw", {}).items()
                },
                all=tuple(settings.get("all", ())),
                batch=settings.get("batch"),
                goal=settings.get("goal"),
                reuse=tuple(settings.get("reuse", ())),
                until=length_of(settings["until"]) if "until" in settings else None,
                cache_gradients=tuple(
                    spec.stream(name).name for name in settings.get("cache_gradients", ())
                ),
            )
        )
    return tuple(steps)


def _evaluations(
    spec: Spec, sources: Mapping[str, SourceSpec]
) -> tuple[EvaluationSpec, ...]:
    evaluations = []
    for name, settings in evaluation_settings(spec.eval).items():
        if name or settings["metrics"] or settings["evaluator"]:
            evaluations.append(_evaluation(name, spec, settings, sources))
    return tuple(evaluations)


def evaluation_settings(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of each evaluation of the section `eval`, with those that all of them share.

    The only evaluation of the short form has the name ''. Arguments of the shared evaluator are left out
    where an evaluation names another evaluator.
    """
    shared = {key: value for key, value in section.items() if key != EVALUATIONS}
    named: Mapping[str, Any] = section.get(EVALUATIONS) or {}
    if not named:
        return {"": shared}
    evaluations = {}
    for name, settings in named.items():
        inherited = shared
        if settings.get("evaluator") not in (None, shared.get("evaluator")):
            inherited = {key: value for key, value in shared.items() if key in EVAL}
        evaluations[name] = {**inherited, **settings}
    return evaluations


def _evaluation(
    name: str, spec: Spec, settings: dict[str, Any], sources: Mapping[str, SourceSpec]
) -> EvaluationSpec:
    settings = dict(settings)
    source = (
        settings.pop("source")
        or spec.data.get("source")
        or next(iter(sources), SHORT_SOURCE)
    )
    split = settings.pop("split")
    splits = splits_of_source(source, sources)
    # A test split never chooses a checkpoint, so training measures the validation split in its place.
    train_split = split if name and split in splits and split != "test" else None
    if train_split is None and "val" in splits:
        train_split = "val"
    return EvaluationSpec(
        name,
        source,
        split,
        train_split,
        goal=settings.pop("goal"),
        evaluator=settings.pop("evaluator"),
        metrics=tuple(settings.pop("metrics")),
        arguments=settings,
        place=spec.key_place("eval", name) if name else spec.key_place("eval"),
    )


def splits_of_source(name: str, sources: Mapping[str, SourceSpec]) -> set[str]:
    """Return the splits of a source; of a mixture, those that all its sources have."""
    source = sources.get(name)
    if source is None:
        return set()
    if source.mixture is None:
        return set(source.splits)
    parts = [splits_of_source(part, sources) for part in source.mixture]
    return set.intersection(*parts) if parts else set()


def evaluation_of(
    spec: Spec, name: str, names: Registries = REGISTRIES
) -> EvaluationSpec:
    """Return the evaluation of a name; raise `UserError` with the names that there are."""
    evaluations = training_plan(spec, names).evaluations
    for evaluation in evaluations:
        if evaluation.name == name:
            return evaluation
    listed = ", ".join(evaluation.name for evaluation in evaluations if evaluation.name)
    raise UserError(
        f"{spec.place('eval')}: there is no evaluation '{name}'. Evaluations: {listed or 'none'}"
    )
