"""What docs/security.md promises of specs and data files, and that each of its rows names a test."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mplug2.data.tables import read_table
from mplug2.data.tasks.caption import CaptionTask
from mplug2.data.tasks.grounding import GroundingTask
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.tasks.text_class import TextClassTask
from mplug2.data.text import Tokenizer
from mplug2.train.engines.rank_files import rank_file, read_rank_file
from mplug2.train.optim import optimizer_factory
from mplug2.weights.files import read_released
from mplug2.weights.store import read_tensors
from registry import UserError
from registry.language.ports import StreamType

ROOT = Path(__file__).resolve().parents[1]
SECRET = "horse"
PLAIN = "PASSWORD=[correct horse battery }\nroot:x:0:0:horse:/root\n"
JSON = '"correct horse battery"\n'
ROW = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
TYPES = {"image": StreamType("image", ("V", 3, 8, 8))}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = Tokenizer({token: number for number, token in enumerate(SPECIAL)})


def read_as(task: Any, **arguments: Any) -> Callable[[Path], Any]:
    """Return what reads an annotation file for a task."""
    return task(tokenizer=WORDS, **arguments).read  # type: ignore[no-any-return]


READERS: dict[str, Callable[[Path], Any]] = {
    "questions": read_as(QuestionAnswerTask, types=TYPES),
    "captions": read_as(CaptionTask, types=TYPES),
    "boxes": read_as(GroundingTask, types=TYPES),
    "table": lambda path: read_table(path),
    "texts": read_as(TextClassTask, template="{sentence}", labels=["a", "b"]),
    "vocabulary": Tokenizer.load,
    "released weights": read_released,
    "weights": read_tensors,
}


@pytest.mark.parametrize("content", [PLAIN, JSON], ids=["plain", "json"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".tsv", ".pth"])
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_another_form_is_not_quoted(
    tmp_path: Path, reader: str, suffix: str, content: str
) -> None:
    file = tmp_path / f"private{suffix}"
    file.write_text(content)
    try:
        READERS[reader](file)
    except UserError as error:
        assert SECRET not in str(error)
        assert file.name in str(error)
    else:
        assert reader in ("table", "texts"), "a table of one column is valid"


class NotAnOptimizer:
    """A class that does something when it is called."""

    called = False

    def __init__(self, groups: Any) -> None:
        NotAnOptimizer.called = True


@pytest.mark.parametrize(
    "name", [f"{__name__}:NotAnOptimizer", "subprocess:Popen", "os:system", "os:name"]
)
def test_a_spec_cannot_call_what_is_not_an_optimizer(name: str) -> None:
    with pytest.raises(UserError, match="must be a class of optimizers"):
        optimizer_factory(name)
    assert not NotAnOptimizer.called
    assert optimizer_factory("torch.optim:RMSprop") is not None


class Code:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


def test_the_state_of_an_optimizer_runs_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"optimizer": Code()}, rank_file(tmp_path))
    with pytest.raises(UserError, match="must be what mplug2 wrote"):
        read_rank_file(tmp_path, "optimizer")
    assert "code ran" not in capsys.readouterr().out


def test_every_threat_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    threats = [
        line for line in page.split("\n") if line.startswith("| ") and "tests/" in line
    ]
    assert len(threats) >= 20
    for line in threats:
        named = ROW.findall(line)
        assert named, line
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), (
                f"{file}::{test}"
            )
