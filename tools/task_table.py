"""The table of all tasks, written from the headers of the shipped specs: a part of docs/tasks.md.

A header has lines `# run:`, `# expect:` and `# data:`, each perhaps continued on lines that are indented.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import registry
from registry import Spec
from registry.training import training_plan

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("configs_text", "configs_image", "configs_video")
FIELD = re.compile(r"# (?P<name>[a-z]+): +(?P<text>.*)")
SOURCE = re.compile(r"arXiv \d{4}\.\d{5}|model card|https?://")
SCRIPT = re.compile(r"scripts/[\w/]+\.sh")
COLUMNS = (
    "task",
    "data set",
    "modality",
    "spec",
    "script",
    "metric",
    "published, with source",
    "measured here",
)
KINDS = {
    "frames": "video",
    "image": "image",
    "regions": "image regions",
    "text": "text",
}
NOT_MEASURED = "not measured"
LONGEST = 240  # characters of a cell; the spec has the rest


@dataclass(frozen=True)
class Results:
    """What the header of a spec has under `expect`: published numbers with their source, and ours."""

    published: str
    measured: str


def header(text: str) -> dict[str, str]:
    """Return the fields of a spec's header: the text after `# run:`, `# expect:`, `# data:` and others."""
    fields: dict[str, str] = {}
    current = None
    for line in text.split("\n"):
        if not line.startswith("#"):
            break
        match = FIELD.fullmatch(line)
        if match is not None:
            current = match["name"]
            fields[current] = match["text"].strip()
        elif current is not None:
            continued = line.lstrip("# ").strip()
            fields[current] = f"{fields[current]} {continued}".strip()
    return fields


def results(expect: str) -> Results:
    """Return the published numbers and the measured ones of an `expect` text."""
    # A number without its source is not quoted: it is that of another spec.
    if "ublished" in expect and SOURCE.search(expect) is not None:
        # Published numbers that were not reached here end so.
        published = expect.partition("; not reproduced yet")[0]
        published = re.sub(rf"^{NOT_MEASURED}[.;] *", "", published)
        published = published.removeprefix("Published: ")
        return Results(shortened(published), NOT_MEASURED)
    if not expect or expect.startswith(NOT_MEASURED):
        return Results("-", NOT_MEASURED)
    return Results("-", shortened(expect))


def shortened(text: str) -> str:
    """Return a text that fits into a cell, cut between words."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST].rpartition(' ')[0]} ..."


def tasks_of(spec: Spec) -> str:
    """Return the tasks of a spec's sources."""
    names: dict[str, None] = {}
    for source in training_plan(spec).sources.values():
        if source.task is not None:
            names[source.task] = None
    return ", ".join(names) or "-"


def modality_of(spec: Spec) -> str:
    """Return what the network reads, by the kinds of its inputs."""
    kinds = {declared.kind for declared in spec.inputs.values()}
    names = [name for kind, name in KINDS.items() if kind in kinds]
    return ", ".join(names)


def metrics_of(spec: Spec) -> str:
    """Return the metrics of all evaluations of a spec, or the evaluators that compute values themselves."""
    names: dict[str, None] = {}
    for evaluation in training_plan(spec).evaluations:
        if evaluation.metrics:
            names.update(dict.fromkeys(evaluation.metrics))
        elif evaluation.evaluator is not None:
            names[evaluation.evaluator] = None
    return ", ".join(names) or "-"


def data_set(text: str) -> str:
    """Return the name of the data set at the start of a `data` field."""
    name = re.split(r": |[;,(]", text, maxsplit=1)[0].strip()
    return "shapes world (generated)" if name == "generated" else name


def script_of(run: str) -> str:
    """Return the script that runs a spec, or the command."""
    match = SCRIPT.search(run)
    if match is not None:
        return f"`{match[0]}`"
    return "`mplug2 train`" if "mplug2 train" in run else "-"


def row_of(path: Path) -> tuple[str, ...]:
    """Return the row of one spec."""
    fields = header(path.read_text(encoding="utf-8"))
    spec = registry.read_spec(path)
    found = results(fields.get("expect", ""))
    link = f"[{path.stem}](../{path.parent.name}/{path.name})"
    return (
        tasks_of(spec),
        data_set(fields.get("data", "-")),
        modality_of(spec),
        link,
        script_of(fields.get("run", "")),
        metrics_of(spec),
        found.published,
        found.measured,
    )


@functools.cache
def table_rows() -> tuple[tuple[str, ...], ...]:
    """Return a row for each shipped spec, by folder and name."""
    rows = []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.yaml")):
            rows.append(row_of(path))
    return tuple(rows)
