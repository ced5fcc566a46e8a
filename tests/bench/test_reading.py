"""The benchmark of reading: the same files from both sources; a resumed run reads what comes next alone."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mplug2.bench.reading import (
    BATCH,
    FOLDER,
    SHARDS,
    Reading,
    lines,
    resumed_loader,
    write_synthetic_shards,
)
from mplug2.cli.app import app
from mplug2.data.shapes.write import make_shapes
from registry import UserError


def test_the_median_of_the_rounds_counts() -> None:
    seconds = {FOLDER: [3.0, 4.0, 9.0], SHARDS: [2.0, 4.0, 3.0]}
    reading = Reading(files=12, frames=96, num_bytes=6_000_000, seconds=seconds)
    assert reading.ratio == 1.5
    assert lines(reading) == [(FOLDER, "3", "24", "1.5"), (SHARDS, "4", "32", "2.0")]


def test_a_resumed_run_reads_no_sample_before_its_position(tmp_path: Path) -> None:
    """All other samples are holes in the file: reading one of them would fail."""
    position = 5_000
    order = np.random.default_rng([3, 0]).permutation(position + BATCH)
    write_synthetic_shards(tmp_path, position + BATCH, order[position:].tolist())
    batch = next(iter(resumed_loader(tmp_path, position, seed=3)))
    assert [int(record["question_id"]) for record in batch.records] == order[
        position:
    ].tolist()
    with pytest.raises(UserError, match="no file begins at byte"):
        next(iter(resumed_loader(tmp_path, position - 1, seed=3)))


def test_the_command_prints_both(tmp_path: Path) -> None:
    make_shapes(tmp_path, train=3, val=0, test=0, size=24, frames=6, workers=1)
    settings = [
        f"data.train={{path: {tmp_path}/qa_train.jsonl, media: {tmp_path}/videos}}",
        f"data.tokenizer={tmp_path}/vocab.txt",
        "data.val=",
        "data.test=",
        "train.best_metric=",
    ]
    words = ["bench", "reading", "configs_video/VideoQA_shapes_tiny.yaml", *settings]
    done = CliRunner().invoke(app, [*words, "--rounds", "1", "--resume", "100"])
    assert done.exit_code == 0, done.output
    assert "3 files" in done.output
    assert re.search(r"shards / folder: \d+\.\d\d times as fast", done.output)
    assert re.search(
        r"resumes in 100 samples: \d+\.\d\d s, CPU \d+\.\d\d s", done.output
    )
