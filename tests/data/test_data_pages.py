"""The examples of docs/extending on data: each is complete, short, and does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from loaders import one_epoch

from mplug2.data.build import build_eval_loader, build_loader
from mplug2.data.loader import Loader
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.items import ItemSource
from mplug2.data.text import Tokenizer
from registry import SOURCES, TASKS, check, parse_spec
from registry.training import training_plan

PAGES = Path(__file__).resolve().parents[2] / "docs" / "extending"
ROWS = [("a red circle", "en"), ("ein roter kreis", "de"), ("a blue ring", "en")]


def example(page: str) -> dict[str, Any]:
    """Return the names that the first example of a page defines."""
    text = (PAGES / page).read_text()
    code = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[0]
    assert len(code.splitlines()) <= 45
    names: dict[str, Any] = {"__name__": f"example_{page.partition('.')[0]}"}
    exec(compile(code, page, "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def language(tmp_path: Path) -> Any:
    """The task of the page, registered, with a spec over it and the source of the other page."""
    task, source = (
        example("task.md")["LanguageTask"],
        example("source.md")["FolderSource"],
    )
    known = [dict(TASKS._entries), dict(SOURCES._entries)]
    TASKS.register("language")(task)
    SOURCES.register("annotations")(source)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary()))
    (tmp_path / "folder").mkdir()
    for number, (text, name) in enumerate(ROWS):
        line = json.dumps({"text": text, "language": name})
        (tmp_path / "folder" / f"{number}.jsonl").write_text(line)
    spec = parse_spec(
        "inputs: {text: text B L, language: labels B}\n"
        "modules:\n"
        "  words: {use: text_embedding, width: 8, vocab_size: 210, max_positions: 64}\n"
        "  head: {use: class_head, width: 8, classes: 2}\n"
        "flow:\n"
        "  embeds: words(text)\n"
        "  logits: head(embeds)\n"
        "  loss: cross_entropy(logits, target=language)\n"
        "goals: {train: {loss: loss}, predict: {label: logits}}\n"
        f"data: {{task: language, languages: [en, de], tokenizer: {tmp_path}/vocab.txt, workers: 0,\n"
        f"  train: {{annotations: {tmp_path}/folder}}}}\n"
        "train: {batch_size: 2}\n"
    )
    yield spec
    for registry, entries in zip((TASKS, SOURCES), known, strict=True):
        registry._entries.clear()
        registry._entries.update(entries)


@pytest.mark.parametrize("page", ["task.md", "source.md", "loader.md"])
def test_a_page_is_short(page: str) -> None:
    assert len((PAGES / page).read_text().splitlines()) <= 90


def test_the_task_and_the_source_of_the_pages_work_together(language: Any) -> None:
    report = check(language)
    assert not report.problems
    loader = build_loader(
        language, report.types, training_plan(language).batches["train"]
    )
    batches = one_epoch(loader)
    assert sorted(
        label for batch in batches for label in batch.inputs["language"].tolist()
    ) == [0, 0, 1]
    rows = list(build_eval_loader(language, report.types, "data", "train"))
    records = [record for batch in rows for record in batch.records]
    assert [record["answers"] for record in records] == [[name] for _, name in ROWS]
    assert [record["question_id"] for record in records] == [0, 1, 2]
    assert torch.cat([batch.inputs["language"] for batch in rows]).tolist() == [0, 1, 0]


def test_a_missing_folder_is_reported_at_its_position(language: Any) -> None:
    spec = parse_spec(
        "inputs: {text: text B L}\n"
        f"data: {{task: language, languages: [en], tokenizer: {language.data['tokenizer']},\n"
        "  train: {annotations: nowhere}}\n",
        "my.yaml",
    )
    with pytest.raises(
        Exception, match=r"^my\.yaml:3:\d+: nowhere must hold \.jsonl files"
    ):
        build_eval_loader(spec, {}, "data", "train")


@pytest.mark.parametrize("world", [1, 2])
def test_the_batch_formation_of_the_page_deals_every_sample_once(world: int) -> None:
    formation = example("loader.md")["SingleSamples"](world)
    task = example("task.md")["LanguageTask"]
    words = Tokenizer({token: number for number, token in enumerate(vocabulary())})
    items = [{"text": "a circle", "language": "en"} for _ in range(5)]
    source = ItemSource(items, task(words, ["en"]), training=True)
    numbers = []
    for rank in range(world):
        loader = Loader(source, source.collate, formation, rank=rank, world=world)
        batches = one_epoch(loader)
        assert len(batches) == loader.steps_per_epoch()
        assert all(batch.final for batch in batches)
        records = [
            record
            for batch in batches
            for record in batch.records
            if "padding" not in record
        ]
        numbers += [record["question_id"] for record in records]
    assert sorted(numbers) == [0, 1, 2, 3, 4]
