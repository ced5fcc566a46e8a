"""Shipped specs are read by name from any folder; files of the user come first."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from registry import SpecError, read_spec

VALID = "inputs: {x: tokens B N 8}\ngoals: {predict: {x: x}}\n"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped specs, and an empty working folder."""
    folder = tmp_path / "shipped"
    for name in (
        "configs_text/a.yaml",
        "configs_text/_base_/part.yaml",
        "configs_text/both.yaml",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(VALID)
    (folder / "configs_video").mkdir()
    (folder / "configs_video" / "both.yaml").write_text(VALID)
    (tmp_path / "secret.yaml").write_text(VALID)
    monkeypatch.setattr(sys.modules["registry.spec_folders"], "SPEC_FOLDERS", [folder])
    work = tmp_path / "home" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    return folder


@pytest.mark.parametrize("name", ["a", "a.yaml", "configs_text/a.yaml"])
def test_a_spec_is_read_by_name(shipped: Path, name: str) -> None:
    assert list(read_spec(name).inputs) == ["x"]


def test_parts_need_their_folder(shipped: Path) -> None:
    assert list(read_spec("configs_text/_base_/part.yaml").inputs) == ["x"]
    with pytest.raises(SpecError, match="no such file: part"):
        read_spec("part")


def test_a_spec_of_the_user_extends_a_shipped_one(shipped: Path) -> None:
    Path("mine.yaml").write_text(
        "extends: configs_text/a.yaml\ninputs: {y: tokens B N 4}\n"
    )
    assert list(read_spec("mine.yaml").inputs) == ["x", "y"]


def test_a_file_of_the_user_comes_first(shipped: Path) -> None:
    Path("a").write_text("inputs: {z: tokens B N 8}\ngoals: {predict: {z: z}}\n")
    assert list(read_spec("a").inputs) == ["z"]


def test_a_name_of_several_specs_is_an_error(shipped: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec("both")
    (problem,) = caught.value.problems
    assert problem.message == (
        "'both' names 2 shipped specs: configs_text/both.yaml, configs_video/both.yaml"
    )
    assert problem.hint == "name the folder, too"
    assert list(read_spec("configs_video/both").inputs) == ["x"]


def test_the_message_of_a_missing_file_names_a_near_spec(shipped: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_spec("bothe")
    (problem,) = caught.value.problems
    assert (problem.message, problem.hint) == (
        "no such file: bothe",
        "did you mean 'both'?",
    )


@pytest.mark.parametrize(
    "name", ["../secret.yaml", "configs_text/../../secret.yaml", "x" * 5000, "a\0b"]
)
def test_names_stay_inside_the_shipped_folders(shipped: Path, name: str) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_spec(name)
