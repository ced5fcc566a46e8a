"""No test asserts a time: such a test fails on a slower machine. `mplug2 bench` prints times instead."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMES = {"time", "perf_counter", "process_time", "thread_time", "monotonic"}
CLOCKS = (
    NAMES | {f"{name}_ns" for name in NAMES} | {"times", "getrusage", "default_timer"}
)
MODULES = {"time", "os", "resource", "timeit"}
STORES = {"append", "extend", "insert", "add", "update", "setdefault"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def clocks(tree: ast.AST) -> set[str]:
    """Return the names of all clocks that a file imports: `time.monotonic`, or `now` for an imported one."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [
                alias.asname or alias.name
                for alias in node.names
                if alias.name in MODULES
            ]
            names |= {f"{module}.{clock}" for module in modules for clock in CLOCKS}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names |= {
                alias.asname or alias.name
                for alias in node.names
                if alias.name in CLOCKS
            }
    return names


def depends(tree: ast.AST, names: set[str]) -> bool:
    """Return whether an expression uses one of the names."""
    return any(
        isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) in names
        for node in ast.walk(tree)
    )


def assignments(function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield what a function stores, and where: by assignment, in a loop, or by a method such as `append`."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            yield from ((node.value, target) for target in node.targets)
        elif (
            isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr)
            and node.value is not None
        ):
            yield node.value, node.target
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.iter, node.target
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in STORES
        ):
            yield from ((value, node.func.value) for value in node.args)


def times(function: ast.AST, sources: set[str]) -> set[str]:
    """Return the sources and the names in a function that hold a value derived from them."""
    names, size = set(sources), -1
    while size != len(names):
        size = len(names)
        for value, target in assignments(function):
            if depends(value, names):
                names |= {
                    node.id for node in ast.walk(target) if isinstance(node, ast.Name)
                }
    return names


def timed_asserts(source: str) -> list[int]:
    """Return the lines of all asserts that depend on a clock, also through a function of the file."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    names, size = clocks(tree), -1
    if not names:
        return []
    while size != len(names):
        size = len(names)
        for function in functions:
            timed = times(function, names)
            results = [
                node for node in ast.walk(function) if isinstance(node, ast.Return)
            ]
            if any(depends(result, timed) for result in results):
                names.add(function.name)
    lines: set[int] = set()
    for function in functions:
        asserts = [node for node in ast.walk(function) if isinstance(node, ast.Assert)]
        timed = times(function, names)
        lines |= {node.lineno for node in asserts if depends(node.test, timed)}
    return sorted(lines)


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (
            "import time",
            ["a = time.monotonic()", "work()", "assert time.monotonic() - a < 1"],
        ),
        (
            "from time import perf_counter as now",
            ["a = now()", "b = now() - a", "assert b < 1"],
        ),
        (
            "import os",
            [
                "def cost():",
                "    a = os.times()",
                "    return a.user",
                "assert cost() < 1",
            ],
        ),
        (
            "import resource as r",
            ["a = []", "a.append(r.getrusage(0))", "assert min(a) < 1"],
        ),
        (
            "import time",
            [
                "for a in [time.time_ns()]:",
                "    b = a",
                "assert all(c < 1 for c in [b])",
            ],
        ),
    ],
)
def test_an_assert_on_a_time_is_detected(first: str, body: list[str]) -> None:
    assert timed_asserts("\n    ".join([f"{first}\ndef test():", *body])) == [
        len(body) + 2
    ]


@pytest.mark.parametrize(
    "body",
    [
        [
            "end = time.monotonic() + 120",
            "while time.monotonic() < end:",
            "    work()",
            "assert result",
        ],
        ["time.sleep(1)", "assert run(timeout=120)"],
    ],
)
def test_a_safety_net_is_allowed(body: list[str]) -> None:
    assert timed_asserts("\n    ".join(["import time\ndef test():", *body])) == []


def test_no_test_asserts_a_time() -> None:
    sources = {
        str(file): file.read_text(encoding="utf-8") for file in TESTS.rglob("*.py")
    }
    assert __file__ in sources
    asserts = {file: timed_asserts(source) for file, source in sources.items()}
    assert {file: lines for file, lines in asserts.items() if lines} == {}
