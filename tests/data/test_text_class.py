"""Text alone as a task: tables without quoting, labels by name, templates, and the way from file to batch."""

from __future__ import annotations

import gzip
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from loaders import eval_loader, make_source, one_epoch, train_loader

from mplug2.data.batching import TokenBatches
from mplug2.data.loader import Loader
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.files import FileSource
from mplug2.data.tables import read_table
from mplug2.data.tasks.text_class import TextClassTask
from mplug2.data.template import TextTemplate
from mplug2.data.text import Tokenizer
from registry.errors import UserError

WORDS = Tokenizer({token: number for number, token in enumerate(vocabulary())})
ROWS = [
    ("a red circle", "0"),
    ('a "green ring', "1"),
    ("the blue square is in the top row", "1"),
]
SENTIMENT = {
    "labels": {"0": "negative", "1": "positive"},
    "template": "[CLS] {sentence} [SEP]",
}


def write_table(
    path: Path, rows: list[tuple[str, ...]], header: str = "sentence\tlabel"
) -> Path:
    lines = [header, *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def source(path: Path, **arguments: Any) -> FileSource:
    return make_source(
        TextClassTask, path, tokenizer=WORDS, **{**SENTIMENT, **arguments}
    )


def test_a_table_is_split_at_tabs_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [('a lone " mark', "0"), ("'single'", "1"), ("end \\", "0")] * 40
    path = write_table(tmp_path / "train.tsv", [*rows, ("one", "tab", "0")])
    table = read_table(path)
    assert [(row.values["sentence"], row.values["label"]) for row in table.rows] == rows
    assert table.refused == [f"{path}:122: 3 columns"]
    with caplog.at_level(logging.WARNING):
        data = source(path)
    assert len(data) == 120
    assert "1 rows are left out, the first: " in caplog.text
    assert data.task.counts(data.items) == {
        "negative": 80,
        "positive": 40,
        "refused rows": 1,
    }


def test_a_table_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "train.tsv", [("only one column",)] * 3)
    with pytest.raises(
        UserError, match=r"must have the columns sentence, label.*\(got 3 of 3 rows"
    ):
        read_table(path)


def test_files_without_a_header_and_packed_files_and_json_lines_are_read_alike(
    tmp_path: Path,
) -> None:
    headed = write_table(tmp_path / "a.tsv", ROWS)
    bare = tmp_path / "b.tsv.gz"
    bare.write_bytes(
        gzip.compress("".join(f"{text}\t{label}\r\n" for text, label in ROWS).encode())
    )
    lines = tmp_path / "c.jsonl"
    lines.write_text('{"sentence": "a red circle", "label": 0}\n')
    items = source(headed).items
    assert source(bare, columns=["sentence", "label"]).items == items
    assert source(lines).items == items[:1]


@pytest.mark.parametrize("names", [["negative", "positive"], ["positive", "negative"]])
def test_classes_follow_the_names_and_not_the_numbers(
    tmp_path: Path, names: list[str]
) -> None:
    path = write_table(
        tmp_path / "train.tsv", [("a circle", "negative"), ("a ring", "positive")]
    )
    data = source(path, labels=names)
    batch = next(iter(eval_loader(data, 2)))
    assert batch.inputs["label"].tolist() == [
        names.index("negative"),
        names.index("positive"),
    ]
    assert [record["answers"] for record in batch.records] == [
        ["negative"],
        ["positive"],
    ]
    assert batch.records[0]["classes"] == names


def test_a_test_set_has_rows_without_labels(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "test.tsv", [("0", "a circle"), ("1", "a ring")], "index\tsentence"
    )
    batch = next(iter(eval_loader(source(path), 2)))
    assert set(batch.inputs) == {"text"}
    assert [record["answers"] for record in batch.records] == [[], []]
    with pytest.raises(
        UserError, match=r"test.tsv:2: in training a text needs the column 'label'"
    ):
        source(path, training=True)


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([("a", "2")], {}, r"train.tsv:2: 'label' must be one of 0, 1 \(got \"2\"\)"),
        (
            [("a", "1")],
            {"template": "[CLS] {sentence1}"},
            r"needs the text 'sentence1' \(got the columns sen",
        ),
        ([("a", "1")], {"template": "[CLS]"}, "a template must have fields"),
        ([("a", "1")], {"template": "{sentence"}, "cannot be read"),
        ([("a", "1")], {"labels": ["0"]}, "two or more different names"),
        ([("a", "1")], {"text_tokens": 2}, "text_tokens must be at least 3"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, rows: Any, arguments: dict[str, Any], message: str
) -> None:
    path = write_table(tmp_path / "train.tsv", rows)
    with pytest.raises(UserError, match=message):
        source(path, **arguments)


def test_the_longest_field_is_cut_and_the_template_never() -> None:
    template = TextTemplate("[CLS] {a} [SEP] {b} [SEP]", WORDS, 9)
    row = template.encode({"a": "the red circle is in the top row", "b": "a ring"})
    assert [WORDS.tokens([token])[0] for token in row] == [
        *("[CLS]", "the", "red", "circle", "is", "[SEP]", "a", "ring", "[SEP]")
    ]
    assert template.encode({"a": "red", "b": "blue"}) == WORDS.pieces(
        "[CLS] red [SEP] blue [SEP]"
    )


