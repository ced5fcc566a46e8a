"""The report of evaluations: report.json with values, intervals, counts and classes, and images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mplug2.eval.bootstrap import CONFIDENCE
from mplug2.eval.confusion_image import write_confusion
from mplug2.eval.details import Details
from mplug2.eval.evaluation import Evaluation
from mplug2.runtime.atomic_write import atomic_write
from mplug2.runtime.jsonl import json_line

REPORT = "report.json"
PREDICTIONS = "predictions.jsonl"
FORMAT = 1


def report_of(
    spec: str, checkpoint: Path, evaluations: Sequence[Evaluation]
) -> dict[str, Any]:
    """Return the report of evaluations that were made with details, as JSON data."""
    entries = [evaluation_entry(evaluation) for evaluation in evaluations]
    return {
        "format": FORMAT,
        "spec": spec,
        "checkpoint": str(checkpoint),
        "confidence": CONFIDENCE,
        "evaluations": entries,
    }


def evaluation_entry(evaluation: Evaluation) -> dict[str, Any]:
    """Return the entry of one evaluation: its values with their intervals, counts, and classes."""
    settings, details = evaluation.settings, evaluation.details
    assert settings is not None
    assert details is not None
    predictions = evaluation.predictions
    entry: dict[str, Any] = {
        "name": settings.name,
        "source": settings.source,
        "split": settings.split,
        "metrics": list(settings.metrics),
        "values": _values(evaluation, details),
        "rounds": details.rounds,
        "counts": {
            "samples": evaluation.samples,
            "unanswered": evaluation.unanswered,
            "undecodable_files": len(evaluation.bad),
        },
        "predictions": None if predictions is None else predictions.name,
    }
    if details.confusion is not None:
        entry["classes"] = details.confusion.lines()
        entry["confusion"] = details.confusion.counts.tolist()
    return entry


def write_report(
    folder: Path, report: dict[str, Any], evaluations: Sequence[Evaluation]
) -> list[Path]:
    """Write a report and the images of confused classes; return the files."""
    spec = Path(report["spec"]).stem
    path = folder / REPORT
    with atomic_write(path) as file:
        file.write(json_line(report) + "\n")
    files = [path]
    for evaluation in evaluations:
        settings, details = evaluation.settings, evaluation.details
        if settings is None or details is None or details.confusion is None:
            continue
        picture = file_of(folder, "confusion.png", settings.name)
        title = " ".join(part for part in (spec, settings.name, settings.split) if part)
        write_confusion(details.confusion, title, picture)
        files.append(picture)
    return files


def file_of(folder: Path, name: str, evaluation: str) -> Path:
    """Return the file of an evaluation in a report: STEM.EVALUATION.SUFFIX, or STEM.SUFFIX without a name."""
    path = folder / name
    if not evaluation:
        return path
    return path.with_name(f"{path.stem}.{quote(evaluation, safe='')}{path.suffix}")


def _values(evaluation: Evaluation, details: Details) -> dict[str, Any]:
    values = {}
    for name, value in evaluation.metrics.items():
        interval = details.intervals.get(name)
        low = None if interval is None else interval.low
        high = None if interval is None else interval.high
        values[name] = {"value": value, "low": low, "high": high}
    return values
