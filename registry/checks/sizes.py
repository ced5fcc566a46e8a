"""Axes as unknowns to be solved: each is a size, a letter, or free, and some must be the same."""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import Place


@dataclass(eq=False)
class Size:
    """One axis: its size with the place that set it, where known; the letter of a free axis; a name to show.

    A letter (`T` of an input, `patches.N` of a new axis) is a separate axis: two letters are not the same
    axis, though both may turn out to have the same size. An axis without a letter takes on whatever it meets.
    """

    name: str
    letter: str = ""
    value: int | None = None
    origin: Place | str = ""
    same: Size | None = None

    def root(self) -> Size:
        """Return the axis that represents all equal ones."""
        size = self
        while size.same is not None:
            size = size.same
        return size

    @property
    def axis(self) -> int | str:
        """The size where known, else the letter, else the name."""
        root = self.root()
        return root.value if root.value is not None else root.letter or root.name

    def set_at(self, seen_from: Place) -> str:
        """Return " (set at ...)" for a size whose place is known."""
        origin = self.root().origin
        where = (
            f"set at {origin.seen_from(seen_from)}" if isinstance(origin, Place) and origin.file else origin
        )
        return f" ({where})" if where else ""


def unify(one: Size, other: Size) -> str:
    """Make two axes the same; return "", "sizes" that differ, or "letters", which equal sizes can still
    resolve."""
    one, other = one.root(), other.root()
    if one is other:
        return ""
    if one.value is not None and other.value is not None and one.value != other.value:
        return "sizes"
    if one.letter and other.letter:  # they stay two axes, which may have one size
        if one.value is None and other.value is None:
            return "letters"
        known = one if one.value is not None else other
        one.value, one.origin = other.value, other.origin = known.value, known.origin
        return ""
    other.same = one
    if one.value is None:
        one.value, one.origin = other.value, other.origin
    one.letter = one.letter or other.letter
    return ""
