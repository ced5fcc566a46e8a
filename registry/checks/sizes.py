"""Axes as unknowns to be solved: each is a size, a letter, or free, and some must be the same."""

from __future__ import annotations

from dataclasses import dataclass

from registry.errors import Location


@dataclass(eq=False)
class Size:
    """One axis: its size with the place that set it, where known; the letter of a free axis; a name to show.

    A letter (`T` of an input, `patches.N` of a new axis) is a separate axis: two letters are not the same
    axis, though both may turn out to have the same size. An axis without a letter takes on whatever it meets.
    """

    name: str
    letter: str = ""
    value: int | None = None
    origin: Location | str = ""
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

    def set_at(self, seen_from: Location) -> str:
        """Return " (set at ...)" for a size whose place is known."""
        origin = self.root().origin
        # A default is described by words, which need no "set at".
        where = origin
        if isinstance(origin, Location) and origin.file:
            where = f"set at {origin.seen_from(seen_from)}"
        return f" ({where})" if where else ""


def unify(left: Size, right: Size) -> str:
    """Make two axes the same; return "", "sizes" that differ, or "letters", which equal sizes can still
    resolve."""
    left, right = left.root(), right.root()
    if left is right:
        return ""
    if left.value is not None and right.value is not None and left.value != right.value:
        return "sizes"
    if left.letter and right.letter:  # they stay two axes, which may have one size
        if left.value is None and right.value is None:
            return "letters"
        settled = left if left.value is not None else right
        for axis in (left, right):
            axis.value, axis.origin = settled.value, settled.origin
        return ""
    # From here on one root represents both.
    right.same = left
    if left.value is None:
        left.value, left.origin = right.value, right.origin
    left.letter = left.letter or right.letter
    return ""
