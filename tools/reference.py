"""Write the reference pages of docs/ from the code: settings.md, modules.md, operations.md, tasks.md,
task_reference.md and migration.md.

python tools/reference.py            write the pages
python tools/reference.py --check    exit code 1 if a page differs from the code
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import mplug2  # noqa: E402, F401  (fills the registries)
import registry  # noqa: E402
from mplug2.cli.finding import default_text, range_text  # noqa: E402
from mplug2.cli.listing import details  # noqa: E402
from registry.language import aliases  # noqa: E402
from registry.language.schema import SETTINGS  # noqa: E402
from registry.registries import Registry  # noqa: E402
from tools import task_table  # noqa: E402

NOTE = "<!-- Written by `python tools/reference.py`: edit the code, not this page. -->"
Row = tuple[str, ...]

# One line of an annotation file for each task; tests/tools/test_reference.py reads them with the task.
EXAMPLES: dict[str, list[str]] = {
    "caption": ['{"image": "a.jpg", "caption": ["two dogs run", "dogs in a field"]}'],
    "grounding": [
        '{"image": "a.jpg", "phrase": "the left dog", "box": [10, 20, 110, 220]}'
    ],
    "region_phrases": [
        '{"image": "a.jpg", "phrase": "a brown dog", "box": [10, 20, 110, 220]}',
        '{"image": "b.jpg", "caption": "two cats", "elems": [{"bb": [5, 5, 60, 40], "caption": "a cat"}]}',
    ],
    "pretrain_caption": ['{"video_id": "clip7", "caption": "a dog runs"}'],
    "media_class": [
        '{"image": "a.jpg", "label": "dog"}',
        '{"video_id": "clip7", "label": ["running", "outdoors"]}',
    ],
    "plain_text": ['{"text": "Dogs run."}'],
    "question_answer": [
        '{"image": "a.jpg", "question": "how many dogs?", "answer": {"2": 9, "3": 1}, "type": "number"}',
        '{"video_id": "clip7", "question": "what runs?", "answer": "dog", "weight": 0.5}',
    ],
    "retrieval": ['{"video_id": "clip7", "caption": "two dogs run"}'],
    "text_class": [
        '{"sentence1": "Dogs run.", "sentence2": "Dogs sleep.", "label": "contradiction"}'
    ],
    "text_value": [
        '{"sentence1": "Dogs run.", "sentence2": "A dog runs.", "score": 3.8}'
    ],
    "text_label": [
        '{"images": ["a.jpg", "b.jpg"], "sentence": "Both show dogs.", "label": "True"}',
        '{"image": "a.jpg", "sentence": "Dogs sleep.", "label": "contradiction"}',
    ],
}
SECTIONS = {
    "momentum": "EMA copies of weights, for `ema(...)` in a flow line.",
    "data": "The task and source of each split. `data` also takes the arguments of the task and of the "
    "source ([task_reference.md](task_reference.md)) for all splits. `data.train`, `data.val` and "
    "`data.test` set them for one split.",
    "train": "The run: length, batch, optimizer, engine, checkpoints and logs.",
    "eval": "What `mplug2 eval` and the evaluation during training measure.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Write the reference pages of docs/ from the code."
    )
    parser.add_argument(
        "--check", action="store_true", help="only compare, exit code 1 on a difference"
    )
    check = parser.parse_args(argv).check
    outdated = []
    for name, build in PAGES.items():
        path = ROOT / "docs" / name
        text = build()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            outdated.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    if outdated and check:
        print(f"out of date: {', '.join(outdated)}. Run `python tools/reference.py`")
    return int(bool(outdated) and check)


def settings_page() -> str:
    """Return docs/settings.md: every key of the settings sections."""
    parts = [
        "# Settings",
        NOTE,
        "Every key of the sections `momentum`, `data`, `train` and `eval` of a spec. On the command line, "
        "write `SECTION.KEY=VALUE`, for example `train.lr=1e-4`. Unknown keys are errors. "
        "`mplug2 settings SECTION` prints these tables.",
        EXAMPLES_OF_SECTIONS,
    ]
    for section, keys in SETTINGS.items():
        rows = []
        for name, key in keys.items():
            default = code(default_text(key))
            rows.append(
                (
                    f"`{name}`",
                    code(key.annotation),
                    default,
                    range_text(key),
                    key.meaning,
                )
            )
        table = markdown_table(("key", "type", "default", "range", "meaning"), rows)
        parts += [f"## {section}", SECTIONS[section], table]
    return page(parts)


EXAMPLES_OF_SECTIONS = """The other sections of a spec, each with an example:

