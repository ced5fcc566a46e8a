"""Check stages 4 and 5: what only the built network tells, each at its own place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_specs import ROOT, SHIPPED_PARAMETERS, TEACHER, small, writes_answers
from typer.testing import CliRunner

from mplug2.build.compose import compose
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke, tiny_batch
from mplug2.cli.app import app
from registry import Problem, Spec, SpecError, parse_spec, read_spec

TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"


def problems(spec: Spec, last: int = 4) -> list[Problem]:
    try:
        dry_run(spec)
        if last == 5:
            smoke(spec)
    except SpecError as error:
        return error.problems
    return []


MISTAKES = [
    (
        "freeze: [vision.stem, vision.stme]",
        (2, 23),
        "freeze pattern 'vision.stme' must match a parameter, but matches none",
        "did you mean 'vision.stem'?",
    ),
    (
        "train: {lr: {default: 1e-4, vision.blcks: 1e-5}}",
        (2, 29),
        "lr pattern 'vision.blcks' must match a parameter, but matches none",
        "did you mean 'vision.blocks'?",
    ),
    (
        "train: {lr: {vision: 1e-4}}",
        (2, 13),
        "train.lr must give every parameter a rate, but 'text_embedding.word.weight' has none",
        "add `default: 2e-5`",
    ),
    (
        "train: {no_decay: ['*bias', text.layrs]}",
        (2, 29),
        "no_decay pattern 'text.layrs' must match a parameter, but matches none",
        "did you mean 'text.layers'?",
    ),
    (
        "tie: {text_embedding.word.weight: decoder.embedding.position.weight}",
        (2, 7),
        "tied weights must have one shape, but text_embedding.word.weight is [690, 32] and "
        "decoder.embedding.position.weight is [24, 32]",
        "",
    ),
    (
        "tie: {text_embedding.word.weight: decoder.embedding.wrod.weight}",
        (2, 35),
        "tie must name two weights, but 'decoder.embedding.wrod.weight' is not a weight",
        "did you mean 'decoder.embedding.word.weight'?",
    ),
    (
        "modules: {vision: {mlp_ratio: -1.0}}",
        None,
        None,
        "",
    ),
    (
        "modules: {text: {dropout: 1.5}}",
        None,
        "stream 'text_encoded' cannot be computed: RuntimeError: dropout probability has to be between 0 "
        "and 1, but got 1.5",
        "",
    ),
]


@pytest.mark.parametrize(
    ("line", "where", "message", "hint"), MISTAKES, ids=lambda value: str(value)[:40]
)
def test_stage_4_names_the_place(
    line: str,
    where: tuple[int, int] | None,
    message: str | None,
    hint: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(f"extends: {TINY}\n{line}\n")
    (found,) = problems(small(file))
    print(found)
    if where is not None:
        assert str(found.place) == f"{file}:{where[0]}:{where[1]}"
    assert found.place.line > 0
    if message is not None:
        assert found.message == message
    assert found.hint == hint


def test_all_patterns_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    tie = "tie: {text_embedding.a: text_embedding.word.weight}"
    file.write_text(f"extends: {TINY}\nfreeze: [vision.a, vision.b]\n{tie}\n")
    assert len(problems(small(file))) == 3


@pytest.mark.parametrize("file", SHIPPED_PARAMETERS)
def test_shipped_specs_pass_stage_5_when_small(file: Path) -> None:
    teacher = TEACHER if writes_answers(file) else ()
    assert problems(small(file, *teacher), 5) == []


def test_a_module_that_no_loss_reaches(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        f"extends: {TINY}\n"
        "modules:\n  other: {use: text_encoder, width: 96, depth: 1}\n"
        "flow:\n  more: other(text_hidden)\n"
        "goals: {predict: {more: more}}\n"
    )
    (found,) = problems(small(file), 5)
    assert str(found.place) == f"{file}:3:3"
    assert found.message.startswith(
        "every trainable parameter must get a gradient, but no loss (train) reaches other.layers.0."
    )
    assert found.hint == "use it in a loss, or `freeze: [other]`"


HEAD = """
inputs: {q: text B M, x: logits B M 50, s: scalar, y: text B M}
modules: {w: {use: text_embedding, width: 50, vocab_size: 50, max_positions: 32}}
flow:
  read:  w(q)
  some:  lm_loss(x, target=y)
  twice: weighted_sum(some, s, weights=[1.0, 1.0])
"""


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            "goals: {train: {loss: twice}, out: {it: read}}\nfreeze: [w]",
            "the loss of goal 'train' must depend on a trainable parameter, but depends on none",
        ),
        ("goals: {other: {loss: twice}, out: {it: read}}\nfreeze: [w]", ""),
        (
            "goals: {other: {loss: read, more: twice}}",
            "'loss' must be a scalar, but stream 'read' is tokens",
        ),
    ],
)
def test_a_loss_that_cannot_be_learnt_from(rest: str, message: str) -> None:
    found = problems(parse_spec(HEAD + rest), 5)
    assert [one.message[: len(message)] for one in found] == (
        [message] if message else []
    )


def test_one_letter_has_one_size_in_all_kinds() -> None:
    spec = parse_spec(
        "inputs: {v: text M N, u: text N M, w: vector M 8, t: tokens N M 8, x: regions B M 8,\n"
        " z: logits N M 50}\n"
        "modules: {words: {use: text_embedding, width: 8, vocab_size: 50, max_positions: 32}}\n"
        "flow: {loss: 'lm_loss(z, target=u)', read: 'words(v)'}\n"
        "goals: {train: {loss: loss}, out: {s: read, v: v, w: w, t: t, x: x}}\n"
    )
    dry_run(spec)
    net = compose(spec)
    batch = tiny_batch(net, "out")
    assert (
        batch["t"].values.shape[1]
        == len(batch["w"])
        == len(batch["v"].ids)
        == batch["x"].features.shape[1]
    )
    net(tiny_batch(net, "train"), "train")


def test_the_command_runs_all_stages() -> None:
    done = CliRunner().invoke(app, ["check", str(TINY), "--smoke", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert (report["spec"], report["ok"], report["stage"]) == (str(TINY), True, 5)
    # Where the shapes world was never made, absent data is a note; nothing else is reported.
    assert {problem["severity"] for problem in report["problems"]} <= {"note"}
    done = CliRunner().invoke(
        app, ["check", str(TINY), "freeze=[vision.nothing]", "--json"]
    )
    assert done.exit_code == 2
    (problem,) = (
        p for p in json.loads(done.output)["problems"] if p["severity"] == "error"
    )
    assert "vision.nothing" in problem["message"]
    assert problem["file"] == "command line"


def test_a_long_setting_is_no_file() -> None:
    done = CliRunner().invoke(
        app, ["check", str(TINY), f"train.output_dir={'x' * 5000}", "--stages", "1-3"]
    )
    assert done.exit_code == 0, done.output


def test_a_distilled_spec_passes_the_dry_run() -> None:
    assert problems(read_spec(TINY, TEACHER)) == []
