"""Arguments that follow from the wiring and the labels: in networks, resolved specs, and ejected code."""

from __future__ import annotations

from pathlib import Path

import pytest
from ejected import assert_same_network as same
from ejected import ejected_network as written
from typer.testing import CliRunner

import mplug2
from mplug2.build.describe import describe_text
from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from mplug2.cli.app import app
from registry import SpecError, parse_spec, write_spec

SPEC = """
inputs: {sentence: text Q L, regions: tokens Q R 24, label: labels Q}
modules:
  words:  {use: text_embedding, width: 32, vocab_size: 20, max_positions: 16, dropout: 0.0}
  body:   {use: text_encoder, depth: 1, heads: 2, dropout: 0.0}
  narrow: {use: project, dropout: 0.0}
  head:   {use: class_head, dropout: 0.0}
flow:
  spoken: words(sentence)
  read:   body(spoken)
  seen:   narrow(regions)
  joint:  concat(read, seen)
  logits: head(joint)
  loss:   cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
"""
DATA = """
data: {task: text_label, labels: [yes, no, unknown], media: m, tokenizer: v, train: {path: t}}
"""


def spec_text() -> str:
    """Return a spec whose data supplies the sentences and labels, but no regions."""
    text = SPEC.replace("regions: tokens Q R 24, ", "").replace(
        "narrow(regions)", "narrow(spoken)"
    )
    return text + DATA


def test_the_whole_way(tmp_path: Path) -> None:
    spec = parse_spec(spec_text(), "left_out.yaml")
    net = mplug2.compose(spec, initial=False)
    assert net.spec.modules["head"].arguments == {
        "dropout": 0.0,
        "width": 32,
        "classes": 3,
    }
    assert str(net.types["logits"]) == "logits Q 3"
    rows = [(row.argument, row.value) for row in dry_run(spec).inferred]
    assert rows == [
        ("body.width", 32),
        ("narrow.width_in", 32),
        ("narrow.width", 32),
        ("head.width", 32),
        ("head.classes", 3),
    ]
    assert smoke(spec) == ""
    same(spec, written(spec, tmp_path))
    assert "width 32" in read_diagram(spec).nodes["read"].detail


def test_what_a_checkpoint_keeps_needs_no_data() -> None:
    net = mplug2.compose(parse_spec(spec_text(), "left_out.yaml"), initial=False)
    text = write_spec(net.spec)
    before = spec_text().partition("[yes")[0]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert f"# head.classes follows: set at left_out.yaml:{line}:{column}\n" in text
    alone = parse_spec(text[: text.index("data:")])
    assert (
        mplug2.compose(alone, initial=False).spec.modules["head"].arguments["classes"]
        == 3
    )
    assert "classes: 3" in describe_text(parse_spec(spec_text(), "left_out.yaml"))


def test_a_network_is_not_built_while_an_argument_is_open() -> None:
    with pytest.raises(SpecError) as error:
        mplug2.compose(parse_spec(SPEC), initial=False)
    [problem] = error.value.problems
    assert (
        problem.message
        == "'classes' of module 'head' (class_head) is open: no data names the classes"
    )
    assert str(problem.place) == "spec.yaml:7:3"


def test_the_check_passes_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "open.yaml"
    file.write_text(SPEC)
    done = CliRunner().invoke(app, ["check", str(file)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        f"note: {file}:7:3: 'classes' of module 'head' (class_head) is open"
    )
    done = CliRunner().invoke(app, ["check", str(file), "--run"])
    assert done.exit_code == 2
    assert "is open: no data names the classes" in done.output
