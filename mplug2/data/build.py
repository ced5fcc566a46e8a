"""From a spec to its tokenizer, its sources and their loaders."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from mplug2.data.bad_files import shared_counter
from mplug2.data.batching import BatchFormation, FixedBatches, TokenBatches
from mplug2.data.loader import EvalLoader, Loader
from mplug2.data.text import Tokenizer
from registry.errors import UserError
from registry.training import BatchSpec, SourceSpec, training_plan

if TYPE_CHECKING:
    from mplug2.data.tasks.reader import MediaReader
    from registry import Spec, StreamType


def build_loader(
    spec: Spec,
    types: dict[str, StreamType],
    batch: BatchSpec,
    *,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
) -> Loader:
    """Return the loader of a batch for training; `data.seed` takes precedence over ``seed``."""
    source = build_source(spec, types, batch.source, batch.split, training=True, arguments=batch.arguments)
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
        max_bad=spec.data["max_bad"],
        counter=shared_counter(),
    )


def build_eval_loader(
    spec: Spec,
    types: dict[str, StreamType],
    source: str,
    split: str,
    *,
    rank: int = 0,
    world: int = 1,
    batch_size: int | None = None,
) -> EvalLoader:
    """Return a loader that goes once over a split of a source; ``batch_size`` counts samples of a rank."""
    samples = build_source(spec, types, source, split)
    return EvalLoader(
        samples,
        samples.collate,
        batch_size=batch_size or spec.eval["batch"] or spec.train["batch"],
        rank=rank,
        world=world,
        workers=spec.data["workers"],
        max_bad=spec.data["max_bad"],
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
        return TokenBatches(batch.tokens, batch.micro_tokens or -(-batch.tokens // world))
    if batch.micro_tokens is not None:
        raise UserError(
            f"{location}: a micro_batch by tokens needs a batch_size by tokens (got {batch.batch_size} "
            "samples). Write `batch_size: {tokens: N}`"
        )
    if batch.batch_size is None:
        micro_batch = batch.micro_batch or spec.train["batch"]
        return FixedBatches(micro_batch * (batch.accumulation or 1) * world, micro_batch)
    if batch.batch_size % world:
        raise UserError(
            f"{location}: batch_size must be a multiple of the number of ranks (got {batch.batch_size} on "
            f"{world} ranks). Use {-(-batch.batch_size // world) * world}, or another number of ranks"
        )
    return FixedBatches(batch.batch_size, batch.micro_batch or batch.batch_size // world)


def build_source(
    spec: Spec,
    types: dict[str, StreamType],
    source: str,
    split: str,
    *,
    training: bool = False,
    arguments: Mapping[str, Any] | None = None,
    without: Collection[str] = (),
) -> MediaReader[Any]:
    """Return one split of a source by its name; ``arguments`` of a batch win over those of the spec.

    Arguments in ``without`` are left out. UserError if the source has no such split.
    """
    from registry import TASKS

    described = _source_spec(spec, source)
    if split not in described.splits:
        raise UserError(
            f"{spec.place('data')}: {source} must have a section '{split}' ({{path: ..., media: ...}}), "
            "but has none"
        )
    given = {**described.arguments, **described.splits[split], **(arguments or {})}
    given = {name: value for name, value in given.items() if name not in without}
    if not spec.data.get("tokenizer"):
        raise UserError(
            f"{spec.place('data')}: data must name its tokenizer, such as `tokenizer: bert-base-uncased`"
        )
    supplied = {"types": types, "tokenizer": load_tokenizer(spec), "split": split}
    reader = TASKS.load(described.task or "")
    return reader(**given, **supplied, training=training, spec=spec, inputs=frozenset(spec.inputs))


def _source_spec(spec: Spec, name: str) -> SourceSpec:
    sources = training_plan(spec).sources
    if name not in sources:
        raise UserError(
            f"{spec.place('data')}: there is no source '{name}'. Sources: {', '.join(sources) or 'none'}"
        )
    return sources[name]


def load_tokenizer(spec: Spec) -> Tokenizer:
    """Return the tokenizer that ``data.tokenizer`` names; SpecError where modules know fewer words than it
    has."""
    from registry import MODULES, Problem, SpecError

    tokenizer = Tokenizer.load(spec.data["tokenizer"])
    problems = []
    for name, entry in spec.modules.items():
        vocab = entry.arguments.get("vocab")
        if vocab is None and (argument := MODULES.declaration(entry.use).arguments.get("vocab")):
            vocab = argument.default
        if isinstance(vocab, int) and vocab < tokenizer.vocab_size:
            message = (
                f"vocab of '{name}' must be at least {tokenizer.vocab_size}, the words of "
                f"{tokenizer.source}, but is {vocab}"
            )
            hint = f"write vocab: {tokenizer.vocab_size}, or name another data.tokenizer"
            problems.append(Problem(spec.place("modules", name, "vocab"), message, hint))
    if problems:
        raise SpecError(problems)
    return tokenizer
