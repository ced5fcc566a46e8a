"""Errors of the functions that a command calls, collected as problems with a place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from registry import Location, Problem, SpecError, UserError


@contextlib.contextmanager
def problems_of(problems: list[Problem], place: Location) -> Iterator[None]:
    """Add a `UserError` that is raised inside to ``problems``; at ``place`` if it has no place."""
    try:
        yield
    except SpecError as error:
        problems.extend(error.problems)
    except UserError as error:
        problems.append(Problem(place, str(error)))