| section | example |
|---|---|
| `extends` | `extends: [_base_/mplug2_large.yaml, _base_/video_qa.yaml]` |
| `inputs` | `inputs: {video: frames V 3 T H W, question: text Q L}` |
| `modules` | `modules: {vision: {use: video_vit, width: 96, depth: 1, patch: 16, frames: 6, size: 48}}` |
| `define` | `define: {'encode(text)': {embeds: words(text), return: encoder(embeds)}}` |
| `flow` | `flow: {vision_encoded: vision(video)}` |
| `goals` | `goals: {train: {loss: loss}, predict: {answer: generated}}` |
| `init` | `init: {vision: 'clip:ViT-L-14', '*': 'bert:bert-large-uncased'}` |
| `tie` | `tie: {text_embedding.word.weight: decoder.embedding.word.weight}`: one tensor under two names |
| `freeze` | `freeze: [vision.stem]`: modules or parameters that do not train |
| `adapt` | `adapt: {vision: {rank: 8}, vision.stem: false}`: low-rank adapters of linear layers |
| `momentum` | `momentum: {decay: 0.995}`, and `ema(logits)` in a flow line |

[Writing a spec](writing_a_spec.md#8-start-from-what-others-trained) lists the sources of `init`."""


def modules_page() -> str:
    """Return docs/modules.md: all modules."""
    parts = [
        "# Modules",
        NOTE,
        "A module has weights. `modules` names it (`vision: {use: video_vit, width: 1024}`) and sets its "
        "arguments. A flow line calls it and sets its options. A port may be optional. `*name` takes any "
        "number of streams, `**name` those that a call names by keyword. "
        "[operations.md](operations.md) lists the functions without weights. "
        "`mplug2 list NAME` prints one entry.",
        links(registry.MODULES),
        *entries(registry.MODULES),
    ]
    return page(parts)


def operations_page() -> str:
    """Return docs/operations.md: all operations."""
    parts = [
        "# Operations",
        NOTE,
        "An operation is a function of streams without weights: a loss, a search, or a selection. A flow "
        "line calls it by its name and sets its options. `mplug2 list NAME` prints one entry.",
        links(registry.OPERATIONS),
        *entries(registry.OPERATIONS),
    ]
    return page(parts)


def tasks_page() -> str:
    """Return docs/tasks.md: every shipped spec with its data set and its numbers."""
    parts = [
        "# What is shipped: tasks, data sets, numbers",
        NOTE,
        "A row for each spec, from its header: published numbers with their source, and what was measured "
        "with this code. The header has the settings of the run. "
        "[task_reference.md](task_reference.md) describes the tasks in the first column.",
        markdown_table(task_table.COLUMNS, task_table.table_rows()),
    ]
    return page(parts)


def task_reference_page() -> str:
    """Return docs/task_reference.md: all tasks and the sources of their files."""
    parts = [
        "# Tasks and sources",
        NOTE,
        "`data.task` names a task: how annotated entries become the inputs of a network. Its arguments and "
        "those of the source are keys of `data`. A spec declares the inputs that it reads, under the names "
        "in the tables. Annotation files are JSON lines (one object per line), plain or `.gz`.",
        "## Tasks",
        *entries(registry.TASKS, EXAMPLES, level=3),
        "## Sources",
        *entries(registry.SOURCES, level=3),
    ]
    return page(parts)


def migration_page() -> str:
    """Return docs/migration.md: old names with the new ones."""
    parts = [
        "# Migration: old names and new ones",
        NOTE,
        "Names follow torch, transformers and open_clip. Specs, commands and checkpoints with old names are "
        "still read: a warning gives the new name with file, line and column "
        "(`my.yaml:3:10: 'batch' is now 'batch_size'`). An old name next to its new one is an error. "
        "`mplug2 migrate SPEC...` replaces the old names in specs, in place. Comments and layout stay. "
        "`--dry-run` prints the changes and writes nothing.",
        "`train.batch_size` is the number of samples per process and micro-step, as its old name `batch` "
        "was. "
        "`batch_size` of a batch in `data.batches` counts the samples of an optimizer step over all ranks.",
    ]
    for title, note, words in _renamed():
        rows = [(code(old), code(new)) for old, new in words.items()]
        parts += [f"## {title}", note, markdown_table(("old", "new"), rows)]
    return page(parts)


def _renamed() -> list[tuple[str, str, aliases.Words]]:
    """Return the tables of names: title, where they occur, old and new names."""
    tables = [("Operations", "What a flow line calls.", aliases.OPERATIONS)]
    for operation, words in aliases.KEYWORDS.items():
        tables.append(
            (f"Options of {operation}", f"Keywords of `{operation}(...)`.", words)
        )
    for (operation, option), words in aliases.VALUES.items():
        tables.append(
            (f"Values of {option}", f"Values of `{operation}({option}=...)`.", words)
        )
    for use, words in aliases.ARGUMENTS.items():
        tables.append(
            (f"Arguments of {use}", f"Keys of a module with `use: {use}`.", words)
        )
    for section, words in aliases.SETTINGS.items():
        tables.append((f"Settings of {section}", f"Keys of `{section}`.", words))
    tables += [
        (
            "Arguments of sources",
            "Keys of `data`, its sources and splits.",
            aliases.SOURCE_ARGUMENTS,
        ),
        ("Inputs", "What the tasks of mplug2 supply.", aliases.INPUTS),
        (
            "Sources of weights",
            "The word before the colon in `init`.",
            aliases.WEIGHT_SOURCES,
        ),
    ]
    for command, words in aliases.COMMAND_OPTIONS.items():
        tables.append(
            (f"Options of mplug2 {' '.join(command)}", "On the command line.", words)
        )
    shipped_note = (
        "`mplug2 migrate` replaces them in specs that extend a shipped spec. "
    )
    tables += [
        (
            "Modules of the shipped specs",
            f"{shipped_note}Checkpoints with the old names are still read.",
            aliases.SHIPPED_MODULES,
        ),
        ("Streams of the shipped specs", shipped_note, aliases.SHIPPED_STREAMS),
    ]
    return tables


def links(table: Registry) -> str:
    """Return links to the entries of a table."""
    return ", ".join(f"[{name}](#{name})" for name in shipped(table))


def shipped(table: Registry) -> list[str]:
    """Return the names that mplug2 itself registers, without those of installed plug-ins."""
    names = []
    for name in table.names():
        package = table.target(name).partition(".")[0]
        if package in ("modules", "mplug2"):
            names.append(name)
    return names


def entries(
    table: Registry, examples: dict[str, list[str]] | None = None, level: int = 2
) -> list[str]:
    """Return the blocks of all entries of a table: docstring, ports, arguments, options, example."""
    blocks = []
    for name in shipped(table):
        entry = details(table, name)
        blocks += [f"{'#' * level} {name}", entry.doc]
        if examples is not None:
            blocks.append("```\n" + "\n".join(examples[name]) + "\n```")
        if table.kind == "task":
            inputs = []
            for port, kind, _ in entry.ports:
                inputs.append((code(port.removeprefix("out").strip()), code(kind)))
            blocks.append(markdown_table(("input", "type"), inputs))
        rows: list[Row] = []
        for port, kind, note in [] if table.kind == "task" else entry.ports:
            direction, _, port_name = port.partition(" ")
            rows.append((direction, code(port_name.strip()), code(kind), note))
        for label, parameters in (
            ("argument", entry.arguments),
            ("option", entry.options),
        ):
            for parameter, values, default in parameters:
                rows.append((label, code(parameter), code(values), code(default)))
        if rows:
            blocks.append(
                markdown_table(("", "name", "type or values", "default or note"), rows)
            )
    return blocks


def page(parts: Sequence[str]) -> str:
    """Return a page of blocks separated by blank lines."""
    return "\n\n".join(part.strip() for part in parts) + "\n"


def markdown_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Return a table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a text as code, or an empty cell."""
    return f"`{text}`" if text and text != "required" else text


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "modules.md": modules_page,
    "operations.md": operations_page,
    "tasks.md": tasks_page,
    "task_reference.md": task_reference_page,
    "migration.md": migration_page,
}

if __name__ == "__main__":
    raise SystemExit(main())
