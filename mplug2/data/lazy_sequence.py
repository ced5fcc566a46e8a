"""Sequences whose entries are made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

Entry = TypeVar("Entry")


class LazySequence(Sequence[Entry]):
    """A sequence over `at(number)`: millions of entries need no memory until they are used."""

    @abstractmethod
    def at(self, number: int) -> Entry:
        """Return the entry of a number from 0 to the length - 1."""

    @overload
    def __getitem__(self, number: int) -> Entry: ...
    @overload
    def __getitem__(self, number: slice) -> list[Entry]: ...
    def __getitem__(self, number: int | slice) -> Entry | list[Entry]:
        if isinstance(number, slice):
            return [self.at(index) for index in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(
                f"there are {len(self)} entries, but number {number} was asked for"
            )
        return self.at(number % len(self))

    def __iter__(self) -> Iterator[Entry]:
        return (self.at(number) for number in range(len(self)))
