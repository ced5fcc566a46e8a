"""The reference pages agree with the code, and their example lines are what the tasks read."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loaders import make_source

import registry
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.tasks.text_table import TextFieldsTask
from mplug2.data.text import Tokenizer
from registry.language.ports import StreamType

ROOT = Path(__file__).resolve().parents[2]
LABELS = ["True", "False", "contradiction"]
TYPES = {
    "video_id": {"video": StreamType("frames", ("V", 3, 2, 8, 8))},
    "image": {"image": StreamType("image", ("V", 3, 8, 8))},
    "images": {name: StreamType("image", ("V", 3, 8, 8)) for name in ("left", "right")},
}


def load_tool() -> ModuleType:
    path = ROOT / "tools" / "reference.py"
    spec = importlib.util.spec_from_file_location("tools_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


@pytest.mark.parametrize("name", TOOL.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert text == TOOL.PAGES[name](), "run `python tools/reference.py`"


def test_check_finds_an_outdated_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(TOOL, "ROOT", tmp_path)
    assert TOOL.main(["--check"]) == 1
    assert TOOL.main([]) == 0
    assert TOOL.main(["--check"]) == 0


def test_every_task_has_an_example() -> None:
    assert set(TOOL.EXAMPLES) == set(TOOL.shipped(registry.TASKS))


EXAMPLES = [(name, line) for name, lines in TOOL.EXAMPLES.items() for line in lines]


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_tasks_read_their_example(name: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(line, encoding="utf-8")
    task: Any = registry.TASKS.load(name)
    arguments: dict[str, Any] = {}
    if name == "media_class":
        arguments["labels"] = ["dog", "running", "outdoors"]
    else:
        arguments["tokenizer"] = Tokenizer(
            {token: index for index, token in enumerate(vocabulary())}
        )
    if name in ("text_label", "text_class"):
        arguments["labels"] = LABELS
    if not issubclass(task, TextFieldsTask):
        key = next(key for key in TYPES if key in json.loads(line))
        types = TYPES[key]
        if name == "region_phrases":
            types = {
                "region_image": types["image"],
                "phrase_patches": StreamType("labels", ("P", 16)),
            }
        arguments |= {"media": str(tmp_path), "types": types}
    assert make_source(task, path=str(path), **arguments).records()[0]
