"""Relative position bias over text, an image, or both, as VLMo and BEiT define it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

CORNERS = 3  # rows of a table for: first token to others, others to the first token, the first token to itself
CROSS = 2  # rows of a table for: text to image, image to text


def image_rows(side: int) -> int:
    """Return the number of rows for ``side x side`` patches and the class token."""
    return (2 * side - 1) ** 2 + CORNERS


def text_rows(positions: int) -> int:
    """Return the number of rows for texts of at most ``positions`` tokens, and between text and image."""
    return CROSS + 2 * (positions - 2) + 1 + CORNERS


def image_index(side: int, device: torch.device | None = None) -> Int[Tensor, "n n"]:
    """Return the row of the table for each pair of image tokens; n is ``1 + side * side``.

    Rows count offsets of the query from the key: first vertically, then horizontally.
    """
    span = 2 * side - 1
    steps = torch.arange(side, device=device)
    # (side, side) offsets along one axis, from 0 to span - 1
    offset = steps[:, None] - steps[None, :] + side - 1
    # (row of query, column of query, row of key, column of key)
    rows = offset[:, None, :, None] * span + offset[None, :, None, :]
    patches = side * side
    return _with_first_token(rows.reshape(patches, patches), span * span)


def text_index(
    length: int, positions: int, first: int, device: torch.device | None = None
) -> Int[Tensor, "n n"]:
    """Return the row of the table for each pair of text tokens; ``first`` is the row where text begins.

    Rows count offsets of the KEY from the query, the opposite sign of the image's: released weights need it.
    """
    steps = torch.arange(length - 1, device=device)
    # The row of offset 0; offsets reach `positions` - 2 to both sides.
    middle = first + CROSS + positions - 2
    rows = middle + steps[None, :] - steps[:, None]
    return _with_first_token(rows, first + text_rows(positions) - CORNERS)


def joint_index(
    text: Int[Tensor, "l l"], image: Int[Tensor, "n n"], first: int
) -> Int[Tensor, "ln ln"]:
    """Return the row for each pair of tokens of a text followed by an image."""
    length, tokens = len(text), len(image)
    to_image = text.new_full((length, tokens), first)
    to_text = text.new_full((tokens, length), first + 1)
    # Rows are queries, columns are keys; the text comes first in both.
    text_queries = torch.cat([text, to_image], dim=1)
    image_queries = torch.cat([to_text, image], dim=1)
    return torch.cat([text_queries, image_queries])


def _with_first_token(rows: Int[Tensor, "m m"], corner: int) -> Int[Tensor, "n n"]:
    """Return the index with a first token added, whose rows of the table begin at ``corner``."""
    size = len(rows) + 1
    index = rows.new_empty((size, size))
    index[1:, 1:] = rows
    index[0] = corner
    index[:, 0] = corner + 1
    index[0, 0] = corner + 2
    return index


class RelativeBias(nn.Module):
    """A learned number for each head, layer and offset between two tokens, added to the attention scores.

    Released ``relative_position_bias_table``: its first rows are ``image``, the others ``text``, whose first
    two rows are constants between text and image. ``positions`` is the length of the longest text, 0 for a
    network of images alone. VLMo (arXiv 2111.02358), BEiT (arXiv 2106.08254).
    """

    def __init__(self, heads: int, depth: int, side: int, positions: int) -> None:
        super().__init__()
        self.heads, self.side, self.positions = heads, side, positions
        # One column for each head of each layer, as in the released table.
        columns = heads * depth
        self.image = nn.Parameter(torch.zeros(image_rows(side), columns))
        self.text = None
        if positions:
            self.text = nn.Parameter(torch.zeros(text_rows(positions), columns))

    def index(self, length: int, has_image: bool) -> Int[Tensor, "n n"]:
        """Return the rows for a text of ``length`` tokens (0: no text), followed by an image or not.

        ValueError if the text is longer than the table.
        """
        device = self.image.device
        if length > self.positions:
            raise ValueError(
                f"text must be at most {self.positions} tokens long, but is {length}: raise `text_positions`"
            )
        first = image_rows(self.side)
        if not length:
            return image_index(self.side, device)
        text = text_index(length, self.positions, first, device)
        if not has_image:
            return text
        return joint_index(text, image_index(self.side, device), first)

    def forward(
        self, layer: int, index: Int[Tensor, "n n"]
    ) -> Float[Tensor, "1 heads n n"]:
        """Return the bias of one layer."""
        columns = slice(layer * self.heads, (layer + 1) * self.heads)
        # One table for both: the index counts rows of the image first, then those of the text.
        table = self.image[:, columns]
        if self.text is not None:
            table = torch.cat([table, self.text[:, columns]])
        # (n, n, heads) -> (1, heads, n, n)
        return table[index].permute(2, 0, 1).unsqueeze(0)
