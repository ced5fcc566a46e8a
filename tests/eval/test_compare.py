"""Reports of runs, written and compared: what differs, what is not the same data, what is no report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mplug2.eval.compare import comparable_metrics, compare_runs, read_run
from mplug2.eval.details import details_of
from mplug2.eval.evaluation import Evaluation
from mplug2.eval.predictions import write_jsonl
from mplug2.eval.report import report_of, write_report
from mplug2.metrics.accuracy import Accuracy
from mplug2.metrics.metric import score_rows
from registry import UserError
from registry.evaluations import EvaluationSpec

SETTINGS = EvaluationSpec("", "data", "test", None, "predict", None, ("accuracy",))


def write_run(folder: Path, right: list[bool]) -> Path:
    """Write the report of a run that answers some of its questions."""
    rows: list[dict[str, Any]] = []
    for number, is_right in enumerate(right):
        prediction = "yes" if is_right else "no"
        row = {"question_id": number, "answers": ["yes"], "prediction": prediction}
        rows.append(row | {"score": 0.5})
    metrics = [Accuracy()]
    score_rows(metrics, rows)
    values = Accuracy().compute(rows)
    details = details_of(metrics, rows, 0)
    predictions = folder / "predictions.jsonl"
    write_jsonl(predictions, rows)
    evaluation = Evaluation(
        values,
        len(rows),
        [],
        predictions=predictions,
        settings=SETTINGS,
        details=details,
    )
    report = report_of("specs/run.yaml", Path("runs/x/best"), [evaluation])
    write_report(folder, report, [evaluation])
    return folder


def marks(seed: int, num_rows: int, share: float) -> list[bool]:
    return (np.random.default_rng(seed).random(num_rows) < share).tolist()


def test_the_better_run_is_found_and_a_run_does_not_differ_from_itself(
    tmp_path: Path,
) -> None:
    weak = write_run(tmp_path / "weak", marks(0, 300, 0.5))
    strong = write_run(tmp_path / "strong" / "report", marks(1, 300, 0.8))
    runs = [read_run(folder) for folder in (weak, strong.parent, weak)]
    better, same = compare_runs(runs)
    assert (better.run, same.run) == (1, 2)
    assert better.difference.is_real
    assert better.difference.interval.low < better.difference.value
    assert better.difference.value < better.difference.interval.high
    assert same.difference.value == 0.0
    assert not same.difference.is_real


def test_the_report_holds_values_intervals_and_counts(tmp_path: Path) -> None:
    write_run(tmp_path, [True, True, False, True])
    report = json.loads((tmp_path / "report.json").read_text())
    (entry,) = report["evaluations"]
    assert entry["values"]["accuracy"] == {"value": 0.75, "low": 0.25, "high": 1.0}
    assert entry["counts"] == {"samples": 4, "unanswered": 0, "undecodable_files": 0}
    assert entry["confusion"] == [[0, 0], [1, 3]]
    assert [line["class"] for line in entry["classes"]] == ["no", "yes"]
    assert entry["predictions"] == "predictions.jsonl"
    assert (tmp_path / "confusion.png").is_file()


def test_other_samples_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [True, False])
    second = write_run(tmp_path / "b", [True, False, True])
    message = "must be over the samples of .*a \\(got 3 samples, not 2\\)"
    with pytest.raises(UserError, match=message):
        compare_runs([read_run(first), read_run(second)])
    third = write_run(tmp_path / "c", [True, True])
    path = third / "predictions.jsonl"
    path.write_text(path.read_text().replace('["yes"]', '["no"]'))
    with pytest.raises(
        UserError, match=r"'answers' of row 1 is \[\"no\"\], not \[\"yes\"\]"
    ):
        compare_runs([read_run(first), read_run(third)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"format": 2, "evaluations": []}',
        '{"format": 1, "evaluations": [{"name": 1}]}',
        '{"format": 1, "evaluations": [{"name": "", "metrics": [], "values": {"a": 1}}]}',
        "\xff",
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(
        UserError, match=re.escape(f"{tmp_path / 'report.json'}: must be")
    ):
        read_run(tmp_path)


def test_a_folder_without_a_report_is_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mplug2 eval SPEC -c CHECKPOINT --report"):
        read_run(tmp_path)


def test_metrics_that_the_files_are_not_enough_for_are_left_out() -> None:
    names = [
        "top_k",
        "mean_average_precision",
        "mean_class_accuracy",
        "cider",
        "meteor",
    ]
    metrics = comparable_metrics({"metrics": names})
    values = [next(iter(metric.outputs)) for metric in metrics]
    assert values == ["top1", "mean_class_accuracy"]
