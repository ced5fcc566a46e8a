"""Help answers at once, names an example for every command, and is what docs/cli.md says."""

from __future__ import annotations

import re
import resource
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


def commands(tree: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
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
    guide = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## mplug2 {' '.join(words)}\n(.*?)(?=^## |\Z)", guide, flags=re.MULTILINE | re.DOTALL
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


def test_help_is_quick_and_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom mplug2.cli import main\nsys.argv = ['mplug2', '--help']\n"
        "try: main()\nexcept SystemExit: assert not {'torch', 'numpy', 'transformers'} & set(sys.modules)\n"
    )
    # in turns with what it stands on: a busy machine stretches both
    floor, spent = [], []
    for _ in range(4):
        floor.append(_processor_time("import typer, rich.console, rich.table"))
        spent.append(_processor_time(code))
    assert min(spent) < 3 * min(floor)


def _processor_time(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
