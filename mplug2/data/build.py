"""From a spec to its tokenizer, its sources and their loaders."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mplug2.data.bad_files import shared_counter
from mplug2.data.batching import BatchFormation, FixedBatches, TokenBatches
from mplug2.data.loader import EvalLoader, Loader
from mplug2.data.source_builder import SourceBuilder
from mplug2.data.sources.items import ItemSource
from mplug2.data.sources.source import Source
from mplug2.data.text import Tokenizer
from registry import SOURCES, Spec, plan
from registry.errors import UserError, require
from registry.goal_source import source_of_goal
from registry.training import BatchSpec, training_plan

if TYPE_CHECKING:
    from registry import StreamType


def build_loader(
    spec: Spec,
    types: Mapping[str, StreamType],
    batch: BatchSpec,
    *,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
) -> Loader:
    """Return the loader of a batch for training; `data.seed` takes precedence over ``seed``."""
    require(spec, Spec, "spec")
    require(types, Mapping, "types")
    require(batch, BatchSpec, "batch (of `training_plan(spec).batches`)")
    inputs = goal_inputs(spec, training_plan(spec).goals_of(batch.name))
    source = build_source(
        spec,
        types,
        batch.source,
        batch.split,
        training=True,
        arguments=batch.arguments,
        inputs=inputs,
    )
    data_seed = spec.data.get("seed")
    return Loader(
        source,
        source.collate,
        batch_formation(spec, batch, world),
        kind=batch.name,
        rank=rank,
        world=world,
        seed=seed if data_seed is None else data_seed,
        workers=spec.data["workers"],
        max_bad_fraction=spec.data["max_bad_fraction"],
        counter=shared_counter(),
    )


def build_eval_loader(
    spec: Spec,
    types: Mapping[str, StreamType],
    source: str,
    split: str,
    *,
    rank: int = 0,
    world: int = 1,
    batch_size: int | None = None,
    goals: Collection[str] = (),
) -> EvalLoader:
    """Return a loader that goes once over a split of a source; ``batch_size`` counts samples of a rank.

    It supplies the inputs of ``goals``; of all goals by default.
    """
    require(spec, Spec, "spec")
    require(types, Mapping, "types")
    require(source, str, "source")
    require(split, str, "split")
    samples = build_source(spec, types, source, split, inputs=goal_inputs(spec, goals))
    return EvalLoader(
        samples,
        samples.collate,
        # Evaluation has no gradients, so what fits in training always fits.
        batch_size=batch_size or spec.eval["batch_size"] or spec.train["batch_size"],
        rank=rank,
        world=world,
        workers=spec.data["workers"],
        max_bad_fraction=spec.data["max_bad_fraction"],
        counter=shared_counter(),
    )


def batch_formation(spec: Spec, batch: BatchSpec, world: int) -> BatchFormation:
    """Return how the samples of a batch form optimizer steps and micro-batches."""
    location = spec.place("data", "batches", batch.name)
    if batch.tokens is not None:
        if batch.micro_batch is not None:
            raise UserError(
                f"{location}: a batch by tokens needs a micro_batch by tokens (got {batch.micro_batch} "
                f"samples). Write `train: {{micro_batch: {{{batch.name}: {{tokens: N}}}}}}`"
            )
        # Without a micro-batch, each rank takes its part of the step at once.
        return TokenBatches(
            batch.tokens, batch.micro_tokens or -(-batch.tokens // world)
        )
    if batch.micro_tokens is not None:
        raise UserError(
            f"{location}: a micro_batch by tokens needs a batch_size by tokens (got {batch.batch_size} "
            "samples). Write `batch_size: {tokens: N}`"
        )
    if batch.batch_size is None:
        # `train.batch_size` counts the samples of a rank, `batch_size` of a batch those of all ranks.
        micro_batch = batch.micro_batch or spec.train["batch_size"]
        return FixedBatches(
            micro_batch * (batch.accumulation or 1) * world, micro_batch
        )
    if batch.batch_size % world:
        raise UserError(
            f"{location}: batch_size must be a multiple of the number of ranks (got {batch.batch_size} on "
            f"{world} ranks). Use {-(-batch.batch_size // world) * world}, or another number of ranks"
        )
    return FixedBatches(
        batch.batch_size, batch.micro_batch or batch.batch_size // world
    )


def build_source(
    spec: Spec,
    types: Mapping[str, StreamType],
    source: str,
    split: str,
    *,
    training: bool = False,
    arguments: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
    inputs: Collection[str] | None = None,
) -> Source:
    """Return one split of a source by its name; ``arguments`` of a batch win over those of the source.

    Arguments in ``without`` are left out. ``inputs``: those that are supplied; all of the spec by default.
    UserError if the source has no such split.
    """
    builder = SourceBuilder(
        spec, types, split, training, arguments or {}, without, inputs=inputs
    )
    return builder.source(source)


def goal_inputs(spec: Spec, goals: Collection[str]) -> Collection[str] | None:
    """Return the inputs that some goals of the long form read; None means all inputs of the spec."""
    # In the short form, the only source supplies every goal.
    if spec.data.get("sources") is None:
        return None
    inputs: dict[str, None] = {}
    for goal in goals or spec.goals:
        inputs.update(dict.fromkeys(plan(spec, goal).inputs))
    return inputs


def build_prediction_source(
    spec: Spec,
    types: Mapping[str, StreamType],
    goal: str,
    tokenizer: Tokenizer | None,
    questions: Sequence[str] = (),
) -> ItemSource:
    """Return questions without answers as a source, by the task of the source that a goal is evaluated on.

    Its items are about no files yet: requests name them. UserError if the spec names no task.
    """
    goal_source = source_of_goal(spec, goal)
    if goal_source is None:
        raise UserError(
            f"{spec.path}: data.task must name a task to predict with, but is not set"
        )
    inputs = plan(spec, goal).inputs
    builder = SourceBuilder(
        spec,
        types,
        goal_source.split,
        False,
        {},
        (),
        inputs=inputs,
        tokenizer=tokenizer,
    )
    arguments = builder.arguments_of(goal_source.source)
    task = builder.task(goal_source.source, arguments)
    # A file is read once, from anywhere.
    kept = dict(arguments)
    for key in ("cache", "exclude_list", "augment", "flip"):
        kept.pop(key, None)
    items = [task.question(question) for question in questions]
    kept |= {"task": task, "items": items, "media": "."}
    source: ItemSource = builder.build(SOURCES, goal_source.source, "items", kept)
    return source
