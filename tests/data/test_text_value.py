"""Texts with a number each, and the quirks of GLUE's official files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from loaders import eval_loader, make_source
from small_specs import ROOT

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.source_builder import SourceBuilder
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.text_value import TextValueTask
from mplug2.data.text import Tokenizer
from registry import check, read_spec
from registry.errors import UserError

WORDS = Tokenizer({token: number for number, token in enumerate(vocabulary())})
HEADER = "index\tsentence1\tsentence2\tscore"


def source(path: Path, lines: list[str], **arguments: Any) -> FileSource:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return make_source(TextValueTask, path, tokenizer=WORDS, **arguments)


def test_values_are_read_as_numbers(tmp_path: Path) -> None:
    lines = ["7\ta circle\ta ring\t2.500", "8\ta\ta\t5"]
    data = source(
        tmp_path / "dev.tsv", lines, id_column="index", value_range=[0.0, 5.0]
    )
    batch = next(iter(eval_loader(data, 2)))
    assert batch.inputs["value"].tolist() == [2.5, 5.0]
    assert batch.inputs["text"].segments.tolist() == [
        [0, 0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 0, 0],
    ]
    assert [record["question_id"] for record in batch.records] == [7, 8]
    assert [record["value"] for record in batch.records] == [2.5, 5.0]
    assert data.task.counts(data.items) == {"with a value": 2, "refused rows": 0}


def test_a_test_set_has_rows_without_values(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"sentence1": "a", "sentence2": "a ring"}\n')
    data = make_source(TextValueTask, path, tokenizer=WORDS)
    batch = next(iter(eval_loader(data, 1)))
    assert set(batch.inputs) == {"text"}
    assert batch.records[0]["answers"] == []
    assert data.task.counts(data.items) == {
        "with a value": 0,
        "without a value": 1,
        "refused rows": 0,
    }


@pytest.mark.parametrize(
    ("score", "arguments", "message"),
    [
        (
            "5.1",
            {"value_range": [0.0, 5.0]},
            r"dev.tsv:2: 'score' must be a number from 0 to 5 \(got \"5.1\"\)",
        ),
        ("nan", {}, r"'score' must be a number \(got \"nan\"\)"),
        ("many", {}, r"'score' must be a number \(got \"many\"\)"),
        (
            "1",
            {"value_range": [5.0, 0.0]},
            "value_range must be two numbers, the smaller one first",
        ),
        (
            "1",
            {"id_column": "id"},
            r"dev.tsv:2: a text needs the column 'id' \(got the columns index, sen",
        ),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, score: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        source(tmp_path / "dev.tsv", [f"0\ta\ta\t{score}"], **arguments)


# Two lines of each official file, as GLUE publishes them: columns, quotation marks, and a byte order mark.
MNLI = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
MNLI += "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label"
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
GLUE = {
    "cola": ["gj04\t1\t\ta circle is red", "gj04\t0\t*\tcircle a red is"],
    "sst2": ["sentence\tlabel", 'a "red circle \t0', "a ring \t1"],
    "mrpc": [
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '1\t1\t2\ta circle\t" a circle',
        "0\t3\t4\ta\ta",
    ],
    "stsb": [
        STSB,
        "0\tmain\tMSR\t2012\t0001\tnone\tnone\ta circle\ta\t5.000",
        "1\tg\tf\t1\t2\tn\tn\ta\ta\t0.4",
    ],
    "qqp": [
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        '0\t1\t2\ta "red\ta ring\t0',
        "1\t3\t4\ta\ta\t1",
    ],
    "mnli": [
        MNLI,
        "0\t1\t1n\tg\tp\tp\tp\tp\ta circle\ta ring\tneutral\tneutral",
        "1\t1\t1e\tg\tp\tp\tp\tp\ta\ta\te\tentailment",
    ],
    "qnli": [
        "index\tquestion\tsentence\tlabel",
        "0\ta\ta circle\tentailment",
        "1\ta\ta\tnot_entailment",
    ],
    "rte": [
        "index\tsentence1\tsentence2\tlabel",
        "0\ta\ta ring\tnot_entailment",
        "1\ta\ta\tentailment",
    ],
}
TARGETS = {
    "cola": ["acceptable", "unacceptable"],
    "sst2": ["negative", "positive"],
    "mrpc": ["equivalent", "not_equivalent"],
    "stsb": [5.0, 0.4],
    "qqp": ["not_duplicate", "duplicate"],
    "mnli": ["neutral", "entailment"],
    "qnli": ["entailment", "not_entailment"],
    "rte": ["not_entailment", "entailment"],
}


def shipped_source(task: str, split: str, path: Path) -> Any:
    settings = [f"data.{split}.path={path}"]
    spec = read_spec(ROOT / "configs_text" / f"{task}_tiny.yaml", settings)
    builder = SourceBuilder(
        spec, check(spec).types, split, split == "train", {}, (), tokenizer=WORDS
    )
    return builder.source("data")


@pytest.mark.parametrize("task", GLUE)
def test_the_shipped_specs_read_the_official_training_files(
    task: str, tmp_path: Path
) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("\r\n".join(GLUE[task]) + "\r\n", encoding="utf-8")
    data = shipped_source(task, "train", path)
    assert [item.target for item in data.items] == TARGETS[task]
    assert data.task.num_refused == 0


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        ("cola", ["index\tsentence", "0\ta circle", "1\ta"]),
        (
            "mrpc",
            [
                "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
                "0\t1\t2\ta\ta",
                "1\t1\t2\ta\ta",
            ],
        ),
        ("qqp", ["id\tquestion1\tquestion2", "0\ta\ta", "1\ta\ta"]),
    ],
)
def test_the_shipped_specs_read_the_official_test_files(
    task: str, lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("\n".join(lines) + "\n")
    data = shipped_source(task, "test", path)
    assert [(item.id, item.target) for item in data.items] == [(0, None), (1, None)]


@pytest.mark.parametrize(("task", "name"), [("mrpc", "MRPC"), ("stsb", "STS-B")])
def test_the_samples_of_official_files_are_read(
    task: str, name: str, shared: Path
) -> None:
    path = shared / f"data/annotations/glue/hf_fixture_{name}_train.tsv"
    data = shipped_source(task, "train", path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(data.items) == len(lines) - 1
    assert data.task.num_refused == 0
