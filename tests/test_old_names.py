"""No old name is used in shipped specs, docs or code, and no generic local name in the core packages."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import mplug2
from registry.language import aliases

ROOT = Path(__file__).parents[1]
SPECS = sorted(ROOT.glob("configs_*/*.yaml"))
PACKAGES = ("registry", "modules", "mplug2/train", "mplug2/data", "mplug2/eval")
LOCALS = {"one", "found", "told", "said"}
# Old names that cannot mean anything else, wherever they are written.
UNIQUE = (
    *(
        "box_tokens",
        "tokens_box",
        "max_bad",
        "quarantine",
        "--hold-out",
        "--results",
        "--quarantine",
    ),
    *(
        "train.batch",
        "train.steps",
        "train.accumulate",
        "train.clip",
        "train.keep",
        "train.out",
    ),
    *(
        "train.select",
        "eval.batch",
        "begins_anew",
        "as_in_use",
        "next_word_losses",
        "DecoderState",
    ),
    *(
        "init_fresh",
        "read_through_latents",
        "check_share",
        "on_kept",
        "Catalogue",
        "CATALOGUE",
    ),
)
# Pages and files that tell old names.
TELLERS = {"docs/migration.md", "registry/language/aliases.py"}


def test_shipped_specs_are_in_new_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specs = [mplug2.read_spec(spec) for spec in SPECS]
    for spec in specs:
        old_names = {*aliases.SHIPPED_STREAMS, *aliases.INPUTS}
        assert not old_names & {*spec.flow, *spec.inputs}, spec.path
        assert not set(aliases.SHIPPED_MODULES) & set(spec.modules), spec.path


def _texts() -> Iterator[tuple[str, str]]:
    for pattern in (
        "README.md",
        "docs/**/*.md",
        "registry/**/*.py",
        "modules/**/*.py",
        "mplug2/**/*.py",
        "tools/**/*.py",
    ):
        for file in sorted(ROOT.glob(pattern)):
            name = file.relative_to(ROOT).as_posix()
            if name not in TELLERS:
                yield name, file.read_text(encoding="utf-8")


@pytest.mark.parametrize("old", UNIQUE)
def test_no_old_name_in_docs_and_code(old: str) -> None:
    pattern = re.compile(rf"(?<![\w.-]){re.escape(old)}(?![\w-])")
    users = [name for name, text in _texts() if pattern.search(text)]
    assert users == []


def test_calls_in_docs_and_code_have_new_keywords() -> None:
    used = []
    for name, text in _texts():
        for operation, words in aliases.KEYWORDS.items():
            for call in re.finditer(rf"\b{operation}\(@?\w[^()]*\)", text):
                used += [
                    (name, call.group())
                    for old in words
                    if re.search(rf"[(,] *{old}=", call.group())
                ]
    assert used == []


def _bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_no_generic_local_names(package: str) -> None:
    places = []
    for file in sorted((ROOT / package).rglob("*.py")):
        for name, line in _bindings(ast.parse(file.read_text(encoding="utf-8"))):
            if name in LOCALS:
                places.append(f"{file.relative_to(ROOT)}:{line}: {name}")
    assert places == []
