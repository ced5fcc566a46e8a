"""The vocabularies that a spec names: where, and whether the modules have room for them.

The module imports neither torch nor numpy before a tokenizer is loaded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from registry import MODULES, Location, Problem, Spec, SpecError, UserError
from registry.training import SHORT_SOURCE, training_plan

if TYPE_CHECKING:
    from mplug2.data.text import Tokenizer


def tokenizer_places(spec: Spec) -> dict[str, Location]:
    """Return the tokenizers that a spec names, for all data or for a source, with where it names them."""
    places: dict[str, Location] = {}
    name = spec.data.get("tokenizer")
    if isinstance(name, str):
        places[name] = spec.place("data", "tokenizer")
    for described in training_plan(spec).sources.values():
        base = ("data",) if described.name == SHORT_SOURCE else ("data", "sources", described.name)
        name = described.arguments.get("tokenizer")
        if isinstance(name, str):
            places.setdefault(name, spec.place(*base, "tokenizer"))
        for split, arguments in described.splits.items():
            name = arguments.get("tokenizer")
            if isinstance(name, str):
                places.setdefault(name, spec.place(*base, split, "tokenizer"))
    return places


def tokenizer_exists(name: str) -> bool:
    """Return whether a tokenizer can be loaded without the network: `bytes`, or a file or folder."""
    return name == "bytes" or os.path.exists(name)


def load_tokenizer(spec: Spec, name: str | None = None) -> Tokenizer:
    """Return the tokenizer of a name, or that of `data`.

    `SpecError` if it does not exist, or if it has more tokens than the `vocab` of a module.
    """
    from mplug2.data.text import Tokenizer  # It imports numpy, which takes longer than a check of a spec.

    name = name or str(spec.data["tokenizer"])
    try:
        tokenizer = Tokenizer.load(name)
    except UserError as error:
        place = tokenizer_places(spec).get(name, spec.place("data"))
        raise SpecError.at(place, str(error)) from None
    problems = []
    for module, entry in spec.modules.items():
        vocab = entry.arguments.get("vocab_size")
        if vocab is None and (argument := MODULES.declaration(entry.use).arguments.get("vocab_size")):
            vocab = argument.default
        if isinstance(vocab, int) and vocab < tokenizer.vocab_size:
            message = (
                f"vocab_size of '{module}' must be at least {tokenizer.vocab_size}, the tokens of "
                f"{tokenizer.source}, but is {vocab}"
            )
            hint = f"write vocab_size: {tokenizer.vocab_size}, or name another data.tokenizer"
            problems.append(Problem(spec.place("modules", module, "vocab_size"), message, hint))
    if problems:
        raise SpecError(problems)
    return tokenizer
