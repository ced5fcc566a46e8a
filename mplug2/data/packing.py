"""Short texts packed into rows, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mplug2.data.text import Tokenizer

if TYPE_CHECKING:
    from modules.streams import Text


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return the numbers of the texts in each row, whose tokens are at most ``capacity`` together.

    First-fit decreasing: each text, the longest first, goes to the first row with room. It needs at most
    11/9 of the fewest rows, and one more (Dosa 2007). A text longer than ``capacity`` has a row to itself.
    """
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    rows: list[list[int]] = []
    room: list[int] = []
    for number in order:
        row = 0
        while row < len(rows) and room[row] < lengths[number]:
            row += 1
        if row == len(rows):
            rows.append([])
            room.append(capacity)
        rows[row].append(number)
        room[row] -= lengths[number]
    return rows


def packed_text(
    tokenizer: Tokenizer,
    texts: Sequence[Sequence[int]],
    segments: Sequence[Sequence[int]] | None,
    capacity: int,
) -> Text:
    """Return texts packed into rows as `Text` with ``parts``: the number of each token's text in its row."""
    rows = pack([len(text) for text in texts], capacity)
    ids, numbers, row_segments = [], [], []
    for row in rows:
        row_ids: list[int] = []
        row_numbers: list[int] = []
        token_segments: list[int] = []
        for number, text_number in enumerate(row):
            row_ids += texts[text_number]
            # Attention stays within the tokens of one number.
            row_numbers += [number] * len(texts[text_number])
            if segments is not None:
                token_segments += segments[text_number]
        ids.append(row_ids)
        numbers.append(row_numbers)
        row_segments.append(token_segments)
    text = tokenizer.pad_rows(ids, row_segments if segments is not None else None)
    # The numbers are padded with 0, as segments are.
    return text._replace(parts=tokenizer.pad_rows(ids, numbers).segments)
