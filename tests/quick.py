"""Which cases of a parametrized test are quick: all others are slow."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from _pytest.mark import ParameterSet


def mostly_slow(cases: Iterable[Any], quick: Collection[Any]) -> list[ParameterSet]:
    """Return cases as parameters of a test, those that are not in `quick` with the mark `slow`.

    A case of several arguments is a tuple. Raises `ValueError` if `quick` holds what is no case.
    """
    cases = list(cases)
    unknown = [case for case in quick if case not in cases]
    if unknown:
        raise ValueError(f"quick cases must be cases (got {unknown})")
    parameters = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = () if case in quick else pytest.mark.slow
        parameters.append(pytest.param(*values, marks=marks))
    return parameters
