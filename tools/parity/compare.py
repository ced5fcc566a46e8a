"""Compare fixtures with composed networks: the family is found by the numbers of the configuration.

A family is one file in `families/` with the functions ``recognizes(fixture)`` and ``compare(fixture, rows)``.
What is recorded and was not compared is a failed row, so no family can forget a tensor.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from registry import UserError
from tools.parity import families
from tools.parity.fixture import Fixture, find_fixtures, reading
from tools.parity.rows import Comparison, Row


def compare(path: Path) -> list[Row]:
    """Return all rows of the fixtures in a folder, or of one file; UserError if no family recognizes one."""
    rows = []
    for fixture in find_fixtures(path):
        comparison = Comparison(fixture.outputs())
        _family(fixture).compare(fixture, comparison)
        for row in (*comparison.rows, *comparison.not_compared()):
            rows.append(
                Row(fixture.prefix + row.name, row.difference, row.good, row.compared)
            )
    return rows


def _family(fixture: Fixture) -> ModuleType:
    modules = {}
    for entry in pkgutil.iter_modules(families.__path__):
        modules[entry.name] = importlib.import_module(
            f"{families.__name__}.{entry.name}"
        )
    with reading(fixture.path):
        matches = [
            name for name, family in modules.items() if family.recognizes(fixture)
        ]
    if len(matches) != 1:
        problem = f"none of {', '.join(modules)} recognizes"
        if matches:
            problem = f"both {' and '.join(matches)} recognize"
        raise UserError(
            f"{fixture.name}: not a fixture that can be compared: {problem} its config.json and meta.json\n"
            "    hint: a family is one file in tools/parity/families"
        )
    return modules[matches[0]]
