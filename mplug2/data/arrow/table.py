"""One Arrow file, memory-mapped: its rows in any order, and its images as packed files."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

from mplug2.data.packed_file import PackedFile, PackedFileError
from registry.errors import UserError

NEEDS = "tables of Arrow need the package pyarrow, which is not installed. Run `pip install mplug2[arrow]`"


class ArrowTable:
    """A file of Arrow's IPC file format; each row is read alone. UserError if it is another or damaged.

    Column types may be the large ones, and texts dictionaries: values are read as Python's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Any = None
        try:
            counts = [batch.num_rows for batch in self._batches()]
        except (ValueError, OSError) as error:  # pyarrow's errors are of these kinds
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path} must be a complete file of Arrow's IPC file format, but: {reason}"
            ) from None
        self.ends = list(accumulate(counts))
        self.columns = frozenset(self._opened().schema.names)

    def __getstate__(self) -> dict[str, Any]:
        # A process that reads opens the file itself.
        return self.__dict__ | {"_reader": None}

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @property
    def address(self) -> str:
        """The path of the file."""
        return str(self.path)

    @property
    def num_files(self) -> int:
        """The number of rows."""
        return len(self)

    def image(self, row: int, column: str) -> PackedFile:
        """Return the image in a cell; its bytes are read when it is decoded."""
        cell = self._cell(row, column)
        size = (
            cell.as_buffer().size if cell.is_valid and hasattr(cell, "as_buffer") else 0
        )
        return PackedFile(self, f"{row}.{column}", row, size)

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return the bytes of the cell in row ``offset``; PackedFileError if it has none."""
        column = name.partition(".")[2]
        value = self.value(offset, column)
        if not isinstance(value, bytes):
            raise PackedFileError(
                f"{self.path}: row {offset + 1} has no bytes in '{column}'"
            )
        return value

    def value(self, row: int, column: str) -> Any:
        """Return the value of a cell."""
        return self._cell(row, column).as_py()

    def _cell(self, row: int, column: str) -> Any:
        number = bisect_right(self.ends, row)
        start = self.ends[number - 1] if number else 0
        batch = self._opened().get_batch(number)
        return batch.column(column)[row - start]

    def _batches(self) -> list[Any]:
        reader = self._opened()
        batches = [
            reader.get_batch(number) for number in range(reader.num_record_batches)
        ]
        for batch in batches:
            batch.validate()  # offsets in the file are not trusted
        return batches

    def _opened(self) -> Any:
        if self._reader is None:
            try:
                import pyarrow
            except ModuleNotFoundError:
                raise UserError(NEEDS) from None
            self._reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(self.path)))
        return self._reader
