"""The tokenizers that a spec names: kinds, files, and the modules that their texts reach."""

from __future__ import annotations

import os
from collections.abc import Iterator

from registry.errors import Location
from registry.goal_source import goal_tokenizer
from registry.language.spec import Spec
from registry.planner import plan
from registry.registries import REGISTRIES, Registries
from registry.sources import SHORT_SOURCE
from registry.training import TrainingPlan, training_plan

DEFAULT_KIND = "bert"  # of a name without a kind


def tokenizer_parts(name: str, names: Registries = REGISTRIES) -> tuple[str, str]:
    """Return the kind and the file of ``KIND`` or ``KIND:FILE``; any other name is a vocabulary of BERT.

    A folder that has the name of a kind is such a vocabulary, too.
    """
    kind, colon, file = name.partition(":")
    if kind not in names.tokenizers or (not colon and os.path.isdir(name)):
        return DEFAULT_KIND, name
    return kind, file


def tokenizer_exists(name: str, names: Registries = REGISTRIES) -> bool:
    """Return whether a tokenizer can be loaded without the network: it needs no file, or its file exists."""
    _, file = tokenizer_parts(name, names)
    return not file or os.path.exists(file)


def tokenizer_places(spec: Spec, names: Registries = REGISTRIES) -> dict[str, Location]:
    """Return the tokenizers that a spec names, for all data or for a source, with where it names them."""
    places: dict[str, Location] = {}
    name = spec.data.get("tokenizer")
    if isinstance(name, str):
        places[name] = spec.place("data", "tokenizer")
    for described in training_plan(spec, names).sources.values():
        base: tuple[str, ...] = ("data",)
        if described.name != SHORT_SOURCE:
            base = ("data", "sources", described.name)
        name = described.arguments.get("tokenizer")
        if isinstance(name, str):
            places.setdefault(name, spec.place(*base, "tokenizer"))
        for split, arguments in described.splits.items():
            name = arguments.get("tokenizer")
            if isinstance(name, str):
                places.setdefault(name, spec.place(*base, split, "tokenizer"))
    return places


def modules_with_tokenizer(
    spec: Spec, tokenizer: str, names: Registries = REGISTRIES
) -> list[str]:
    """Return the modules that texts of a tokenizer reach; with one tokenizer in the spec, all of them.

    Two tokenizers of one spec may have different sizes, if each has its own embedding.
    """
    if len(tokenizer_places(spec, names)) < 2:
        return list(spec.modules)
    reached: set[str] = set()
    for goal in _goals_with(spec, tokenizer, names):
        if goal not in spec.goals:
            continue
        for step in plan(spec, goal, (), names).steps:
            reached.add(step.equation.callee)
            reached.update(ref.name for ref in step.equation.modules())
    return [module for module in spec.modules if module in reached]


def _goals_with(spec: Spec, tokenizer: str, names: Registries) -> Iterator[str]:
    """Yield the goals that read texts of a tokenizer, some of them more than once."""
    training = training_plan(spec, names)
    sources = _sources_with(spec, tokenizer, training)
    for batch in training.batches.values():
        if batch.source in sources:
            yield from training.goals_of(batch.name) or [batch.goal]
    for evaluation in training.evaluations:
        if evaluation.source in sources:
            yield evaluation.goal
    for goal in spec.goals:
        if goal_tokenizer(spec, goal) == tokenizer:  # as `predict` chooses it
            yield goal


def _sources_with(spec: Spec, tokenizer: str, training: TrainingPlan) -> set[str]:
    """Return the sources whose texts a tokenizer encodes, and the mixtures of them."""
    sources = training.sources
    users: set[str] = set()
    for described in sources.values():
        used = {described.arguments.get("tokenizer") or spec.data.get("tokenizer")}
        for arguments in described.splits.values():
            used.add(arguments.get("tokenizer"))
        if tokenizer in used:
            users.add(described.name)
    for described in sources.values():
        if users.intersection(described.mixture or ()):
            users.add(described.name)
    return users
