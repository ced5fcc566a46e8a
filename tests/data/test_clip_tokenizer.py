"""CLIP's tokenizer: merges in order, cleaned texts, cut texts, and its names in a spec."""

from __future__ import annotations

import gzip
import html
import json
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mplug2.data import clip_tokenizer
from mplug2.data.arguments import ArgumentError
from mplug2.data.clip_tokenizer import ClipTokenizer
from mplug2.data.template import TextTemplate
from mplug2.data.text import Tokenizer
from registry import UserError
from registry.tokenizer_names import tokenizer_exists, tokenizer_parts
from tools.parity.compare import compare

MERGES = "#version: 0.2\nc a\nca t</w>\na t</w>\n"
VOCABULARY = "data/text/bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture
def merges(tmp_path: Path) -> Path:
    path = tmp_path / "merges.txt"
    path.write_text(MERGES)
    return path


@pytest.fixture
def tokenizer(merges: Path) -> ClipTokenizer:
    return ClipTokenizer.read(str(merges))


def words(tokenizer: ClipTokenizer, text: str) -> list[str | None]:
    return tokenizer.tokens(tokenizer.encode(text))


def test_pairs_are_merged_by_their_rank(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.vocab_size == 2 * 256 + 3 + 2
    assert words(tokenizer, "cat") == ["<|startoftext|>", "cat</w>", "<|endoftext|>"]
    assert words(tokenizer, "CAT  at\n'S tat") == [
        "<|startoftext|>", "cat</w>", "at</w>", "'", "s</w>", "t", "at</w>", "<|endoftext|>",
    ]  # fmt: skip


def test_a_longer_text_ends_with_the_end(tokenizer: ClipTokenizer) -> None:
    ids = tokenizer.encode("cat cat cat cat", 4)
    assert tokenizer.tokens(ids) == [
        "<|startoftext|>",
        "cat</w>",
        "cat</w>",
        "<|endoftext|>",
    ]
    text = tokenizer(["cat", "cat cat cat"], 4)
    assert text.ids[:, -1].tolist() == [0, tokenizer.sep]
    assert text.mask.sum(dim=1).tolist() == [3, 4]
    assert (
        tokenizer.encode_with_sep(["cat cat cat"], 4).ids.tolist()
        == text.ids[1:].tolist()
    )


def test_a_word_begins_after_the_end_of_another(tokenizer: ClipTokenizer) -> None:
    text = tokenizer(["cat ta at", "cat"])
    assert tokenizer.tokens(text.ids[0].tolist())[1:5] == [
        "cat</w>",
        "t",
        "a</w>",
        "at</w>",
    ]
    assert text.word_start is not None
    assert text.word_start.tolist() == [
        [True, True, True, False, True, True],
        [True, True, True, False, False, False],
    ]


def test_special_tokens_in_a_text_are_tokens(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("a <|EndOfText|>")[-2:] == [tokenizer.sep, tokenizer.sep]


def test_decoding_is_the_way_back(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("A cat, at 12")) == "a cat , at 1 2"
    assert tokenizer.decode_released(tokenizer.pieces("cat at")) == "cat at "


def test_other_texts_than_ascii_need_ftfy(
    tokenizer: ClipTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)  # an import of it fails
    assert words(tokenizer, "cat!") == [
        "<|startoftext|>",
        "cat</w>",
        "!</w>",
        "<|endoftext|>",
    ]
    with pytest.raises(
        UserError, match=r"ftfy for texts beyond plain ASCII .*mplug2\[clip\]"
    ):
        tokenizer.encode("caf\N{LATIN SMALL LETTER E WITH ACUTE}")


def test_names_of_a_spec_choose_the_kind(merges: Path, tmp_path: Path) -> None:
    assert isinstance(Tokenizer.load(f"clip:{merges}"), ClipTokenizer)
    assert isinstance(
        Tokenizer.load(f"clip:{tmp_path}"), ClipTokenizer
    )  # a folder with a merges.txt
    assert tokenizer_exists(f"clip:{merges}") and not tokenizer_exists(
        "clip:nothing.txt"
    )
    assert tokenizer_parts("bert-base-uncased") == ("bert", "bert-base-uncased")
    assert tokenizer_parts("bert:vocab.txt") == ("bert", "vocab.txt")
    assert tokenizer_parts("bytes") == ("bytes", "")
    with pytest.raises(UserError, match="bytes reads no file"):
        Tokenizer.load("bytes:vocab.txt")


def test_the_fingerprint_follows_the_merges(
    merges: Path, tokenizer: ClipTokenizer
) -> None:
    assert tokenizer.fingerprint == ClipTokenizer.read(str(merges)).fingerprint
    merges.write_text(MERGES + "t a\n")
    assert tokenizer.fingerprint != ClipTokenizer.read(str(merges)).fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"c a\n", "must begin with a line `#version`"),
        (
            b"#version: 0.2\nc a t\n",
            r"merges.txt:2: a merge must be two symbols \(got 'c a t'\)",
        ),
        (b"#version: 0.2\n\xff\xfe\n", "cannot be read as text"),
    ],
)
def test_another_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "merges.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        ClipTokenizer.read(str(path))


