"""The name of a tokenizer in a spec: a registered kind, and its file."""

from __future__ import annotations

import os

from registry import TOKENIZERS

DEFAULT_KIND = "bert"  # of a name without a kind


def tokenizer_parts(name: str) -> tuple[str, str]:
    """Return the kind and the file of ``KIND`` or ``KIND:FILE``; any other name is a vocabulary of BERT.

    A folder that has the name of a kind is such a vocabulary, too.
    """
    kind, colon, file = name.partition(":")
    if kind not in TOKENIZERS or (not colon and os.path.isdir(name)):
        return DEFAULT_KIND, name
    return kind, file
