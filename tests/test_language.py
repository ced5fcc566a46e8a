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
PATTERN = re.compile(r"(?<![\w.-])(" + "|".join(ARCHAIC) + r")(?![\w-]|'\w)", flags=re.IGNORECASE)
CODE = re.compile(r"```.*?```|``[^`]*``|`[^`]*`|\]\([^)]*\)|\"[^\"\n]*\"|'[^'\n]*'(?!\w)", flags=re.DOTALL)

# Files that are not rewritten yet. This list may only shrink.
NOT_YET: frozenset[str] = frozenset(
    {
        "docs/cli.md",
        "docs/modules.md",
        "docs/operations.md",
        "docs/settings.md",
        "docs/writing_a_module.md",
        "docs/writing_a_spec.md",
        "modules/boxes.py",
        "modules/decoder.py",
        "modules/distributed.py",
        "modules/ema.py",
        "modules/linear.py",
        "modules/losses/contrastive.py",
        "modules/losses/reduction.py",
        "modules/negatives.py",
        "modules/ops.py",
        "modules/queue.py",
        "modules/search/beam.py",
        "modules/search/common.py",
        "modules/search/rank.py",
        "modules/search/rescore.py",
        "modules/search/sample.py",
        "modules/sizes.py",
        "modules/streams.py",
        "modules/text.py",
        "modules/torchvision_guard.py",
        "modules/tying.py",
        "modules/vit.py",
        "mplug2/build/compose.py",
        "mplug2/build/convert.py",
        "mplug2/build/describe.py",
        "mplug2/build/drawing/__init__.py",
        "mplug2/build/drawing/diagram.py",
        "mplug2/build/drawing/draw.py",
        "mplug2/build/drawing/layout.py",
        "mplug2/build/drawing/scene.py",
        "mplug2/build/eject.py",
        "mplug2/build/patterns.py",
        "mplug2/build/shrink.py",
        "mplug2/build/smoke.py",
        "mplug2/checking/problems.py",
        "mplug2/cli/checking.py",
        "mplug2/freezing.py",
        "mplug2/import_guard.py",
        "mplug2/network.py",
        "mplug2/objectives/cider_d.py",
        "mplug2/objectives/cider_workers.py",
        "mplug2/runtime/atomic_write.py",
        "mplug2/runtime/distributed.py",
        "mplug2/runtime/interrupts.py",
        "mplug2/runtime/jsonl.py",
        "mplug2/runtime/progress.py",
        "mplug2/runtime/safetensors_writer.py",
        "mplug2/train/__init__.py",
        "mplug2/train/checkpoint.py",
        "mplug2/train/curves.py",
        "mplug2/train/engines/deepspeed.py",
        "mplug2/train/engines/deepspeed_zero.py",
        "mplug2/train/gradients.py",
        "mplug2/train/loggers.py",
        "mplug2/train/logs.py",
        "mplug2/train/messages.py",
        "mplug2/train/optim.py",
        "mplug2/train/run_state.py",
        "mplug2/train/schedule.py",
        "mplug2/train/trainer.py",
        "mplug2/weights/bound_map.py",
        "mplug2/weights/export.py",
        "mplug2/weights/families/pieces.py",
        "mplug2/weights/files.py",
        "mplug2/weights/hub.py",
        "mplug2/weights/key_pattern.py",
        "mplug2/weights/keymap.py",
        "mplug2/weights/sources.py",
        "mplug2/weights/store.py",
        "registry/checks/advice.py",
        "registry/checks/check.py",
        "registry/checks/data_limits.py",
        "registry/checks/evaluations.py",
        "registry/checks/measured.py",
        "registry/checks/names.py",
        "registry/checks/settings.py",
        "registry/checks/sizes.py",
        "registry/checks/sources.py",
        "registry/checks/types.py",
        "registry/errors.py",
        "registry/kinds.py",
        "registry/language/annotations.py",
        "registry/language/conditions.py",
        "registry/language/declaration.py",
        "registry/language/equation.py",
        "registry/language/expansion.py",
        "registry/language/parts.py",
        "registry/language/ports.py",
        "registry/language/schema.py",
        "registry/language/spec.py",
        "registry/language/subflows.py",
        "registry/name_table.py",
        "registry/splits.py",
        "registry/training.py",
        "registry/yaml/merge.py",
        "registry/yaml/tree.py",
    }
)


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
        is_word_list = is_text and "\n" in node.value and not re.search("[.,:;]", node.value)
        if is_text and not is_word_list and len(node.value.split()) >= MIN_WORDS:
            yield node.lineno, CODE.sub("", node.value)


def archaic_words(path: Path) -> list[str]:
    """Return `line: word (write: ...)` for each archaic word of a file."""
    text = path.read_text(encoding="utf-8")
    prose = {".md": prose_of_page, ".py": prose_of_source, ".yaml": prose_of_spec}[path.suffix]
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
    "sentence", ["Write it anew.", "The file says so.", "there is none: is none", "the whole run"]
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
    path.write_text('`picture: index Q` and "told"\n```\nsays\n```\n', encoding="utf-8")
    assert archaic_words(path) == []