def test_a_gzipped_file_is_read_and_a_cut_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress(MERGES.encode()))
    assert ClipTokenizer.read(str(path)).vocab_size == 517
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match="cannot be read as text"):
        ClipTokenizer.read(str(path))
    with pytest.raises(UserError, match="do not exist"):
        ClipTokenizer.read("")


def test_what_unfolds_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_tokenizer, "_MAX_BYTES", 10)
    path = tmp_path / "merges.txt.gz"
    path.write_bytes(gzip.compress(MERGES.encode()))
    with pytest.raises(UserError, match="at most 10 bytes"):
        ClipTokenizer.read(str(path))


def test_plain_recorded_texts_have_the_original_ids(shared: Path) -> None:
    tokenizer = ClipTokenizer.read(str(shared / VOCABULARY))
    recorded = json.loads(
        (shared / "reference/parity/clip/tokenizer.json").read_text()
    )["rows"]
    plain = [row for row in recorded if clip_tokenizer._PLAIN.fullmatch(row["text"])]
    assert len(plain) > 20
    for row in plain:
        assert tokenizer.pieces(row["text"]) == row["ids"], row["text"]
        assert tokenizer.decode_released(row["ids"]) == row["decoded"]


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=126)))
def test_ftfy_changes_no_plain_text(text: str) -> None:
    ftfy = pytest.importorskip("ftfy", reason="ftfy is not installed")
    original = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    assert clip_tokenizer.cleaned(text) == " ".join(original.lower().split())


def test_a_template_needs_the_tokens_of_the_tokenizer(tokenizer: ClipTokenizer) -> None:
    with pytest.raises(
        ArgumentError, match=r"has no token \[CLS\] \(got '\[CLS\] \{a\}'\)"
    ):
        TextTemplate("[CLS] {a}", tokenizer, 9)
    row = TextTemplate("<|startoftext|> {a} <|endoftext|>", tokenizer, 4).encode(
        {"a": "cat cat cat"}
    )
    assert row == tokenizer.encode("cat cat")


def test_every_recorded_text_has_the_original_ids(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("ftfy", reason="ftfy is not installed")
    file = shared / "reference/parity/clip/tokenizer.json"
    assert [row.name for row in compare(file) if not row.good] == []
    changed = json.loads(file.read_text())
    changed["rows"][3] |= {"ids": [1], "unknown": 1}
    changed["about"]["vocabulary"] = f"shared/{VOCABULARY}"
    (tmp_path / VOCABULARY).parent.mkdir(parents=True)
    shutil.copy(shared / VOCABULARY, tmp_path / VOCABULARY)
    (tmp_path / "tokenizer.json").write_text(json.dumps(changed))
    failed = [row.name for row in compare(tmp_path / "tokenizer.json") if not row.good]
    assert failed == ["3.ids", "3.unknown"]
