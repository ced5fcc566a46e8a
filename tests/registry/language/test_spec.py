"""Specs: sections, defaults, places, and writing them back."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest
from counting import operations
from hypothesis import given, settings
from hypothesis import strategies as st

from registry import Registries, check, parse_spec, read_spec, write_spec
from registry.language.schema import SETTINGS
from registry.registries import closest_name
from registry.yaml.parse import parse
from registry.yaml.tree import Source
from registry.yaml.write import write_tree


def test_defaults_are_filled(good: str) -> None:
    spec = parse_spec(good)
    assert spec.train["epochs"] == 2
    assert spec.train["batch_size"] == 4
    assert spec.train["lr"] == {"default": 2e-5, "vision": 2e-6}
    given = {name: value for name, value in spec.eval.items() if value is not None}
    assert given == {"metrics": ["accuracy"], "goal": "predict", "split": "test"}
    assert spec.data["workers"] == 2
    assert spec.data["train"] == {"path": "train.jsonl"}
    assert parse_spec("{}").train == {
        name: key.default for name, key in SETTINGS["train"].items()
    }
    assert parse_spec("{}").momentum == {}
    assert parse_spec("momentum: {}").momentum == {"decay": 0.995}


def test_an_empty_momentum_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("momentum: {decay: 0.9}\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\nmomentum:\n")
    (tmp_path / "c.yaml").write_text("{}\n")
    assert parse_spec("momentum:").momentum == {}
    assert read_spec(tmp_path / "b.yaml").momentum == {}
    assert read_spec(tmp_path / "a.yaml", ["momentum="]).momentum == {}
    assert read_spec(tmp_path / "c.yaml", ["momentum="]).momentum == {}
    assert read_spec(tmp_path / "b.yaml", ["momentum={}"]).momentum == {"decay": 0.995}


def test_places(good: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(good)
    spec = read_spec(tmp_path / "a.yaml", ["modules.vision.frames=16"])
    assert str(spec.place("train", "epochs")).endswith("a.yaml:40:20")
    assert str(spec.place("train", "batch")).endswith(
        "a.yaml:40:11"
    )  # not set: the section
    assert (
        str(spec.place("modules", "vision", "frames"))
        == "command line: modules.vision.frames=16"
    )
    assert (
        str(spec.modules["vision"].places["frames"])
        == "command line: modules.vision.frames=16"
    )
    assert str(spec.key_place("flow", "loss")).endswith("a.yaml:29:3")
    assert spec.name == "a"


def test_a_size_from_the_command_line_is_named(
    good: str, tmp_path: Path, names: Registries
) -> None:
    (tmp_path / "a.yaml").write_text(good)
    report = check(read_spec(tmp_path / "a.yaml", ["modules.decoder.width=512"]), names)
    assert (
        "width 512 (set at command line: modules.decoder.width=512), but"
        in report.problems[0].message
    )
    report = check(
        read_spec(
            tmp_path / "a.yaml", ["modules.decoder.depht=512", "flow.read=txt(spoken)"]
        ),
        names,
    )
    assert [str(problem).splitlines()[0] for problem in report.problems] == [
        "command line: flow.read=txt(spoken): unknown module or operation 'txt'",
        "command line: modules.decoder.depht=512: unknown argument of 'text_decoder': 'depht'",
    ]


def test_a_spec_that_is_written_reads_back(good: str) -> None:
    spec = parse_spec(good)
    again = parse_spec(write_spec(spec))
    assert again == spec
    assert write_spec(again) == write_spec(spec)


words = st.text(max_size=12)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(-1e300, 1e300)
    | words
)
trees = st.dictionaries(
    words,
    st.recursive(
        scalars,
        lambda below: (
            st.lists(below, max_size=3) | st.dictionaries(words, below, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(trees)
def test_any_plain_tree_reads_back(tree: dict[str, object]) -> None:
    text = write_tree(tree)
    assert (parse(Source("x", text)).plain() or {}) == tree


def test_many_misspelt_names_are_told_without_comparing_all(
    names: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []

    def counted(name: str, known: list[str]) -> str | None:
        compared.append(len(known))
        return closest_name(name, known)

    monkeypatch.setattr("registry.checks.name_report.closest_name", counted)
    lines = "".join(f"  stream_{i}: concat(a, strem_{i})\n" for i in range(300))
    found = check(
        parse_spec(
            f"inputs: {{a: tokens B N 8}}\nflow:\n{lines}goals: {{out: {{it: a}}}}"
        ),
        names,
    )
    assert len(found.problems) == 300
    assert found.problems[0].hint == "did you mean 'stream_0'?"
    assert sum(compared) <= 50_000


def test_the_work_of_a_check_grows_with_the_length_of_the_spec(
    names: Registries,
) -> None:
    def work(equations: int) -> int:
        lines = "".join(f"  s{i + 1}: concat(s{i}, s0)\n" for i in range(equations))
        goal = f"goals: {{out: {{it: s{equations}}}}}\n"
        text = f"inputs: {{s0: tokens B N 8}}\nflow:\n{lines}{goal}"
        assert not check(parse_spec(text), names).problems
        return operations(lambda: check(parse_spec(text), names))

    assert work(100) < 8 * work(25)  # squared: 16 times


def test_a_second_check_opens_no_file(
    good: str, names: Registries, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(parse_spec(good), names)
    recorded = Mock(wraps=open)
    monkeypatch.setattr("builtins.open", recorded)
    check(parse_spec(good), names)
    recorded.assert_not_called()