def test_the_second_field_is_segment_1() -> None:
    template = TextTemplate("[CLS] {a} [SEP] {b} [SEP]", WORDS, 9)
    # A [SEP] in a field is a token like any other.
    row, segments = template.encode_segments({"a": "red [SEP] ring", "b": "blue"})
    assert row == WORDS.pieces("[CLS] red [SEP] ring [SEP] blue [SEP]")
    assert segments == [0, 0, 0, 0, 0, 1, 1]
    _, segments = TextTemplate("[CLS] {a} [SEP]", WORDS, 9).encode_segments(
        {"a": "red"}
    )
    assert segments == [0, 0, 0]
    _, segments = TextTemplate("{a} {b}", WORDS, 9).encode_segments(
        {"a": "red", "b": "blue"}
    )
    assert segments == [0, 0]


def test_pairs_have_segments_and_one_sentence_has_none(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "pairs.tsv",
        [("a circle", "red", "1"), ("a", "a", "0")],
        "a\tb\tlabel",
    )
    pairs = {"labels": ["0", "1"], "template": "[CLS] {a} [SEP] {b} [SEP]"}
    text = next(iter(eval_loader(source(path, **pairs), 2))).inputs["text"]
    assert text.segments.tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]
    assert text.word_start.tolist() == text.mask.tolist()  # Without pieces of words.
    alone = source(path, labels=["0", "1"], template="[CLS] {a} [SEP]")
    assert next(iter(eval_loader(alone, 2))).inputs["text"].segments is None


def test_word_starts_follow_the_pieces() -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "##ing", "a"]
    words = Tokenizer({token: number for number, token in enumerate(tokens)})
    text = words(["playing a", "a"])
    assert text.ids.tolist() == [[2, 5, 6, 7], [2, 7, 0, 0]]
    assert text.word_start.tolist() == [
        [True, True, False, True],
        [True, True, False, False],
    ]


def test_a_question_names_the_fields_of_the_template() -> None:
    task = TextClassTask(["yes", "no"], WORDS)
    assert task.question("a circle [SEP] a ring").fields == {
        "sentence1": "a circle",
        "sentence2": "a ring",
    }
    with pytest.raises(
        UserError, match=r"must have 2 part\(s\), sentence1 \[SEP\] sentence2 \(got 1\)"
    ):
        task.question("a circle")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("world", [1, 2])
def test_every_text_comes_once_an_epoch_in_another_order(
    tmp_path: Path, workers: int, world: int
) -> None:
    path = write_table(
        tmp_path / "train.tsv",
        [(f"a {'red ' * (number % 5)}ring", "1") for number in range(21)],
    )
    data = source(path, training=True)
    orders = []
    for epoch in range(2):
        batches = []
        for rank in range(world):
            batches += one_epoch(
                train_loader(data, 4, rank=rank, world=world, workers=workers), epoch
            )
        records = [
            record
            for batch in batches
            for record in batch.records
            if "padding" not in record
        ]
        orders.append([record["question_id"] for record in records])
        assert Counter(orders[-1]) == Counter(range(21))
    assert orders[0] != orders[1]


def test_batches_by_tokens_hold_no_more_than_they_may(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "train.tsv",
        [(f"a {'red ' * (number % 9)}ring", "1") for number in range(40)],
    )
    data = source(path, training=True)
    loader = Loader(data, data.collate, TokenBatches(tokens=60, micro_tokens=24))
    tokens = 0
    batches = one_epoch(loader)
    for batch in batches:
        ids, mask = batch.inputs["text"][:2]
        assert ids.numel() <= 24
        tokens = tokens + int(mask.sum()) if tokens else int(mask.sum())
        assert tokens <= 60
        tokens = 0 if batch.final else tokens
    assert loader.steps_per_epoch() is None
    assert loader.steps_in(0) == sum(batch.final for batch in batches)


def test_ids_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    data = source(write_table(tmp_path / "train.tsv", ROWS))
    alone = [batch.inputs["text"] for batch in eval_loader(data, 1)]
    together = next(iter(eval_loader(data, 3))).inputs["text"]
    for row, text in enumerate(alone):
        assert together.ids[row][together.mask[row]].tolist() == text.ids[0].tolist()
        assert text.mask.all()


@pytest.mark.slow
def test_the_released_files_of_sst2_are_read(shared: Path) -> None:
    words = Tokenizer.load(shared / "data/text/bert-base-uncased-vocab.txt")
    path = (
        shared / "data/annotations/glue/SST-2/train.tsv.gz"
    )  # a copy without the official header
    arguments = {
        **SENTIMENT,
        "tokenizer": words,
        "columns": ["sentence", "label"],
        "training": True,
    }
    data = make_source(TextClassTask, path, **arguments)
    assert data.task.counts(data.items) == {
        "negative": 3310,
        "positive": 3610,
        "refused rows": 0,
    }
    batch = next(iter(train_loader(data, 8)))
    assert batch.inputs["text"].ids[:, 0].tolist() == [words.cls] * 8
