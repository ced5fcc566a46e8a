"""Tables show names from data unchanged, and cut very long ones short."""

from __future__ import annotations

import pytest

from mplug2.cli.tables import LONGEST_CELL, print_result_table
from mplug2.metrics.metric import ResultTable


@pytest.mark.parametrize(
    "name", ["[/red]", "[bold]x", "[link=http://a]y[/link]", ":smile:"]
)
def test_markup_in_data_is_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_result_table(ResultTable(name, (name, "share"), ("", ".1%"), ((name, 0.5),)))
    title, *rest = capsys.readouterr().out.splitlines()
    assert name in title
    assert sum(name in line for line in rest) == 2
    assert "50.0%" in rest[-2]


def test_a_long_name_is_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    print_result_table(ResultTable("types", ("type",), ("",), (("x" * 1_000_000,),)))
    assert f"{'x' * (LONGEST_CELL - 3)}... " in capsys.readouterr().out
