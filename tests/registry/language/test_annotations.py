"""Values of specs as the annotations of parameters take them."""

from __future__ import annotations

from typing import Any

import pytest

from registry.language.annotations import as_annotated

VALUES = [
    ("float", 1, 1.0),
    ("float | None", 0, 0.0),
    ("int", 1, 1),
    ("int | float", 1, 1),
    ("float | int", 1, 1),
    ("bool", True, True),
    ("Any", 1, 1),
    ("", 1, 1),
    ("Literal[1, 2] | float", 1, 1),
    ("Literal[1, 2] | float", 3, 3.0),
    ("list[float]", [1, 0.1], [1.0, 0.1]),
    ("list[float] | None", [1, 2], [1.0, 2.0]),
    ("list[int]", [1, 2], [1, 2]),
    ("Sequence[float] | float", [1, 2], [1.0, 2.0]),
    ("tuple[int, float]", [1, 2], [1, 2.0]),
    ("tuple[float, ...]", [1, 2, 3], [1.0, 2.0, 3.0]),
    ("float | dict[str, float]", {"a": 1}, {"a": 1.0}),
    ("list[str]", [1], [1]),
    ("float", 10**400, 10**400),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), VALUES)
def test_whole_numbers_are_floats_where_only_those_are_taken(
    annotation: str, value: Any, expected: Any
) -> None:
    converted = as_annotated(annotation, value)
    assert converted == expected
    assert repr(converted) == repr(expected)
