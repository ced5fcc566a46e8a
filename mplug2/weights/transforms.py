"""How released tensors become ours and ours become released ones: transforms with their inverses.

Nothing here imports torch before a tensor is there, so that `mplug2 check` can read the tables of families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Values = Mapping[str, Any]
Change = Callable[["list[Tensor]", Values], "list[Tensor]"]


@dataclass(frozen=True)
class Transform:
    """Turns the released tensors of a row into ours (``read``), and back (``write``).

    Both take the tensors in the order of the row's patterns and its values: numbers, holes, and the number of
    tensors to return (``count``). ``write(read(x))`` must be ``x``, bit for bit. ValueError: they do not fit.
    """

    name: str
    read: Change
    write: Change

    @property
    def inverse(self) -> Transform:
        """The transform with both directions exchanged."""
        return Transform(f"{self.name}, inverse", self.write, self.read)


def _same(tensors: list[Tensor], values: Values) -> list[Tensor]:
    return tensors


def _transposed(tensors: list[Tensor], values: Values) -> list[Tensor]:
    return [tensors[0].T]


IDENTITY = Transform("identity", _same, _same)
TRANSPOSE = Transform("transpose", _transposed, _transposed)


def leading(count: int) -> Transform:
    """Return the transform that puts ``count`` axes of size 1 in front."""

    def read(tensors: list[Tensor], values: Values) -> list[Tensor]:
        tensor = tensors[0]
        return [tensor.reshape((1,) * count + tuple(tensor.shape))]

    def write(tensors: list[Tensor], values: Values) -> list[Tensor]:
        tensor = tensors[0]
        if tuple(tensor.shape[:count]) != (1,) * count:
            raise ValueError(
                f"must begin with {count} axes of size 1 (got {list(tensor.shape)})"
            )
        return [tensor.reshape(tensor.shape[count:])]

    return Transform(f"{count} leading axes", read, write)


def trailing(count: int, *, optional: bool = False) -> Transform:
    """Return the transform that removes ``count`` axes of size 1 at the end, as a 1x1x1 kernel has them.

    ``optional``: a matrix, which a linear layer stores for such a kernel, is read unchanged.
    """

    def read(tensors: list[Tensor], values: Values) -> list[Tensor]:
        tensor = tensors[0]
        if optional and tensor.ndim == 2:
            return [tensor]
        if tuple(tensor.shape[-count:]) != (1,) * count:
            raise ValueError(
                f"must end with {count} axes of size 1 (got {list(tensor.shape)})"
            )
        return [tensor.reshape(tensor.shape[:-count])]

    def write(tensors: list[Tensor], values: Values) -> list[Tensor]:
        tensor = tensors[0]
        return [tensor.reshape(tuple(tensor.shape) + (1,) * count)]

    return Transform(f"{count} trailing axes", read, write)


def concat(axis: int = 0) -> Transform:
    """Return the transform that joins tensors along ``axis``; its inverse splits into equal parts."""

    def read(tensors: list[Tensor], values: Values) -> list[Tensor]:
        import torch

        return [torch.cat(tensors, dim=axis)]

    def write(tensors: list[Tensor], values: Values) -> list[Tensor]:
        size, count = tensors[0].shape[axis], values["count"]
        if size % count:
            raise ValueError(
                f"axis {axis} of size {size} does not divide into {count} equal parts"
            )
        return list(tensors[0].chunk(count, dim=axis))

    return Transform(f"concatenation along axis {axis}", read, write)


def _with_zero_keys(tensors: list[Tensor], values: Values) -> list[Tensor]:
    import torch

    query, value = tensors
    return [torch.cat([query, torch.zeros_like(query), value])]


def _without_keys(tensors: list[Tensor], values: Values) -> list[Tensor]:
    # Keys may have learned a bias here, but it changes no output.
    query, _, value = tensors[0].chunk(3)
    return [query, value]


# BEiT and VLMo store no bias of the keys: the softmax cancels it.
ZERO_KEY_BIAS = Transform(
    "query and value bias, zeros for the keys", _with_zero_keys, _without_keys
)


def _taps_first(tensors: list[Tensor], values: Values) -> list[Tensor]:
    # (channels, 1, taps, 1, 1) -> (taps, channels)
    return [tensors[0].flatten(1).T]


def _channels_first(tensors: list[Tensor], values: Values) -> list[Tensor]:
    # (taps, channels) -> (channels, 1, taps, 1, 1)
    return [tensors[0].T[:, None, :, None, None]]


DEPTHWISE = Transform(
    "kernel of a depthwise convolution over time", _taps_first, _channels_first
)


def _without_time(tensors: list[Tensor], values: Values) -> list[Tensor]:
    kernel = tensors[0]
    single_frame = kernel.ndim == 5 and kernel.shape[2] == 1
    return [kernel.squeeze(2) if single_frame else kernel]


def _with_time(tensors: list[Tensor], values: Values) -> list[Tensor]:
    kernel = tensors[0]
    return [kernel.unsqueeze(2) if kernel.ndim == 4 else kernel]


# (width, 3, 1, patch, patch) -> (width, 3, patch, patch); kernels over several frames stay.
FRAME_PATCHES = Transform(
    "kernel of patches of single frames", _without_time, _with_time
)


def _parts_of_table(tensors: list[Tensor], values: Values) -> list[Tensor]:
    (table,), tail = tensors, values["tail"]
    if len(table) <= tail:
        raise ValueError(
            f"must have more than {tail} rows, those of texts (got {len(table)})"
        )
    # (rows of images, then those of texts; heads of all blocks)
    rows = [table[:-tail], table[-tail:]]
    if values["count"] == len(rows):
        return rows
    columns = values["columns"]
    before = [part[:, :columns] for part in rows]
    after = [part[:, columns:] for part in rows]
    return before + after


def _table_of_parts(tensors: list[Tensor], values: Values) -> list[Tensor]:
    import torch

    # Image and text of the first blocks, then those of the last blocks if these are a module.
    tables = []
    for start in range(0, len(tensors), 2):
        tables.append(torch.cat(tensors[start : start + 2]))
    return [torch.cat(tables, dim=1)]


# VLMo has one table of relative positions; here each module has its columns, and image and text their rows.
BIAS_TABLE = Transform(
    "rows of image and text, columns of each module", _parts_of_table, _table_of_parts
)


def _joined_blocks(tensors: list[Tensor], values: Values) -> list[Tensor]:
    import torch

    return _by_module(torch.cat(tensors, dim=1), values)


def _separate_blocks(tensors: list[Tensor], values: Values) -> list[Tensor]:
    import torch

    return list(torch.cat(tensors, dim=1).chunk(values["count"], dim=1))


def _repeated(tensors: list[Tensor], values: Values) -> list[Tensor]:
    return _by_module(tensors[0].repeat(1, values["blocks"]), values)


def _first_block(tensors: list[Tensor], values: Values) -> list[Tensor]:
    import torch

    table = torch.cat(tensors, dim=1)
    blocks = table.chunk(values["blocks"], dim=1)
    # Training may have changed them apart, and then nothing smaller holds them all.
    if any(not torch.equal(block, blocks[0]) for block in blocks[1:]):
        raise ValueError(
            "blocks have different tables, which the layout with one shared table cannot hold"
        )
    return [blocks[0]]


def _by_module(table: Tensor, values: Values) -> list[Tensor]:
    if values["count"] == 1:
        return [table]
    return [table[:, : values["columns"]], table[:, values["columns"] :]]


# BEiT's tables of relative positions: one for each block, or one that all blocks share.
BLOCK_TABLES = Transform(
    "a table for each block, columns of each module", _joined_blocks, _separate_blocks
)
SHARED_TABLE = Transform(
    "one table for all blocks, columns of each module", _repeated, _first_block
)
