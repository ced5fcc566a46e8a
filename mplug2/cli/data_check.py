"""`mplug2 data check`: try every file and text of a data set before training."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import registry
from mplug2.cli.arguments import Overrides, SpecFile, only_overrides
from mplug2.cli.data import commands
from registry.sources import SHORT_SOURCE, SourceSpec
from registry.training import training_plan

if TYPE_CHECKING:
    from mplug2.data.checking import Checked

_SHOWN = 50  # wrong items that are listed


def add_to(app: typer.Typer) -> None:
    """Add the command to `data`; ``app`` has the group already."""
    commands.command(
        "check",
        epilog="Example: mplug2 data check configs_video/VideoQA_shapes_tiny.yaml --split train",
    )(check)


def check(
    spec: SpecFile,
    overrides: Overrides = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One split, such as train. Default: all."),
    ] = None,
    exclude_list: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The list of unusable files. Default: data.SPLIT.exclude_list, or next to the annotations.",
        ),
    ] = None,
) -> None:
    """Try every file and text of a data set, and write a list of files that training should leave out."""
    # The data may be training files alone, as `prepare` writes for some data sets: what selects the best
    # checkpoint is not part of this check.
    settings = [*only_overrides(overrides), "train.best_metric="]
    read = registry.read_spec(spec, overrides=settings)
    report = registry.check(read)
    report.raise_if_bad()
    # Torch takes seconds to import: mistakes of the spec are reported before.
    from mplug2.data.checking import check_split

    sources = training_plan(read).sources
    chosen = _splits(sources, split)
    if not chosen:
        requested = f"split '{split}'" if split else "split"
        names = ", ".join(dict.fromkeys(name for _, name in _splits(sources, None)))
        raise registry.UserError(
            f"{read.place('data')}: data has no {requested} to check. Splits: {names or 'none'}"
        )
    if exclude_list and len(chosen) != 1:
        raise registry.UserError(
            "--exclude-list names one list, so --split must name one split"
        )
    num_bad = num_wrong = 0
    for source, name in chosen:
        list_file = exclude_list or _list_file(source, name)
        checked = check_split(
            read,
            report.types,
            name,
            source=source.name,
            exclude_list=list_file,
            progress=sys.stderr.isatty(),
        )
        num_bad += len(checked.bad)
        num_wrong += len(checked.item_problems)
        _print_checked(source, name, checked)
    if num_bad or num_wrong:
        raise typer.Exit(2)


def _splits(
    sources: Mapping[str, SourceSpec], only: str | None
) -> list[tuple[SourceSpec, str]]:
    """Return the splits of all sources with files, or those of one name."""
    chosen = []
    for source in sources.values():
        for split in source.splits:
            if only is None or split == only:
                chosen.append((source, split))
    return chosen


def _print_checked(source: SourceSpec, split: str, checked: Checked) -> None:
    # A damaged file can be used, an unusable one cannot.
    for finding in checked.findings:
        print(f"{'unusable' if not finding.usable else 'damaged'}: {finding.reason}")
    for problem in checked.item_problems[:_SHOWN]:
        print(f"wrong: {problem}")
    name = split if source.name == SHORT_SOURCE else f"{source.name}.{split}"
    if checked.files:
        written = f"; list: {checked.exclude_list}" if checked.exclude_list else ""
        print(f"{name}: {checked.files} files, {len(checked.bad)} unusable{written}")
    else:
        print(f"{name}: {checked.samples} samples")
    if checked.item_problems:
        print(
            f"  {len(checked.item_problems)} items do not fit their files: correct or remove their lines"
        )
    if checked.counts:
        counts = [f"{what} {number}" for what, number in checked.counts.items()]
        print(f"  {', '.join(counts)}")
    if checked.words.unknown:
        print(f"  not in the vocabulary: {checked.words}")
    if checked.sided_items:
        print(
            f"  note: {checked.sided_items} items contain left or right, but flip: media leaves texts "
            f"unchanged. "
            "Use flip: media_and_text, or flip: none"
        )
    if checked.bad and checked.exclude_list:
        print(f"  to leave them out: data.{name}.exclude_list={checked.exclude_list}")


def _list_file(source: SourceSpec, split: str) -> Path | None:
    """Return where the list of a split goes: where its source looks for it; else that of qa_train.jsonl is
    qa_train.exclude_list.jsonl. None for a source without such a file."""
    arguments = {**source.arguments, **source.splits[split]}
    if isinstance(listed := source.splits[split].get("exclude_list"), str):
        return Path(listed)
    path = arguments.get("path")
    if not isinstance(path, str):
        return None
    return Path(path).with_suffix(".exclude_list.jsonl")
