"""docs/extending.md: every registry has a page, every page is linked, and its spec trains."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import mplug2
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.tasks.task import Task
from mplug2.data.text import Tokenizer
from registry import KINDS, REGISTRIES, TASKS, TOKENIZERS, UserError
from registry import registries as all_registries
from registry.name_table import NameTable

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "extending.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| ([\w ]+) \| [^|]+ \| `(\w+)` \| `([\w.]+)` \| \[\1\]\(([\w./]+)\) \|$",
    flags=re.MULTILINE,
)
PLUGINS = {
    "operation.md": "loss.py",
    "optimizer.md": "optimizer.py",
    "engine.md": "engine.py",
}


def tables() -> dict[str, NameTable]:
    """Return all registries by the names that Python gives them."""
    found: dict[str, NameTable] = {"KINDS": KINDS}
    for name, value in vars(all_registries).items():
        if isinstance(value, NameTable):
            found[name] = value
    return found


def test_the_index_has_a_row_for_each_registry() -> None:
    rows = {name: (kind, group) for kind, name, group, _ in ROW.findall(INDEX)}
    assert rows == {name: (table.kind, table.group) for name, table in tables().items()}
    assert set(vars(REGISTRIES).values()) < set(tables().values())


def test_each_page_exists_and_each_file_is_linked() -> None:
    links = set(re.findall(r"\]\(([\w./]+\.md)\)", INDEX))
    for link in links:
        assert (DOCS / link).is_file(), link
    assert {
        f"extending/{file.name}" for file in (DOCS / "extending").iterdir()
    } <= links


@pytest.mark.parametrize("page", PLUGINS)
def test_a_page_shows_a_plug_in_unchanged(page: str) -> None:
    text = (DOCS / "extending" / page).read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert shown == (ROOT / "tests" / "plugins" / "digits" / PLUGINS[page]).read_text(
        encoding="utf-8"
    )
    assert len(text.splitlines()) <= 90


def language_task() -> Any:
    """Return the class that the page about tasks shows."""
    text = (DOCS / "extending" / "task.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "language"}
    exec(compile(code, "task.md", "exec", dont_inherit=True), names)
    return names["LanguageTask"]


def test_the_task_of_the_page_refuses_a_wrong_line(tmp_path: Path) -> None:
    task = language_task()(None, ["en", "de"])
    path = tmp_path / "train.jsonl"
    path.write_text(
        '{"text": "red", "language": "en"}\n{"text": "rouge", "language": "fr"}\n'
    )
    message = "train.jsonl:2: language must be one of en, de (got 'fr')"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        task.read(path)
    assert f"`{message}`" in (DOCS / "extending" / "task.md").read_text(
        encoding="utf-8"
    )
    path.write_text('{"language": "en"}\n')
    with pytest.raises(UserError, match="train.jsonl:1: a line must have a text"):
        task.read(path)
    path.write_text('{"text": "red"}\n')  # of a test split, without its answer
    assert task.read(path) == [{"text": "red"}]


def test_the_page_of_tasks_has_all_optional_members() -> None:
    text = (DOCS / "extending" / "task.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    names = [re.findall(r"`(\w+)", line)[0] for line in rows]
    described = "".join(
        re.findall(r"^    - (.*)$", Task.__doc__ or "", flags=re.MULTILINE)
    )
    members = re.findall(r"``(\w+)[^`]*``(?=[:,])", described)
    assert {"record", "mirror", "token_limits", "class_names"} <= set(members)
    assert [name for name in members if name not in names] == []


def test_the_spec_of_the_index_trains_with_the_task_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    TASKS.register("language")(language_task())
    monkeypatch.chdir(tmp_path)
    (spec,) = re.findall(r"```yaml\n(.*?)```", INDEX, flags=re.DOTALL)
    Path("my.yaml").write_text(textwrap.dedent(spec))
    Path("vocab.txt").write_text("\n".join(vocabulary()))
    for split in ("train", "val", "test"):
        rows = [
            {"text": "red circle", "language": "en"},
            {"text": "blue", "language": "de"},
        ]
        Path(f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    result = mplug2.train(
        "my.yaml",
        ["data.workers=0", "train.epochs=20", "train.warmup=1", "train.lr=1e-3"],
    )
    assert result.metrics == {"label_accuracy": 1.0}
    answer = mplug2.pipeline("my.yaml")(question="blue")
    assert answer.text == "de"


def test_the_tokenizer_of_the_page_reads_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / "extending" / "tokenizer.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "characters.py").write_text(code)
    (tmp_path / "letters.txt").write_text("abc\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(TOKENIZERS, "_entries", dict(TOKENIZERS._entries))
    TOKENIZERS.register("characters", "characters:CharacterTokenizer")
    tokenizer = Tokenizer.load(f"characters:{tmp_path}/letters.txt")
    assert tokenizer(["cab", "ax"]).ids.tolist() == [[2, 7, 5, 6], [2, 5, 1, 0]]
    assert tokenizer.decode([7, 5, 6, tokenizer.sep, 5]) == "cab"
