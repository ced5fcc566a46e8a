"""The guide to writing a spec: its specs are checked, its messages are real, and its complete spec trains."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from mplug2.data.shapes.write import make_shapes

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "writing_a_spec.md").read_text(encoding="utf-8")
SHIPPED = ROOT / "configs_video" / "VideoEntailment_shapes_tiny.yaml"
# each spec, and the message right after it, if it has a mistake
BLOCKS = re.findall(
    r"```yaml\n(.*?)```(?:(?:(?!```).)*?```text\n(.*?)```)?", GUIDE, flags=re.DOTALL
)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_spec_is_as_the_guide_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, said = BLOCKS[number]
    monkeypatch.chdir(tmp_path)
    Path("entailment.yaml").write_text(body)
    done = CliRunner().invoke(app, ["check", "entailment.yaml"])
    if said:
        assert (done.exit_code, done.output) == (2, said)
    else:
        assert done.exit_code == 0, done.output


def test_the_guide_has_good_specs_and_bad_ones() -> None:
    assert [bool(said) for _, said in BLOCKS] == [False, True, True, False, False, True]


def test_the_complete_spec_is_the_shipped_one_and_short() -> None:
    assert BLOCKS[3][0] == SHIPPED.read_text()
    assert (
        len(SHIPPED.read_text().splitlines()) < 25 + 4
    )  # the first four lines are comments
    assert (
        len(
            [
                line
                for line in SHIPPED.read_text().splitlines()
                if not line.startswith("#")
            ]
        )
        < 25
    )


def at(folder: Path, *more: str) -> list[str]:
    """The settings that read the data from ``folder``."""
    splits = [
        f"data.{split}.path={folder}/entailment_{split}.jsonl"
        for split in ("train", "val", "test")
    ]
    return [
        f"data.tokenizer={folder}/vocab.txt",
        f"data.media={folder}/videos",
        *splits,
        *more,
    ]


def test_it_trains_a_few_steps_and_is_measured(tmp_path: Path) -> None:
    make_shapes(tmp_path / "shapes", train=6, val=3, test=3, workers=1)
    settings = at(
        tmp_path / "shapes",
        "data.workers=0",
        "train.batch_size=3",
        "train.epochs=1",
        "train.warmup=1",
        "data.max_bad_fraction=1",
    )
    result = mplug2.train(SHIPPED, [*settings, f"train.output_dir={tmp_path / 'run'}"])
    assert result.steps == 2
    assert 0 <= result.metrics["label_accuracy"] <= 1
    assert result.best is not None
    done = CliRunner().invoke(
        app,
        [
            "eval",
            str(SHIPPED),
            "-c",
            str(result.best),
            "--out",
            str(tmp_path / "p.jsonl"),
            *settings,
        ],
    )
    assert done.exit_code == 0, done.output
    assert "label_accuracy" in done.output
    rows = [
        json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 18
    assert {row["prediction"] for row in rows} <= {"yes", "no", "unknown"}


@pytest.mark.slow
def test_it_beats_the_majority_by_25_points(tmp_path: Path) -> None:
    make_shapes(tmp_path / "shapes")
    settings = at(tmp_path / "shapes", f"train.output_dir={tmp_path / 'run'}")
    result = mplug2.train(SHIPPED, settings)
    assert result.metrics["label_accuracy"] > 1 / 3 + 0.25
