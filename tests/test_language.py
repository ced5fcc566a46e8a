"""Plain English: no archaic word in README, docs, headers of specs, comments, docstrings and messages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("registry", "modules", "mplug2", "tools")
SPECS = ("configs_image", "configs_text", "configs_video")
MIN_WORDS = 3  # a shorter string is a name or a key, not a sentence

# What a reader of today would stop at, and what to write. Patterns match whole words, in any case.
ARCHAIC = {
    r"alike": "both, equally",
    r"anew": "again, overwrite",
    r"as (it is|they are|it stands)(?! (written|cut|ready|found|reported))": "unchanged",
    r"at hand": "available",
    r"beside": "next to, in addition to",
    r"by heart": "memorize",
    r"by the clock": "wall time",
    r"(go|goes|going|went) on": "continue, resume",
    r"(?<!there )(is|are|holds?) (?-i:none)": "has no ..., does not exist",
    r"(?<!there )(is|are) no (?!longer)[a-z]+": "is not a ...",
    r"has not (a|an|all|any|its|that|the|this)": "does not have",
    r"heard|hears": "received",
    r"holds? still": "freeze",
    r"in the mean": "on average",
    r"in turn": "alternately, in order",
    r"laid|lies|lay(?! out)": "is",
    r"likeliest": "most probable",
    r"may be given again": "repeatable",
    r"mend(s|ed|ing)?": "fix, repair",
    r"(of|by) (one's|your|its|their|his|our) own": "custom, your",
    r"optimis(er|ers|ation)": "optimizer",
    r"pictures?": "image",
    r"processor (time|seconds)": "CPU time",
    r"said|says|say": "prints, specifies, contains",
    r"shares? of": "fraction of",
    r"somebody|someone|nobody|person|people": "user, annotators",
    r"stands?(?!-in)": "is",
    r"tells?|told": "reports, prints",
    r"to be had": "available",
    r"unheard|thereof|whilst|upon": "a modern word",
    r"unless set": "default: ...",
    r"wherever": "anywhere",
    r"whole": "complete, full",
}
PATTERN = re.compile(
    r"(?<![\w.-])(" + "|".join(ARCHAIC) + r")(?![\w-]|'\w)", flags=re.IGNORECASE
)
CODE = re.compile(
    r"```.*?```|``[^`]*``|`[^`]*`|\]\([^)]*\)|\"[^\"\n]*\"|'[^'\n]*'(?!\w)",
    flags=re.DOTALL,
)

# Files that are not rewritten yet. This list may only shrink.
NOT_YET: frozenset[str] = frozenset()


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page with their numbers, without code and quotations."""
    plain = CODE.sub(lambda match: "\n" * match[0].count("\n"), text)
    yield from enumerate(plain.split("\n"), 1)


def prose_of_spec(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a YAML file."""
    for number, line in enumerate(text.split("\n"), 1):
        _, mark, comment = line.partition("#")
        if mark:
            yield number, CODE.sub("", comment)


def prose_of_source(text: str) -> Iterator[tuple[int, str]]:
    """Yield the comments of a Python file, and its strings of several words: docstrings and messages."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], CODE.sub("", token.string)
    for node in ast.walk(ast.parse(text)):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        # A string without punctuation over several lines is a list of words, not a sentence.
        is_word_list = (
            is_text and "\n" in node.value and not re.search("[.,:;]", node.value)
        )
        if is_text and not is_word_list and len(node.value.split()) >= MIN_WORDS:
            yield node.lineno, CODE.sub("", node.value)


def archaic_words(path: Path) -> list[str]:
    """Return `line: word (write: ...)` for each archaic word of a file."""
    text = path.read_text(encoding="utf-8")
    prose = {".md": prose_of_page, ".py": prose_of_source, ".yaml": prose_of_spec}[
        path.suffix
    ]
    findings = []
    for number, line in prose(text):
        for match in PATTERN.finditer(line):
            findings.append(f"{number}: {match[0]} (write: {advice(match[0])})")
    return findings


def advice(word: str) -> str:
    """Return what to write for a word."""
    for pattern, better in ARCHAIC.items():
        if re.fullmatch(pattern, word, flags=re.IGNORECASE):
            return better
    return ""


def checked_files() -> list[Path]:
    """Return the pages, specs and sources of the project."""
    files = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "scripts" / "README.md",
    ]
    files += (ROOT / "docs").rglob("*.md")
    for folder in SPECS:
        files += [*(ROOT / folder).rglob("*.yaml"), *(ROOT / folder).rglob("*.md")]
    for folder in SOURCES:
        files += (ROOT / folder).rglob("*.py")
    return sorted(files)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", checked_files(), ids=relative)
def test_no_archaic_word(path: Path) -> None:
    findings = archaic_words(path)
    if relative(path) in NOT_YET:
        assert findings, f"{relative(path)} is clean: remove it from NOT_YET"
    else:
        assert findings == []


def test_what_is_not_rewritten_yet_exists() -> None:
    assert set(map(relative, checked_files())) >= NOT_YET


@pytest.mark.parametrize(
    "sentence",
    ["Write it anew.", "The file says so.", "there is none: is none", "the whole run"],
)
def test_archaic_words_are_found(sentence: str, tmp_path: Path) -> None:
    for name, text in (
        ("a.md", sentence),
        ("a.py", f'"""{sentence}"""\n'),
        ("a.yaml", f"a: 1  # {sentence}\n"),
    ):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert archaic_words(path) != []


def test_code_and_quotations_are_not_prose(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        '`image_index: index Q` and "told"\n```\nsays\n```\n', encoding="utf-8"
    )
    assert archaic_words(path) == []
