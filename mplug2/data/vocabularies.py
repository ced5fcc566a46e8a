"""Load the vocabularies that a spec names, if its modules have room for them.

The module imports neither torch nor numpy before a tokenizer is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry import REGISTRIES, Problem, Spec, SpecError, UserError
from registry.checks.conditions import argument_value
from registry.tokenizer_names import modules_with_tokenizer, tokenizer_places

if TYPE_CHECKING:
    from mplug2.data.text import Tokenizer


def load_tokenizer(spec: Spec, name: str | None = None) -> Tokenizer:
    """Return the tokenizer of a name, or that of `data`.

    `SpecError` if it does not exist, or if it has more tokens than the `vocab_size` of a module that reads or
    writes its texts.
    """
    # This imports numpy, which takes longer than a check of a spec.
    from mplug2.data.text import Tokenizer

    name = name or str(spec.data["tokenizer"])
    try:
        tokenizer = Tokenizer.load(name)
    except UserError as error:
        place = tokenizer_places(spec).get(name, spec.place("data"))
        raise SpecError.at(place, str(error)) from None
    problems = []
    for module in modules_with_tokenizer(spec, name):
        vocab_size = argument_value(spec, REGISTRIES, module, "vocab_size")
        if isinstance(vocab_size, int) and vocab_size < tokenizer.vocab_size:
            message = (
                f"vocab_size of '{module}' must be at least {tokenizer.vocab_size}, the tokens of "
                f"{tokenizer.source}, but is {vocab_size}"
            )
            hint = f"write vocab_size: {tokenizer.vocab_size}, or name another data.tokenizer"
            problems.append(
                Problem(spec.place("modules", module, "vocab_size"), message, hint)
            )
    if problems:
        raise SpecError(problems)
    return tokenizer
