"""`mplug2 data`: what a person reads where there is nothing to do."""

from __future__ import annotations

from pathlib import Path

from small_specs import ROOT
from typer.testing import CliRunner

from mplug2.cli.app import app

TINY = str(ROOT / "configs_image" / "vqa_shapes_tiny.yaml")


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["data", *words])
    assert done.exit_code == 2, done.output
    return done.output


def test_check_of_a_spec_without_splits_says_so() -> None:
    line = Path(TINY).read_text().splitlines().index("data:") + 2  # of its first key
    told = refused("check", TINY, "data.train=", "data.val=", "data.test=")
    assert told.strip() == f"{TINY}:{line}:3: data has no split to check. Splits: none"


def test_files_that_may_have_two_names_are_told_in_words(tmp_path: Path) -> None:
    told = refused(
        "prepare", "refcoco", "--source", str(tmp_path), "--out", str(tmp_path / "out")
    )
    assert (
        "there is no refcoco/refs(unc).p or refcoco/refs(unc).json + refcoco/instances.json"
        in told
    )
    assert "|" not in told
