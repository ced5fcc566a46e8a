"""Tokens equal those recorded from the released code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from mplug2.data.text import Tokenizer
from registry.errors import UserError


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict:
    return json.loads((shared / "reference/parity/mplug2/data/text.json").read_text())


@pytest.fixture(scope="module")
def toy(shared: Path) -> Tokenizer:
    return Tokenizer.load(shared / "reference/parity/mplug2/data/toy_vocab.txt")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "dog", "##s"])
        + "\n"
    )
    return path


def test_ids_equal_the_released_ones(recorded: dict, toy: Tokenizer) -> None:
    for case in recorded["tokenizer"]["cases"]:
        ids = toy.encode(case["text"])
        assert ids == case["input_ids"], case["text"]
        assert toy.tokens(ids) == case["tokens"]


def test_a_batch_is_padded_and_truncated_as_released(
    recorded: dict, toy: Tokenizer
) -> None:
    case = recorded["tokenizer"]["batch_pad_trunc7"]
    text = toy(case["texts"], max_tokens=7)
    assert text.ids.tolist() == case["input_ids"]
    assert text.mask.long().tolist() == case["attention_mask"]


def test_decoding(recorded: dict, toy: Tokenizer) -> None:
    for case in recorded["decode_answer"]:
        assert toy.decode_released(case["ids"]) == case["out"]
    assert toy.decode([101, 115, 116, 102, 117, 102]) == "playing"  # cut
    assert toy.decode([101, 113, 114]) == "man is"


def test_sizes_and_special_ids(toy: Tokenizer) -> None:
    assert (toy.pad, toy.unk, toy.cls, toy.sep, toy.mask) == (0, 100, 101, 102, 103)
    assert toy.vocab_size == 138


def test_a_folder_and_a_file_are_the_same_vocabulary(tiny: Path) -> None:
    for source in (tiny, tiny.parent, str(tiny)):
        assert Tokenizer.load(source).encode("Red dogs[SEP]") == [2, 5, 6, 7, 3]


def test_workers_can_take_a_copy(tiny: Path) -> None:
    copy = pickle.loads(pickle.dumps(Tokenizer.load(tiny)))
    assert copy.encode("dogs") == [2, 6, 7]


def test_a_missing_vocabulary_says_what_to_give(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = r"does not exist \(a relative path starts from .*\); give the path of a vocab\.txt"
    with pytest.raises(UserError, match=missing):
        Tokenizer.load(tiny.parent / "none.txt")
    with pytest.raises(UserError, match=r"must hold a vocab\.txt"):
        Tokenizer.load(tiny.parent.parent)
    tiny.write_text("red\ndog\n")
    with pytest.raises(UserError, match=r"must hold \[PAD\]"):
        Tokenizer.load(tiny)


def test_only_line_ends_end_a_line_of_a_vocabulary(tmp_path: Path) -> None:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "\u2028",
        "b",
        "\x85",
        "c",
    ]
    for ends in ("\n", "\r\n"):
        path = tmp_path / "vocab.txt"
        path.write_bytes(ends.join([*words, ""]).encode())
        known = Tokenizer.load(path)
        assert known.vocab_size == len(words)
        assert [known.encode(word)[1:] for word in "abc"] == [[5], [7], [9]]
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(words).encode())
    assert Tokenizer.load(path).vocab_size == len(words)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{broken", "must be a JSON object"),
        (b"[1]", "must be a JSON object"),
        (b"\xff\xfe", "must be a JSON object"),
        (b"[" * 100_000, "must be a JSON object"),
        (
            b'{"do_lower_case": null}',
            "do_lower_case must be true or false, but is null",
        ),
    ],
)
def test_broken_settings_of_a_tokenizer_are_named(
    tiny: Path, content: bytes, said: str
) -> None:
    settings = tiny.with_name("tokenizer_config.json")
    settings.write_bytes(b'{"do_lower_case": false}')
    assert Tokenizer.load(tiny.parent).encode("Red") == [2, 1]
    settings.write_bytes(content)
    with pytest.raises(UserError, match=rf"tokenizer_config\.json:? {said}"):
        Tokenizer.load(tiny.parent)


def test_a_closed_text_keeps_its_end(toy: Tokenizer) -> None:
    assert toy.encode_with_sep(["dog man dog", "dog"], 4).ids.tolist() == [
        [*toy.encode("dog man"), toy.sep],
        [*toy.encode("dog"), toy.sep, toy.pad],
    ]


def test_a_name_without_network_says_what_to_give(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    def offline(*_: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"give the path of a vocab\.txt"):
        Tokenizer.load("nobody-has-this-uncased")


def test_a_name_in_the_cache_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    import huggingface_hub

    def reached(*_: object) -> str:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(tiny))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", reached)
    assert (
        Tokenizer.load("bert-base-uncased").vocab_size
        == Tokenizer.load(tiny).vocab_size
    )
