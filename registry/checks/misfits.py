"""Streams that do not fit their ports: collected over all calls, some only when all sizes are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from registry.checks.sizes import Size, unify
from registry.errors import Location, Problem


@dataclass(frozen=True)
class Misfit:
    """A stream that does not fit its port, and the kinds that the port takes."""

    problem: Problem
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Meeting:
    """Two letters without a size at one axis of a port: they may still turn out to have one, or two."""

    expected: Size
    size: Size
    kinds: tuple[str, ...]  # that the port takes
    letters: Callable[[], Problem]
    mismatch: Callable[[], Problem]


class Misfits:
    """Collects misfits, one for two settings that clash in any number of calls."""

    def __init__(self) -> None:
        self.misfits: list[Misfit] = []
        self.clashes: dict[frozenset[Location | str], Misfit] = {}
        self.meetings: list[Meeting] = []

    def add(self, misfit: Misfit) -> None:
        """Keep a misfit."""
        self.misfits.append(misfit)

    def clash(self, settings: Iterable[Location | str], misfit: Misfit) -> None:
        """Keep one problem, the first of the file, for two settings that clash in any number of calls."""
        key = frozenset(settings)
        if "" in key:  # a size that no setting made
            self.misfits.append(misfit)
            return
        earlier = self.clashes.get(key)
        if earlier is None or misfit.problem.place.line < earlier.problem.place.line:
            self.clashes[key] = misfit

    def meet(self, meeting: Meeting) -> None:
        """Keep two letters apart until later lines have set their sizes, or have not."""
        self.meetings.append(meeting)

    def finish(self) -> list[Misfit]:
        """Return all misfits, when every line has been read."""
        apart = [
            Misfit(meeting.letters(), meeting.kinds) for meeting in self._unsettled()
        ]
        # After `_unsettled`, which adds clashes.
        return [*self.misfits, *self.clashes.values(), *apart]

    def _unsettled(self) -> list[Meeting]:
        """Hand sizes that later lines set on to the letters that met before; return what is left apart."""
        left = self.meetings
        # A size that settles one pair may settle another that came before it: repeat until none changes.
        while True:
            before, left = left, []
            for meeting in before:
                result = unify(meeting.expected, meeting.size)
                if result == "letters":
                    left.append(meeting)
                elif result == "sizes":
                    origins = (
                        meeting.expected.root().origin,
                        meeting.size.root().origin,
                    )
                    self.clash(origins, Misfit(meeting.mismatch(), meeting.kinds))
            if len(left) == len(before):
                return left
