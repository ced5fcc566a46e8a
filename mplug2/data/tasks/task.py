"""What a task must have, and what it may have (docs/extending/task.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from mplug2.data.batch import Sample


class Task(Protocol):
    """How annotated items become the inputs of a network. A plain object: no base class is needed.

    An item is anything: one entry of an annotation file. In addition to these members, a task may have

    - ``media(item) -> tuple[str, ...]``: the files an item is about. Absent: a task of text alone.
    - ``items_per_sample: int``: how many items about the same files one sample takes (1).
    - ``decode(media, name, items, rng) -> (pixels, geometry)``: its own way to read one file of a sample.
    - ``item_problem(item, width, height) -> str | None``: why an item cannot be about a file of this size in
      pixels, with FILE:LINE; `mplug2 data check` prints it.
    - ``mirror(item) -> item``: the item as it holds of mirrored media, for `flip: media_and_text`.
    - ``record(item, sample) -> dict``: what evaluation and metrics know of an item (its number alone).
    - ``num_tokens(item) -> int``: text tokens, for batches by tokens.
    - ``uncut_texts(items) -> dict[str, list[str]]``: by output, the texts that no argument cuts, ready to be
      encoded: training refuses those that are longer than a module has positions.
    - ``query_input: str | None``: the input that a question of `mplug2 predict` goes to (the first text).
    - ``counts(items) -> dict[str, int]``: what `mplug2 data check` prints of a split.
    - ``tokenizer``: an object with ``decode(ids) -> str``, for goals that generate text.
    - ``references(items) -> list[list[str]]``: all reference texts, for rewards.
    - ``submission``: "answers", "captions" or "table", the form of result files for evaluation servers.
    - ``token_limits``, ``class_names``: literals that name, by output, the argument that sets the most tokens
      of a text, or the names of the classes.
    - ``file_arguments``: a literal, the arguments that name files or folders.
    - ``reads_folders: bool``: whether ``read`` also takes a folder, whose files are the media (False).
    """

    outputs: ClassVar[
        dict[str, str]
    ]  # each input that the task supplies, with its port

    def read(self, path: Path) -> Sequence[Any]:
        """Return the items of an annotation file; raise UserError with file and line."""
        ...

    def encode(
        self, items: Sequence[Any], samples: Sequence[Sample]
    ) -> Mapping[str, Any]:
        """Return the inputs of a batch by name.

        ``items`` are those of all samples in order, one for each row of text. A value may be a function
        without arguments: it is called only if the spec asks for that input.
        """
        ...

    def question(self, text: str) -> Any:
        """Return a user's text as an item without an answer, for prediction."""
        ...
