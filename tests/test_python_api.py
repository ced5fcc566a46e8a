"""`Spec` as a value: the examples of docs/python_api.md, round trips, and mistakes by key path."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_specs import FILES, spec_parameters

from mplug2 import Spec, SpecError, UserError

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python_api.md").read_text(encoding="utf-8")
TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"


def sections() -> dict[str, Any]:
    return {
        "inputs": {"x": "tokens B N 8"},
        "modules": {"head": {"use": "class_head", "width": 8, "classes": 2}},
        "flow": {"logits": "head(x)"},
        "goals": {"predict": {"label": "logits"}},
    }


def problem_of(error: pytest.ExceptionInfo[SpecError]) -> tuple[str, str, str]:
    (problem,) = error.value.problems
    return str(problem.place), problem.message, problem.hint


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "configs_video", tmp_path / "configs_video")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 5
    scope: dict[str, Any] = {}
    for example in examples:
        exec(example, scope)


@pytest.mark.parametrize("file", spec_parameters(FILES))
def test_a_spec_that_is_written_reads_back_equal(file: Path, tmp_path: Path) -> None:
    spec = Spec.read(file)
    spec.write(tmp_path / file.name)
    assert Spec.read(tmp_path / file.name) == spec
    assert Spec.from_dict(spec.resolved(), spec.name) == spec


def test_with_is_the_same_as_overrides_of_a_file() -> None:
    spec = Spec.read(TINY)
    texts = [
        "modules.vision.frames=8",
        "train.lr={default: 1e-4, vision: 1e-5}",
        "train.best_metric=",
        "data.val=",
    ]
    values: dict[str, Any] = {
        "modules.vision.frames": 8,
        "train.lr": {"default": 1e-4, "vision": 1e-5},
        "train.best_metric": None,
        "data.val": None,
    }
    by_texts = Spec.read(TINY, texts)
    assert (
        by_texts
        == spec.with_(*texts)
        == spec.with_(values)
        == Spec.read(TINY, [values])
    )
    assert by_texts != spec
    assert by_texts.train["best_metric"] is None
    assert spec.with_() == spec


def test_a_module_with_use_replaces_and_one_without_edits() -> None:
    spec = Spec.from_dict(sections())
    edited = spec.with_({"modules.head": {"classes": 5}})
    assert edited.modules["head"].arguments == {"width": 8, "classes": 5}
    replaced = spec.with_(
        {"modules": {"head": {"use": "class_head", "width": 8, "classes": 3}}}
    )
    assert replaced.modules["head"].arguments == {"width": 8, "classes": 3}


def test_mistakes_of_overrides_have_key_paths() -> None:
    spec = Spec.from_dict(sections())
    with pytest.raises(SpecError) as error:
        spec.with_({"modules.head.clases": 3})
    assert problem_of(error) == (
        "with_: modules.head.clases",
        "unknown argument of 'class_head': 'clases'",
        "did you mean 'classes'?",
    )
    with pytest.raises(SpecError) as error:
        spec.with_("train.lr=fast")
    assert problem_of(error)[0] == "command line: train.lr=fast"
    with pytest.raises(SpecError) as error:
        spec.with_({"flow.logits": "haed(x)"})
    assert problem_of(error)[::2] == ("with_: flow.logits", "did you mean 'head'?")
    with pytest.raises(SpecError) as error:
        spec.with_({"train..lr": 1})
    assert problem_of(error)[1] == "a key path must be words with dots"
    with pytest.raises(SpecError) as error:
        spec.with_({"extends": "other.yaml"})
    assert problem_of(error)[1] == "a value cannot set what a spec extends"


def test_mistakes_of_mappings_have_key_paths() -> None:
    wrong = sections()
    wrong["modules"]["head"]["width"] = 16
    with pytest.raises(SpecError) as error:
        Spec.from_dict(wrong, "mine")
    assert str(error.value.problems[0].place) == "mine: flow.logits"
    assert "modules.head.width" in error.value.problems[0].message
    wrong["modules"]["head"]["width"] = "wide"
    with pytest.raises(SpecError) as error:
        Spec.from_dict(wrong)
    assert problem_of(error)[0] == "spec: modules.head.width"
    with pytest.raises(SpecError) as error:
        Spec.from_dict({**sections(), "extends": "other.yaml"})
    assert problem_of(error)[0] == "spec: extends"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "a number must be finite (got inf)"),
        (10**18, "a number must have at most 18 digits (got 19 digits)"),
        ("\ud800", "a text must not hold half a character (got '\\ud800')"),
        (
            Path("runs"),
            "a value must be a text, a number, a truth value, a list or a mapping (got pathlib.",
        ),
        ({1: 2}, "a key must be a text (got 1)"),
        (
            [[{"a": {2}}]],
            "a value must be a text, a number, a truth value, a list or a mapping (got builtins",
        ),
    ],
)
def test_values_that_yaml_cannot_hold_are_refused(value: Any, message: str) -> None:
    spec = Spec.from_dict(sections())
    with pytest.raises(SpecError) as error:
        spec.with_({"train.lr": value})
    place, found, _ = problem_of(error)
    assert place.startswith("with_: train.lr")
    assert found.startswith(message)


def test_deep_values_are_refused() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = [deep]
    with pytest.raises(SpecError, match="nested at most 32 deep"):
        Spec.from_dict(sections()).with_({"train.lr": deep})


def test_a_file_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        Spec.from_dict(sections()).write(tmp_path / "missing" / "spec.yaml")
