"""Help imports little, has an example for every command, and agrees with docs/cli.md."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mplug2.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "cli.md",
    "cli_measure.md",
    "cli_setup.md",
    "shards.md",
    "adapters.md",
    "sharing.md",
    "export.md",
)


def commands(
    tree: Any, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands below ``tree`` with the words that call them."""
    for name, one in tree.commands.items():
        yield (*words, name), one
        if hasattr(one, "commands"):
            yield from commands(one, (*words, name))


TREE = dict(commands(typer.main.get_command(app)))


def test_the_promised_commands_exist() -> None:
    promised = {"check", "show", "list", "train", "eval", "predict", "data", "convert"}
    assert promised <= {words[0] for words in TREE}
    assert {("data", "make-shapes"), ("data", "check")} <= set(TREE)


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_every_command_has_help_and_an_example(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert "Example: mplug2 " + words[0] in shown.output
    assert TREE[words].help


@pytest.mark.parametrize("words", TREE, ids=" ".join)
def test_the_guide_names_every_command_and_option(words: tuple[str, ...]) -> None:
    guide = "\n".join(
        (ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES
    )
    section = re.search(
        rf"^## mplug2 {' '.join(words)}\n(.*?)(?=^## |\Z)",
        guide,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert section, f"docs/cli.md has no section '## mplug2 {' '.join(words)}'"
    options = {
        name
        for parameter in TREE[words].params
        if not getattr(parameter, "hidden", False)
        for name in parameter.opts
        if name.startswith("--") and name != "--help"
    }
    assert {name for name in options if f"`{name}" not in section.group(1)} == set()
    spoken = set(re.findall(r"`(--[a-z-]+)", section.group(1)))
    assert spoken <= options, "docs/cli.md names options that do not exist"


HELP = """
import sys

before = set(sys.modules)
from mplug2.cli import main

sys.argv = ["mplug2", "--help"]
try:
    main()
except SystemExit:
    print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""
TYPER = {"typer", "click", "typing_extensions", "annotated_doc", "shellingham"}
RICH = {"rich", "markdown_it", "mdurl", "pygments", "attr"}


def test_help_imports_the_command_line_and_nothing_that_computes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stderr.split())
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert (
        {"mplug2", "typer"}
        <= packages
        <= {"mplug2", "modules", "registry", "ruamel"} | TYPER | RICH
    )
    subpackages = {
        f"mplug2.{file.parent.name}" for file in ROOT.glob("mplug2/*/__init__.py")
    }
    assert imported & subpackages == {"mplug2.cli"}
    assert not [name for name in imported if name.startswith("modules.")]
