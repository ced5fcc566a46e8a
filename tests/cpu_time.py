"""`pytest --cpu`: the CPU time of the tests and files that cost most, for keeping the quick tests quick."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

ROWS = 20
KEY = "cpu"
START = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu", action="store_true", help=f"print the {ROWS} tests with most CPU time"
    )


def cpu_seconds() -> float:
    """Return the CPU time of this process, and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[START] = cpu_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        # What a fixture of a module costs counts for the test that makes or ends it.
        item.user_properties.append((KEY, cpu_seconds() - item.stash[START]))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("--cpu"):
        return
    tests, files = Counter[str](), Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            # Processes of pytest-xdist send the properties with the report of the teardown.
            if getattr(report, "when", None) != "teardown":
                continue
            seconds = dict(report.user_properties).get(KEY, 0.0)
            tests[report.nodeid] = seconds
            files[report.nodeid.partition("::")[0]] += seconds
    terminalreporter.section(f"CPU time, {tests.total():.0f} s in all")
    for counts in (files, tests):
        for name, seconds in counts.most_common(ROWS):
            terminalreporter.write_line(f"{seconds:8.1f} s  {name}")
        terminalreporter.write_line("")
