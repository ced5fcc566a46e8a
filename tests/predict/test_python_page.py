"""The examples of docs/python.md run, one after another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from askable import everything

from registry import read_spec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = re.findall(
        r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert len(examples) == 5
    with everything(tmp_path) as folder:
        spec = read_spec(folder / "entailment.yaml")
        spec.write(folder / "runs" / "entailment" / "best" / "spec.yaml")
        monkeypatch.chdir(folder)
        scope: dict[str, Any] = {}
        for example in examples:
            exec(example, scope)
