"""A base class in another file."""

from __future__ import annotations

raise RuntimeError("declarations are read, never imported")


class Layered:
    def __init__(self, width: int, depth: int = 10) -> None: ...
