"""The table of all tasks: headers by hand, and that every shipped spec has a row with sources."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import task_table  # noqa: E402

HEADER = """# Answer questions.
# run:    sh scripts/run_vqa.sh
# expect: 81.3 % accuracy on test (published, arXiv
#         2205.12005); not reproduced yet
# data:   vqa: mplug2 data prepare vqa (docs/data.md)
extends: base.yaml
# run: not a header any more
"""


def test_fields_of_a_header_may_be_continued() -> None:
    fields = task_table.header(HEADER)
    assert fields == {
        "run": "sh scripts/run_vqa.sh",
        "expect": "81.3 % accuracy on test (published, arXiv 2205.12005); not reproduced yet",
        "data": "vqa: mplug2 data prepare vqa (docs/data.md)",
    }
    assert task_table.data_set(fields["data"]) == "vqa"
    assert task_table.script_of(fields["run"]) == "`scripts/run_vqa.sh`"


@pytest.mark.parametrize(
    ("expect", "published", "measured"),
    [
        ("not measured", "-", "not measured"),
        ("", "-", "not measured"),
        ("95.6 % accuracy on test", "-", "95.6 % accuracy on test"),
        (
            "48.0 % (published, arXiv 2302.00402); not reproduced yet",
            "48.0 % (published, arXiv 2302.00402)",
            "not measured",
        ),
        (
            "not measured. Published: 63.2 % (arXiv 2103.00020)",
            "63.2 % (arXiv 2103.00020)",
            "not measured",
        ),
        # Without a source it is the number of another spec.
        ("not measured; the published 80.3 are of x.yaml", "-", "not measured"),
    ],
)
def test_published_and_measured_numbers(
    expect: str, published: str, measured: str
) -> None:
    assert task_table.results(expect) == task_table.Results(published, measured)


def test_long_cells_end_between_words() -> None:
    cell = task_table.shortened("word " * 100)
    assert len(cell) <= task_table.LONGEST + 4
    assert cell.endswith("word ...")


def test_every_shipped_spec_has_a_row_and_every_published_number_a_source() -> None:
    rows = task_table.table_rows()
    files = []
    for folder in task_table.FOLDERS:
        files += (ROOT / folder).glob("*.yaml")
    assert len(rows) == len(files) >= 45
    modalities = {row[2] for row in rows}
    assert {"text", "image", "video", "image, text", "video, text"} <= modalities
    for row in rows:
        published, measured = row[-2:]
        assert published == "-" or task_table.SOURCE.search(published), row[3]
        assert measured
        assert row[0] != "-", row[3]
