"""Pickles of plain data (lists, mappings, texts, numbers), read so that nothing in them can run."""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
from pathlib import Path
from typing import Any

from mplug2.data.files import read_bytes
from registry.errors import UserError

_LIMIT = 1 << 28
# what builds plain data; everything that names, calls or restores an object is absent
_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
"""
_ALLOWED = frozenset(_PLAIN.split())


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse: plain data names no class."""
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_plain_pickle(path: Path) -> Any:
    """Return the value of a pickle, as Python 2 or 3 wrote it, that holds plain data alone.

    Every instruction is looked at before the first is carried out: one that could name or call anything, or
    that asks for more memory than the file has bytes, is a UserError.
    """
    content = read_bytes(path, _LIMIT)
    try:
        with warnings.catch_warnings():
            # Python warns of an escape that neither Python 2 nor 3 writes: the file is damaged.
            warnings.simplefilter("error", DeprecationWarning)
            warnings.simplefilter("error", SyntaxWarning)
            _check_instructions(path, content)
            return _Reader(io.BytesIO(content), encoding="utf-8").load()
    except (
        pickle.UnpicklingError,
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        DeprecationWarning,
        SyntaxWarning,
    ) as error:
        raise UserError(
            f"{path} must be a pickle of plain data, but cannot be read ({error})"
        ) from None


def _check_instructions(path: Path, content: bytes) -> None:
    """Raise UserError at the first instruction that does not build plain data."""
    for code, argument, place in pickletools.genops(content):
        if code.name not in _ALLOWED:
            argument_text = f" {argument!r}" if argument else ""
            raise UserError(
                f"{path}: a pickle must hold lists, mappings, texts and numbers alone, but at byte "
                f"{place} has {code.name}{argument_text}; it is not read"
            )
        # Memory grows with the number of an entry.
        if "PUT" in code.name and int(argument or 0) > len(content):
            raise UserError(
                f"{path}: the pickle is broken at byte {place} ({code.name} {argument})"
            )
