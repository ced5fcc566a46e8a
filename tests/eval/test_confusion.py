"""Confused classes: by hand, on random cases with empty classes, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mplug2.eval.confusion import (
    OTHERS,
    UNREADABLE,
    Confusion,
    class_table,
    confusion_of,
)
from mplug2.eval.confusion_image import confusion_scene, write_confusion

NUM_CASES = 1000


def row(true: str, predicted: str, **more: Any) -> dict[str, Any]:
    return {"answers": [true], "prediction": predicted, **more}


def test_counts_by_hand() -> None:
    rows = [
        row("cat", "cat"),
        row("cat", "dog"),
        row("dog", "dog", bad="broken"),
        {"answers": [], "prediction": "cat"},
        {"answers": ["cat", "dog"], "prediction": "cat"},
        {"value": 1.0, "prediction": 0.5},
    ]
    confusion = confusion_of(rows)
    assert confusion is not None
    assert confusion.classes == (UNREADABLE, "cat", "dog")
    assert confusion.counts.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    cat = confusion.lines()[1]
    assert cat["precision"] == 1.0
    assert cat["recall"] == 0.5
    assert cat["f1"] == pytest.approx(2 / 3)
    assert confusion.lines()[0]["recall"] is None
    assert confusion_of(rows[3:]) is None


def test_classes_have_the_order_of_the_outputs() -> None:
    rows = [row("b", "a", classes=["c", "b", "a"])]
    confusion = confusion_of(rows)
    assert confusion is not None
    assert confusion.classes == ("c", "b", "a")


def test_random_cases_agree_with_independent_sums() -> None:
    rng = np.random.default_rng(0)
    for _ in range(NUM_CASES):
        # Few rows of many classes: some have no sample, some no prediction, some neither.
        num_classes, num_rows = int(rng.integers(2, 7)), int(rng.integers(1, 12))
        names = [f"class {number}" for number in range(num_classes)]
        true, predicted = rng.integers(num_classes, size=(2, num_rows))
        rows = []
        for left, right in zip(true, predicted, strict=True):
            rows.append(row(names[left], names[right], classes=names))
        confusion = confusion_of(rows)
        assert confusion is not None
        for number, line in enumerate(confusion.lines()):
            is_true, is_predicted = true == number, predicted == number
            hits = int((is_true & is_predicted).sum())
            assert line["samples"] == is_true.sum()
            assert line["predicted"] == is_predicted.sum()
            assert line["recall"] == (hits / is_true.sum() if is_true.any() else None)
            expected = hits / is_predicted.sum() if is_predicted.any() else None
            assert line["precision"] == expected
            occurs = is_true.any() or is_predicted.any()
            total = is_true.sum() + is_predicted.sum()
            assert line["f1"] == (2 * hits / total if occurs else None)
        assert confusion.counts.sum() == num_rows


def test_rare_classes_are_merged() -> None:
    counts = np.diag([5, 1, 7, 1])
    counts[1, 3] = counts[3, 2] = 1
    merged = Confusion(("a", "b", "c", "d"), counts).merged(3)
    assert merged.classes == ("a", "c", OTHERS)
    assert merged.counts.tolist() == [[5, 0, 0], [0, 7, 0], [0, 1, 3]]


def test_the_table_of_many_classes_has_the_worst_ones() -> None:
    counts = np.diag(np.arange(60))
    counts[7, 8] = 100
    table = class_table(Confusion(tuple(map(str, range(60))), counts))
    assert len(table.rows) == 50
    assert "50 with the lowest F1 of 60" in table.title
    assert [line[0] for line in table.rows[:3]] == ["0", "7", "8"]


def test_the_picture_has_a_cell_for_each_pair_and_the_counts(tmp_path: Path) -> None:
    confusion = Confusion(("cat", "dog\x1b[1m"), np.array([[3, 1], [0, 0]]))
    scene = confusion_scene(confusion, "run")
    texts = [label.text for label in scene.labels]
    assert len(scene.boxes) == 4
    assert texts.count("3") == texts.count("1") == 1
    assert all("\x1b" not in text for text in texts)
    write_confusion(confusion, "run", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == pytest.approx(
            (scene.width * 1.5, scene.height * 1.5), abs=2
        )
    # Correct cells are blue, wrong ones orange, empty ones white.
    fills = [box.fill for box in scene.boxes]
    assert fills[2] == fills[3] == "#ffffff"
    assert int(fills[0][5:], 16) > int(fills[0][1:3], 16)
    assert int(fills[1][1:3], 16) > int(fills[1][5:], 16)
