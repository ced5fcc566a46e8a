"""What `check` and `check --run` find in a spec and its files, as people see it and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mplug2.cli.checking import quick

pytestmark = pytest.mark.usefixtures("folder")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Return the JSON object of `check`, with its exit code."""
    code = quick(["spec.yaml", "--json", *words])
    record: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == (0 if record["ok"] else 2)
    return record


def messages(record: dict[str, Any], severity: str = "error") -> list[str]:
    return [row["message"] for row in record["problems"] if row["severity"] == severity]


def test_a_spec_with_all_its_files_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "--run") == {
        "version": 1,
        "spec": "spec.yaml",
        "ok": True,
        "stage": 6,
        "problems": [],
    }


def test_absent_files_are_notes_and_errors_of_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.jsonl", "vocab.txt"):
        (folder / name).unlink()
    init = "init={words: 'checkpoint:nowhere'}"
    expected = [
        "init must name what exists, but there is no 'nowhere'",
        "the vocabulary 'vocab.txt' does not exist here",
        "path 'train.jsonl' does not exist here",
    ]
    plain = answer(capsys, init)
    assert (plain["ok"], plain["stage"], messages(plain)) == (True, 4, [])
    assert sorted(messages(plain, "note")) == sorted(expected)
    run = answer(capsys, init, "--run")
    assert not run["ok"]
    missing = messages(run)
    assert {expected[0], expected[2]} <= set(missing)
    assert any(
        message.startswith("the vocabulary vocab.txt does not exist")
        for message in missing
    )
    assert answer(capsys, init, "--stages", "1-3")["problems"] == []


def test_records_have_places_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    record = answer(
        capsys, "modules.head.classes=3", "data.train.path=nowhere.jsonl", "--run"
    )
    (row,) = record["problems"]
    assert row == {
        "file": "command line",
        "line": 0,
        "column": 0,
        "end_column": None,
        "severity": "error",
        "stage": 6,
        "message": "path 'nowhere.jsonl' does not exist here",
        "hint": "",
    }
    text = Path("spec.yaml").read_text()
    Path("spec.yaml").write_text(text.replace("words(text)", "wrods(text)"))
    row = answer(capsys)["problems"][0]
    assert (row["file"], row["line"], row["column"], row["end_column"]) == (
        "spec.yaml",
        6,
        6,
        11,
    )
    assert (row["severity"], row["stage"], row["hint"]) == (
        "error",
        2,
        "did you mean 'words'?",
    )


@pytest.mark.parametrize("broken", [False, True])
def test_old_words_are_warnings(
    broken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("spec.yaml").read_text().replace("batch_size: 4", "batch: 4")
    if broken:
        text = text.replace("words(text)", "words(text")
    Path("spec.yaml").write_text(text)
    for _ in range(2):  # Python would show the second warning of a process no more
        record = answer(capsys)
        assert record["ok"] is not broken
        (row,) = [row for row in record["problems"] if row["severity"] == "warning"]
        line, column = 19, text.splitlines()[18].index("batch: 4") + 1
        assert row == {
            "file": "spec.yaml",
            "line": line,
            "column": column,
            "end_column": column + len("batch"),
            "severity": "warning",
            "stage": 1,
            "message": "'batch' is now 'batch_size'",
            "hint": "`batch_size`",
        }
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "data.text_tokens=17",
            "text_tokens must be at most the max_positions of module 'words', which reads ",
        ),
        (
            "modules.words.max_positions=8",
            "text_tokens must be at most the max_positions of module 'words', which ",
        ),
        (
            "modules.head.classes=2",
            "stream 'logits' must have a class for each of data.labels (got 2 ",
        ),
        (
            "modules.words.vocab_size=7",
            "vocab_size of 'words' must be at least 8, the tokens of vocab.txt, but is 7",
        ),
        (
            "train.best_metric=accuracy",
            "train.best_metric must be one of label_accuracy",
        ),
        (
            "data.val=",
            "train.best_metric needs an evaluation on a validation split, but the spec has none",
        ),
        ("train.no_decay=[nothing.*]", ""),
    ],
)
@pytest.mark.parametrize("run", [(), ("--run",)], ids=["plain", "run"])
def test_both_find_what_the_spec_says(
    setting: str, message: str, run: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    record = answer(capsys, setting, *run)
    assert not record["ok"]
    assert messages(record)[0].startswith(message)
    assert record["problems"][0]["file"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "train.precision=fp16",
            "train.precision: the engine 'torch' has no loss scaling",
        ),
        ("train.zero=2", "train.zero: the engine 'torch' does not shard"),
        (
            "train.optimizer={name: 'torch.optim:SGD', lr: -1}",
            "train.optimizer: 'torch.optim:SGD' cannot be",
        ),
        (
            "eval.evaluator=generation",
            "evaluator 'generation' measures sequences, which goal 'predict' does",
        ),
        (
            "data.template='[CLS] {sentance}'",
            "train.jsonl:1: the template needs the text 'sentance'",
        ),
        ("freeze=[words, head]", "freeze: the network has no parameter to train"),
    ],
)
def test_a_run_finds_what_only_its_parts_know(
    setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = answer(capsys, setting, "--run")
    assert not record["ok"], record
    assert message in " ".join(messages(record))


def test_a_wrong_line_of_the_annotations_is_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (folder / "val.jsonl").open("a") as file:
        file.write('{"sentence": "one", "label": "tall"}\n')
    assert answer(capsys)["ok"]
    (message,) = messages(answer(capsys, "--run"))
    assert message.startswith("val.jsonl:10: 'label' must be one of low, middle, high")


def test_what_trains_nothing_is_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["goals.train=", "flow.loss=", "inputs.label=", "train.best_metric="]
    record = answer(capsys, *settings, "--run")
    assert record["ok"], record
    (note,) = messages(record, "note")
    assert note.startswith(
        "`mplug2 train` refuses this spec: this spec trains nothing: no goal has an output"
    )
