"""`mplug2 migrate` rewrites specs in place; old options of the command line are read."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mplug2
from mplug2.cli.app import app
from registry.language import aliases
from registry.language.aliases import command_line

ROOT = Path(__file__).parents[2]

OLD = """\
# Comments stay, and so does the layout.
inputs:
  video:    frames V 3 T H W
  question: text Q L
  "clip":   index Q -> V      # a quoted key
  answer:   text A La
  owner:    index A -> Q
  vote:     weight A

modules:
  words:    {use: text_embedding, width: 8, vocab: 256,
             positions: 32}   # on two lines
  decoder:  {use: text_decoder, width: 8, depth: 1, vocab: 256, positions: 32}

flow:
  seen:     take(words, clip)
  loss:     lm_loss(seen, target=answer, weight=vote, owner=owner, mean='words', skip=1)
  guess:    "beam_search(@decoder, memory=seen, beams=2, best=2, penalty=0.5, start=101, end=102)"

goals: {train: {loss: loss}, predict: {answer: guess}}
init:  {'*': own:runs/a}
data:  {task: question_answer, max_bad: 0.1, train: {quarantine: bad.jsonl}}
train:
  batch: 2         # per process
  steps: 10
  clip:  1.0
  select: accuracy
eval:  {batch: 4}
"""


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["migrate", *words])
    return done.exit_code, done.output


def test_a_spec_in_old_words(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    code, output = run(str(file))
    assert code == 0
    assert f"{file}:5:3: 'clip' -> 'video_index'" in output
    assert output.splitlines()[-1].endswith("names replaced")
    new = file.read_text()
    assert '  "video_index":   index Q -> V      # a quoted key\n' in new
    assert "max_positions: 32}   # on two lines\n" in new
    assert "  batch_size: 2         # per process\n" in new
    assert (
        "question_index=question_index, reduction='per_token', ignore_first=1)\n" in new
    )
    assert "init:  {'*': checkpoint:runs/a}\n" in new
    assert len(new.splitlines()) == len(OLD.splitlines())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = mplug2.read_spec(file)
    assert read.flow["guess"].text.endswith(
        "length_penalty=0.5, bos_token_id=101, eos_token_id=102)"
    )
    assert run(str(file)) == (0, f"{file}: 0 names replaced\n")
    assert file.read_text() == new


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("train: {batch: 2}\n")
    code, output = run("--dry-run", str(file))
    assert (code, file.read_text()) == (0, "train: {batch: 2}\n")
    assert output == f"{file}:1:9: 'batch' -> 'batch_size'\n{file}: 1 name to replace\n"


def test_streams_and_modules_of_the_shipped_specs(tmp_path: Path) -> None:
    base = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"extends: {base}\n"
        "modules: {words: {dropout: 0.1}}\n"
        "flow:\n"
        "  visual: universal(patches, route='vision')\n"
        "  mine:   concat(both.vision, asked)\n"
        "  spoken: words(question)\n"
        "goals: {probe: {mine: mine, patches: patches}}\n"
        "freeze: ['!words', vision]\n"
    )
    assert run(str(file))[0] == 0
    assert file.read_text() == (
        f"extends: {base}\n"
        "modules: {text_embedding: {dropout: 0.1}}\n"
        "flow:\n"
        "  vision_hidden: universal(vision_encoded, route='vision')\n"
        "  mine:   concat(fused.vision, text_hidden)\n"
        "  text_embeds: text_embedding(question)\n"
        "goals: {probe: {mine: mine, patches: vision_encoded}}\n"
        "freeze: ['!text_embedding', vision]\n"
    )
    assert "mine" in mplug2.read_spec(file).flow


@pytest.mark.parametrize("name", ["none.yaml", "broken.yaml"])
def test_what_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.yaml").write_text("train: {batch: 2\n")
    code, output = run(str(tmp_path / name))
    assert code == 2
    assert output.startswith(f"{tmp_path / name}:")


OPTIONS = [
    (command, old, new)
    for command, words in aliases.COMMAND_OPTIONS.items()
    for old, new in words.items()
]


@pytest.mark.parametrize(("command", "old", "new"), OPTIONS)
def test_old_options(command: tuple[str, ...], old: str, new: str) -> None:
    words = [*command, "a", f"{old}=b", old]
    assert command_line(words) == (
        [*command, "a", f"{new}=b", new],
        [(old, new), (old, new)],
    )
    assert command_line(["diff", "a", old]) == (["diff", "a", old], []), (
        "an option of this command alone"
    )


def test_a_warning_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    base = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"
    file.write_text(f"extends: {base}\ntrain: {{batch: 2}}\n")
    words = [
        sys.executable,
        "-m",
        "mplug2",
        "predict",
        str(file),
        "--list",
        str(tmp_path / "none.txt"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert "warning: '--list' is now '--files-from'" in done.stderr.splitlines()
    words = [sys.executable, "-m", "mplug2", "check", str(file), "--stages", "1-3"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (
        f"warning: {file}:2:9: 'batch' is now 'batch_size'" in done.stderr.splitlines()
    )
    assert done.returncode == 0
