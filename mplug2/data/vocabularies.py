"""The vocabularies that a spec names: where, and whether the modules have room for them.

The module imports neither torch nor numpy before a tokenizer is loaded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mplug2.data.goal_source import goal_tokenizer
from mplug2.data.tokenizer_name import tokenizer_parts
from registry import MODULES, Location, Problem, Spec, SpecError, UserError, plan
from registry.sources import SHORT_SOURCE
from registry.training import training_plan

if TYPE_CHECKING:
    from mplug2.data.text import Tokenizer


def tokenizer_places(spec: Spec) -> dict[str, Location]:
    """Return the tokenizers that a spec names, for all data or for a source, with where it names them."""
    places: dict[str, Location] = {}
    name = spec.data.get("tokenizer")
    if isinstance(name, str):
        places[name] = spec.place("data", "tokenizer")
    for described in training_plan(spec).sources.values():
        base = (
            ("data",)
            if described.name == SHORT_SOURCE
            else ("data", "sources", described.name)
        )
        name = described.arguments.get("tokenizer")
        if isinstance(name, str):
            places.setdefault(name, spec.place(*base, "tokenizer"))
        for split, arguments in described.splits.items():
            name = arguments.get("tokenizer")
            if isinstance(name, str):
                places.setdefault(name, spec.place(*base, split, "tokenizer"))
    return places


def tokenizer_exists(name: str) -> bool:
    """Return whether a tokenizer can be loaded without the network: it needs no file, or its file exists."""
    _, file = tokenizer_parts(name)
    return not file or os.path.exists(file)


def load_tokenizer(spec: Spec, name: str | None = None) -> Tokenizer:
    """Return the tokenizer of a name, or that of `data`.

    `SpecError` if it does not exist, or if it has more tokens than the `vocab_size` of a module that reads or
    writes its texts.
    """
    from mplug2.data.text import (
        Tokenizer,  # It imports numpy, which takes longer than a check of a spec.
    )

    name = name or str(spec.data["tokenizer"])
    try:
        tokenizer = Tokenizer.load(name)
    except UserError as error:
        place = tokenizer_places(spec).get(name, spec.place("data"))
        raise SpecError.at(place, str(error)) from None
    problems = []
    for module in _modules_with(spec, name):
        entry = spec.modules[module]
        vocab = entry.arguments.get("vocab_size")
        if vocab is None and (
            argument := MODULES.declaration(entry.use).arguments.get("vocab_size")
        ):
            vocab = argument.default
        if isinstance(vocab, int) and vocab < tokenizer.vocab_size:
            message = (
                f"vocab_size of '{module}' must be at least {tokenizer.vocab_size}, the tokens of "
                f"{tokenizer.source}, but is {vocab}"
            )
            hint = f"write vocab_size: {tokenizer.vocab_size}, or name another data.tokenizer"
            problems.append(
                Problem(spec.place("modules", module, "vocab_size"), message, hint)
            )
    if problems:
        raise SpecError(problems)
    return tokenizer


def _modules_with(spec: Spec, tokenizer: str) -> list[str]:
    """Return the modules that texts of a tokenizer reach; with one tokenizer in the spec, all of them.

    Two tokenizers of one spec may have different sizes, if each has its own embedding.
    """
    if len(tokenizer_places(spec)) < 2:
        return list(spec.modules)
    training = training_plan(spec)
    sources = _sources_with(spec, tokenizer)
    goals: dict[str, None] = {}
    for batch in training.batches.values():
        if batch.source in sources:
            goals.update(dict.fromkeys(training.goals_of(batch.name) or [batch.goal]))
    for evaluation in training.evaluations:
        if evaluation.source in sources:
            goals[evaluation.goal] = None
    for goal in spec.goals:
        if goal_tokenizer(spec, goal) == tokenizer:  # as `predict` chooses it
            goals[goal] = None

    reached: set[str] = set()
    for goal in goals:
        if goal not in spec.goals:
            continue
        for step in plan(spec, goal).steps:
            reached.add(step.equation.callee)
            reached.update(ref.name for ref in step.equation.modules())
    return [module for module in spec.modules if module in reached]


def _sources_with(spec: Spec, tokenizer: str) -> set[str]:
    """Return the sources whose texts a tokenizer encodes, and the mixtures of them."""
    sources = training_plan(spec).sources
    users: set[str] = set()
    for described in sources.values():
        names = {described.arguments.get("tokenizer") or spec.data.get("tokenizer")}
        for arguments in described.splits.values():
            names.add(arguments.get("tokenizer"))
        if tokenizer in names:
            users.add(described.name)
    for described in sources.values():
        if users.intersection(described.mixture or ()):
            users.add(described.name)
    return users
