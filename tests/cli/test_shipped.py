"""`mplug2 specs`: names and purposes of what ships."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.cli.shipped import purpose

ROOT = Path(__file__).resolve().parents[2]
run = CliRunner().invoke


def test_all_shipped_specs_are_listed_with_their_purpose() -> None:
    files = sorted(ROOT.glob("configs_*/*.yaml"))
    output = run(app, ["specs"]).output
    names = {line.split()[0] for line in output.splitlines() if line}
    assert {file.stem for file in files} <= names
    without = [file.name for file in files if len(purpose(file)) < 20]
    assert without == []


def test_a_pattern_selects_and_a_wrong_one_is_a_message() -> None:
    output = run(app, ["specs", "VideoQA_msrvtt_*"]).output.splitlines()
    assert [line.split()[0] for line in output[2:]] == [
        "VideoQA_msrvtt_base",
        "VideoQA_msrvtt_large",
    ]
    done = run(app, ["specs", "VideoQE*"])
    assert done.exit_code == 2
    assert "no spec is named like 'VideoQE*'; there are" in done.output


def test_the_purpose_is_the_first_sentence_before_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "# Find clips\n# by words. Small.\n# run: sh a.sh\nextends: b.yaml\n"
    )
    assert purpose(file) == "Find clips by words"
    file.write_text("extends: b.yaml\n")
    assert purpose(file) == ""
