"""A line of JSON that every reader takes: numbers that are not finite are null, halves of letters escaped."""

from __future__ import annotations

import json
import math
from typing import Any


def json_line(row: Any, encoding: str = "utf-8") -> str:
    """Return a value as one line of valid JSON that can be written in ``encoding``, without a line end."""
    row = finite(row)
    said = json.dumps(row, ensure_ascii=False, allow_nan=False)
    try:
        said.encode(encoding)
    except (
        UnicodeEncodeError
    ):  # or half of a surrogate pair: how Python holds a byte that is no UTF-8
        return json.dumps(row, allow_nan=False)
    return said


def finite(value: Any) -> Any:
    """Return a value with None for every number that JSON does not have (nan, inf)."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return type(value)(map(finite, value)) if type(value) in (list, tuple) else value
