"""Windows of plain text files: every byte in exactly one of them, whatever the file holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from loaders import eval_loader, train_loader

from mplug2.data.byte_tokenizer import ByteTokenizer
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.sources.text_file import LOOK_AHEAD, TextFileSource
from mplug2.data.tasks.plain_text import PlainTextTask
from mplug2.data.tasks.text_class import TextClassTask
from mplug2.data.text import Tokenizer
from registry.errors import UserError

WORDS = Tokenizer({token: number for number, token in enumerate(vocabulary())})
BYTES = PlainTextTask(ByteTokenizer(), "[CLS]{text}", 64)


def source(
    path: Path, content: bytes, task: Any = BYTES, **settings: Any
) -> TextFileSource:
    path.write_bytes(content)
    return TextFileSource(
        str(path), task, **{"window_bytes": 16, "cut": "bytes", **settings}
    )


def contents(data: TextFileSource) -> list[bytes]:
    return [
        item.fields["text"].encode("utf-8", "surrogateescape") for item in data.items
    ]


def random_content(length: int, letters: str, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    return "".join(rng.choice(letters) for _ in range(length)).encode()


@pytest.mark.parametrize("cut", ["bytes", "words"])
@pytest.mark.parametrize("letters", ["abc ", "aé\u4e2d \n", "a", " "])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 500])
def test_windows_are_the_file(
    cut: str, letters: str, length: int, tmp_path: Path
) -> None:
    content = random_content(length, letters)
    data = source(tmp_path / "a.txt", content, cut=cut)
    windows = contents(data)
    assert b"".join(windows) == content
    assert len(windows) == len(data) == -(-len(content) // 16)
    if cut == "bytes":
        assert all(len(window) == 16 for window in windows[:-1])


def test_windows_of_words_begin_and_end_between_words(tmp_path: Path) -> None:
    content = random_content(2000, "abcdefg  \n")
    windows = contents(source(tmp_path / "a.txt", content, cut="words"))
    assert b" ".join(windows).split() == content.split()
    assert max(map(len, windows)) < 16 + 60


def test_a_word_longer_than_the_look_ahead_is_cut(tmp_path: Path) -> None:
    content = b"x" * (3 * LOOK_AHEAD) + b" end"
    data = source(tmp_path / "a.txt", content, cut="words", window_bytes=500)
    assert b"".join(contents(data)) == content


def test_parts_of_a_file_do_not_overlap(tmp_path: Path) -> None:
    content = random_content(1003, "abc \n")
    path = tmp_path / "a.txt"
    train, val = source(path, content, end=0.9), source(path, content, start=0.9)
    assert b"".join(contents(train)) + b"".join(contents(val)) == content
    assert b"".join(contents(val)) == content[round(0.9 * 1003) :]
    assert train.fingerprint() != val.fingerprint()


def test_bytes_that_are_not_utf8_are_tokens_like_any_other(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2
    data = source(tmp_path / "a.bin", content)
    batches = list(eval_loader(data, 4))
    ids = [
        row[mask]
        for batch in batches
        for row, mask in zip(*batch.inputs["text"][:2], strict=True)
    ]
    assert bytes(int(i) - 104 for row in ids for i in row[1:]) == content
    assert sum(
        record["num_bytes"] for batch in batches for record in batch.records
    ) == len(content)


def test_what_is_cut_does_not_count(tmp_path: Path) -> None:
    task = PlainTextTask(WORDS, "[CLS] {text} [SEP]", 6)
    data = source(
        tmp_path / "a.txt",
        b"a ring a ring a ring a ring",
        task,
        cut="words",
        window_bytes=100,
    )
    batch = next(iter(eval_loader(data, 1)))
    assert batch.inputs["text"].ids.shape == (1, 6)
    assert batch.records[0]["num_bytes"] == round(27 * 4 / 8)


@pytest.mark.parametrize("workers", [0, 1])
def test_every_window_comes_once_an_epoch_in_another_order(
    workers: int, tmp_path: Path
) -> None:
    data = source(tmp_path / "a.txt", random_content(1000, "ab "), training=True)
    loader = train_loader(data, 8, workers=workers)
    orders: list[list[int]] = [[], []]
    for batch in loader:
        orders[len(orders[0]) >= len(data)] += [
            record["question_id"] for record in batch.records
        ]
        if len(orders[1]) == len(data):
            break
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(len(data)))
    assert orders[0] != orders[1] != list(range(len(data)))


def test_the_file_is_not_read_before_a_window_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(1 << 36)  # 64 GB, none of them on the disk
        file.seek(1 << 35)
        file.write(b"hello")
    data = TextFileSource(str(path), BYTES, window_bytes=1 << 20, cut="bytes")
    assert len(data) == 1 << 16
    assert data.items[1 << 15].fields["text"].startswith("hello")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"start": 0.5, "end": 0.5},
            r"start must be below end, both from 0 to 1 \(got 0.5, 0.5\)",
        ),
        ({"window_bytes": 0}, "window_bytes must be at least 1"),
        (
            {"task": TextClassTask(["a", "b"], WORDS)},
            r"needs a task of plain texts \(got TextClassTask\)",
        ),
        (
            {"task": PlainTextTask(WORDS, "{a} {b}")},
            "a window of a file is one field, but data.template joins a, b",
        ),
        ({"content": b""}, "must have at least one byte"),
    ],
)
def test_mistakes_are_named(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _ = source(tmp_path / "a.txt", **{"content": b"a ring", **settings}).items[0]
    with pytest.raises(
        UserError, match="the text file must exist, but nowhere.txt does not"
    ):
        TextFileSource("nowhere.txt", BYTES)


def test_a_byte_tokenizer_keeps_texts() -> None:
    tokenizer = Tokenizer.load("bytes")
    assert isinstance(tokenizer, ByteTokenizer)
    for text in ("a red ring", "é\u4e2d\U0001f600", "", "\x00 \n"):
        assert tokenizer.decode(tokenizer.encode(text)[1:]) == text
    ids = tokenizer.pieces("A[SEP]é")
    assert ids == [104 + 65, 102, 104 + 0xC3, 104 + 0xA9]
    assert tokenizer.tokens(ids) == ["<0x41>", "[SEP]", "<0xC3>", "<0xA9>"]
    assert max(tokenizer.pieces("\u00ff")) < tokenizer.vocab_size
    assert tokenizer.fingerprint != WORDS.fingerprint
    assert ByteTokenizer().decode([104 + 0xFF]) == "\ufffd"
