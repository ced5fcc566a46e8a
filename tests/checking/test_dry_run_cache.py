"""A dry run that passed is not run again until its network, or the code behind it, changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mplug2.checking import dry_run_cache
from mplug2.checking.fingerprint import fingerprint
from mplug2.checking.stages import check_stages
from registry import OPERATIONS, Spec, SpecError, read_spec

HASH = "{:064x}"


@pytest.fixture(autouse=True)
def empty_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture
def dry_runs(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """The specs for which a dry run was made; the runs themselves are left out."""
    specs: list[Spec] = []
    monkeypatch.setattr("mplug2.build.dry_run.check_streams", specs.append)
    return specs


@pytest.mark.usefixtures("folder")
def test_only_what_has_changed_is_run_again(dry_runs: list[Spec]) -> None:
    def runs(*overrides: str) -> int:
        before = len(dry_runs)
        assert check_stages(read_spec("spec.yaml", overrides)).problems == []
        return len(dry_runs) - before

    assert [runs(), runs(), runs()] == [1, 0, 0]
    assert runs("train.output_dir=elsewhere", "train.batch_size=8") == 0
    assert [runs("modules.head.classes=4"), runs("modules.head.classes=4")] == [1, 0]
    assert runs("train.lr={default: 1e-3, head: 1e-4}") == 1
    Path("vocab.txt").write_text(Path("vocab.txt").read_text() + "four\n")
    assert [runs(), runs()] == [1, 0]


@pytest.mark.usefixtures("folder", "dry_runs")
def test_a_vocabulary_is_read_again_only_if_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def load(spec: Spec, name: str) -> None:
        read.append(name)

    monkeypatch.setattr("mplug2.checking.vocabulary.load_tokenizer", load)
    for _ in range(3):
        assert check_stages(read_spec("spec.yaml")).notes == []
    assert read == ["vocab.txt"]
    Path("vocab.txt").write_text(Path("vocab.txt").read_text() + "four\n")
    check_stages(read_spec("spec.yaml"))
    assert read == ["vocab.txt"] * 2
    Path("vocab.txt").unlink()
    assert len(check_stages(read_spec("spec.yaml")).notes) == 1
    check_stages(read_spec("spec.yaml"), required=True)
    assert read == ["vocab.txt"] * 3


@pytest.mark.usefixtures("folder")
def test_the_files_in_the_folder_of_a_vocabulary_count() -> None:
    file = Path("words", "vocab.txt")
    file.parent.mkdir()
    file.write_text(Path("vocab.txt").read_text())
    spec = read_spec("spec.yaml", ["data.tokenizer=words"])
    before = fingerprint(spec, {})
    assert before == fingerprint(spec, {}) != fingerprint(read_spec("spec.yaml"), {})
    file.write_text(file.read_text() + "four\n")
    assert fingerprint(spec, {}) != before


@pytest.mark.usefixtures("folder")
def test_a_dry_run_that_fails_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = read_spec("spec.yaml")

    def fail(spec: Spec) -> None:
        raise SpecError.at(spec.place("flow"), "it cannot be computed")

    monkeypatch.setattr("mplug2.build.dry_run.check_streams", fail)
    for _ in range(2):
        (problem,) = check_stages(spec).problems
        assert problem.message == "it cannot be computed"


PLUG_IN = """\
from registry import operation


@operation(inputs={"x": "logits B classes"}, outputs="logits B classes")
def twice(x):
    return 2 * x
"""


def test_the_code_of_a_plug_in_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = folder / "doubling.py"
    code.write_text(PLUG_IN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "doubling", raising=False)
    monkeypatch.setitem(OPERATIONS._entries, "twice", None)  # Restored after the test.
    del OPERATIONS._entries["twice"]
    OPERATIONS.register("twice", "doubling:twice")
    text = (folder / "spec.yaml").read_text()
    (folder / "spec.yaml").write_text(
        text.replace("  loss:", "  more: twice(logits)\n  loss:")
    )
    spec = read_spec("spec.yaml")
    before = fingerprint(spec, {})
    assert before is not None and fingerprint(spec, {}) == before
    code.write_text(PLUG_IN.replace("2 * x", "22 * x"))
    assert fingerprint(spec, {}) not in (None, before)


def test_the_folder_is_bounded_and_keeps_what_was_used_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dry_run_cache, "MOST_ENTRIES", 3)
    for number in range(3):
        dry_run_cache.remember(HASH.format(number))
        os.utime(dry_run_cache.folder() / HASH.format(number), (number, number))
    (dry_run_cache.folder() / "notes.txt").write_text("not an entry")
    assert dry_run_cache.is_known(HASH.format(0))
    dry_run_cache.remember(HASH.format(3))
    known = [dry_run_cache.is_known(HASH.format(number)) for number in range(4)]
    assert known == [True, False, True, True]
    assert (dry_run_cache.folder() / "notes.txt").is_file()


def test_a_cache_that_cannot_be_used_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    dry_run_cache.remember(HASH.format(1))
    assert not dry_run_cache.is_known(HASH.format(1))


def test_without_a_variable_it_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert dry_run_cache.folder() == Path("/home/someone/.cache/mplug2/dry_runs")
