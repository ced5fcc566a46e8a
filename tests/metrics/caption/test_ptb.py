"""The tokens are Java's: recorded ones, and those that Java gives here and now."""

# ruff: noqa: RUF001  (quotes that look alike are what is told apart)

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path

import pytest

from mplug2.metrics.caption.ptb import tokenize


def test_recorded_tokens(shared: Path) -> None:
    cases = json.loads(
        (shared / "data/metrics/ptb/captions.json").read_text(encoding="utf-8")
    )
    wrong = [case for case in cases if tokenize(case["raw"]) != case["tokens"]]
    assert len(cases) > 1000
    assert len(wrong) <= 0.005 * len(cases), wrong


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A man's dog, the dogs' toys; it's theirs!", "a man 's dog the dogs toys it 's theirs"),
        ("They can't, won't and cannot: I'm gonna", "they ca n't wo n't and can not i 'm gon na"),
        ("What?! No!!", "what ?! no !!"),
        ("(red) [x] {y}", "-lrb- red -rrb- -lsb- x -rsb- -lcb- y -rcb-"),
        ("at 5 p.m. on St. John's st.", "at 5 p.m. on st. john 's st."),
        ("the U.S. flag. U.S.", "the u.s. flag u.s."),
        ("a well-kept t-shirt -- his/her 1/2 and 2 1/2", "a well-kept t-shirt his/her 1/2 and 2\xa01/2"),
        ("$5 50% #1 & AT&T R&B a&b", "$ 5 50 % # 1 & at&t r&b a & b"),
        ("10:30am 1,000.50 -5", "10:30 am 1,000.50 -5"),
        ("rock 'n' roll in the '50s, 1950's", "rock 'n' roll in the '50s 1950 's"),
        ("“it’s” … don’t – café", "it 's do n't café"),
        ("ma'am o'clock goin' dunkin' 'tis could'nt", "ma'am o'clock goin dunkin' 't is could nt"),
        ("both., dog. cat", "both. dog cat"),
        ("no. 5, no. a, type x. A man, x. man", "no. 5 no a type x a man x. man"),
        ("😀 a\u200bb soft\xadhyphen 30°", "a b softhyphen 30 °"),
        (":) ;-( <3", ":-rrb- ;--lrb- < 3"),
        ("", ""),
        (" .\n", ""),
    ],
)  # fmt: skip
def test_rules(caption: str, tokens: str) -> None:
    assert tokenize(caption) == tokens


def test_java_agrees_on_other_captions(shared: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    ptbtokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    with gzip.open(
        shared / "data/annotations/msrvtt/val_captions.json.gz", "rt", encoding="utf-8"
    ) as file:
        videos = json.load(file)
    captions = sorted({text for video in videos.values() for text in video.values()})
    random.Random(0).shuffle(captions)
    odd = [text for text in captions if any(letter in text for letter in "'\"-/.(&")]
    chosen = {
        str(index): [{"caption": text}]
        for index, text in enumerate(odd[:500] + captions[:1500])
    }
    java = ptbtokenizer.PTBTokenizer().tokenize(chosen)
    wrong = [
        given
        for key, [given] in chosen.items()
        if tokenize(given["caption"]) != java[key][0]
    ]
    assert len(wrong) <= 0.005 * len(chosen), wrong
