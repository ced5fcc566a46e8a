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
from registry import KINDS, REGISTRIES, TASKS
from registry import registries as all_registries
from registry.name_table import NameTable

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
INDEX = (DOCS / "extending.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| ([\w ]+) \| [^|]+ \| `(\w+)` \| `([\w.]+)` \| \[\1\]\(([\w./]+)\) \|$", flags=re.MULTILINE
)
PLUGINS = {"operation.md": "loss.py", "optimizer.md": "optimizer.py", "engine.md": "engine.py"}


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
    assert {f"extending/{file.name}" for file in (DOCS / "extending").iterdir()} <= links


@pytest.mark.parametrize("page", PLUGINS)
def test_a_page_shows_a_plug_in_unchanged(page: str) -> None:
    text = (DOCS / "extending" / page).read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert shown == (ROOT / "tests" / "plugins" / "digits" / PLUGINS[page]).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 90


def test_the_spec_of_the_index_trains_with_the_task_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = re.findall(r"```python\n(.*?)```", (DOCS / "extending" / "task.md").read_text(), flags=re.DOTALL)[
        0
    ]
    names: dict[str, Any] = {"__name__": "language"}
    exec(compile(task, "task.md", "exec", dont_inherit=True), names)
    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    TASKS.register("language")(names["LanguageTask"])
    monkeypatch.chdir(tmp_path)
    (spec,) = re.findall(r"```yaml\n(.*?)```", INDEX, flags=re.DOTALL)
    Path("my.yaml").write_text(textwrap.dedent(spec))
    Path("vocab.txt").write_text("\n".join(vocabulary()))
    for split in ("train", "val", "test"):
        rows = [{"text": "red circle", "language": "en"}, {"text": "blue", "language": "de"}]
        Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = mplug2.train("my.yaml", ["data.workers=0", "train.epochs=20", "train.warmup=1", "train.lr=1e-3"])
    assert result.metrics == {"label_accuracy": 1.0}
    answer = mplug2.pipeline("my.yaml")(question="blue")
    assert answer.text == "de"
