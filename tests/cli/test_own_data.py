"""`mplug2 new` and `mplug2 data import`, and every command of docs/own_data.md on a tiny set."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from quick import mostly_slow
from typer.testing import CliRunner

from mplug2.cli.app import app
from mplug2.cli.templates import TEMPLATES
from mplug2.data.shapes.write import make_shapes

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
VOCABULARY = "shapes/vocab.txt"


def run(words: Iterable[str], code: int = 0) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (words, done.output, done.exception)
    return done.output


# The quick ones: a small spec for each kind of media, and a large one.
QUICK = {
    media: (task, media, size) for task, media, size in TEMPLATES if size == "small"
}
LARGE = next(case for case in TEMPLATES if case[2] != "small")


@pytest.mark.parametrize(
    ("task", "media", "size"), mostly_slow(TEMPLATES, [*QUICK.values(), LARGE])
)
def test_a_new_spec_passes_check(
    task: str, media: str, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = run(["new", "mine", "--task", task, "--media", media, "--size", size])
    assert "next:\n  mplug2 data import table.csv" in output
    run(["check", "mine.yaml", "--stages", "1-4" if size == "small" else "1-3"])
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert all(
        f'"data/mine/{split}.jsonl"' in text for split in ("train", "val", "test")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a b", "--task", "caption", "--media", "video"), "NAME must be a word"),
        (
            ("mine", "--task", "captions", "--media", "video"),
            "--task must be one of question_answer, caption",
        ),
        (
            ("mine", "--task", "caption", "--media", "text"),
            "--task must be one of text_class for --media text",
        ),
        (
            ("there", "--task", "caption", "--media", "video"),
            "there.yaml already exists",
        ),
    ],
)
def test_mistakes_of_new_are_messages(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.yaml").touch()
    assert message in run(["new", *words], code=2)
    assert list(tmp_path.iterdir()) == [tmp_path / "there.yaml"]


def test_new_follows_what_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("T,L\ngood,yes\nbad,no\n", encoding="utf-8")
    output = run(["data", "import", "t.csv", "--text", "T", "--label", "L"])
    assert "next: mplug2 new t --task text_class --media text --data data/t" in output
    run(["new", "t", "--task", "text_class", "--media", "text"])
    text = Path("t.yaml").read_text(encoding="utf-8")
    assert 'labels: ["no", "yes"]' in text
    assert "\n  val:\n  test:\n" in text
    run(["check", "t.yaml"])


@pytest.mark.parametrize(
    "words",
    [
        ("--question", "Q", "--media", "."),
        ("--caption", "C"),
        ("--text", "T", "--label", "L", "--media", "."),
    ],
)
def test_columns_must_fit_a_task(words: tuple[str, ...]) -> None:
    assert "name the columns of a task" in run(
        ["data", "import", "t.csv", *words], code=2
    )


def test_import_overwrites_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("T,L\ngood,yes\nbad,no\nodd,\n", encoding="utf-8")
    words = ["data", "import", "t.csv", "--text", "T", "--label", "L"]
    output = run(words)
    assert "t.csv: 3 rows about texts read, 2 used" in output
    assert "1 x 'L' is empty (first at t.csv:4)" in output
    assert json.loads(Path("data/t/labels.json").read_text(encoding="utf-8")) == [
        "no",
        "yes",
    ]
    assert "already exists" in run(words, code=2)
    run([*words, "--overwrite"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, pictures and the tables that the page names, made of a small shapes world."""
    folder = tmp_path_factory.mktemp("own")
    make_shapes(
        folder / "shapes", train=10, val=0, test=0, size=48, frames=6, workers=1
    )
    shutil.copytree(folder / "shapes" / "videos", folder / "clips")
    shutil.copytree(folder / "shapes" / "images", folder / "pictures")
    tables = {
        "table": (
            "qa_train",
            {"file": "video_id", "Question": "question", "Answer": "answer"},
        ),
        "captions": ("captions_train", {"file": "video_id", "Caption": "caption"}),
        "classes": ("image_classes_train", {"file": "image", "Class": "label"}),
    }
    for name, (source, columns) in tables.items():
        lines = (
            (folder / "shapes" / f"{source}.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for line in lines:
                row = json.loads(line)
                values = [row[key] for key in columns.values()]
                writer.writerow(
                    value[0] if isinstance(value, list) else value for value in values
                )
    return folder


def commands(section: str) -> list[list[str]]:
    text = re.search(
        rf"^## \d+\. {section}\n.*?^```\n(.*?)^```",
        PAGE,
        flags=re.MULTILINE | re.DOTALL,
    )
    assert text is not None, (
        f"docs/own_data.md has no section '{section}' with commands"
    )
    return [shlex.split(line) for line in text[1].splitlines()]


def shortened(words: list[str]) -> list[str]:
    """Return a command with settings for a machine without network and minutes: a small vocabulary, a few
    steps."""
    settings: list[str] | None = {
        "train": [
            "train.max_steps=2",
            "train.eval_every=100",
            "train.save_every={steps: 2}",
        ],
        "check": [],
        "data": [],
        "eval": [],
        "predict": [],
        "index": [],
    }.get(words[0])
    if settings is None or words[:2] in (["data", "import"], ["index", "search"]):
        return words
    spec = next(word for word in words if word.endswith(".yaml"))
    text = Path(spec).read_text(encoding="utf-8")
    if "tokenizer" in text:
        settings.append(f"data.tokenizer={VOCABULARY}")
    return [*words, *settings, "data.workers=0"]


def run_section(section: str) -> None:
    lines = commands(section)
    assert lines
    for words in lines:
        assert words[0] == "mplug2"
        run(shortened(words[1:]))


@pytest.mark.parametrize(
    "section",
    [
        "Classes",
        pytest.param("Question answering", marks=pytest.mark.slow),
    ],  # the longer one
)
def test_the_commands_of_the_page_run(
    section: str, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    run_section(section)


@pytest.mark.slow  # two trainings and a fine-tuning
def test_captions_retrieval_and_fine_tuning_of_the_page_run(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    for section in ("Captions", "Retrieval", "Fine-tune what you trained"):
        run_section(section)
    assert Path("runs/my_qa_2/last").exists() or Path("runs/my_qa_2/best").exists()
