"""Old words of specs: each is read as the new one, with a warning at its position."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import mplug2  # noqa: F401  (fills the registries)
from registry import Registry, Spec, SpecError, check, parse_spec, read_spec, write_spec
from registry.language import aliases
from registry.language.renames import RenamedWarning


def read(text: str) -> tuple[Spec, list[str]]:
    """Return a spec, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = parse_spec(text)
    assert all(issubclass(warning.category, RenamedWarning) for warning in caught)
    return spec, [str(warning.message) for warning in caught]


def flow(line: str) -> str:
    """Return a spec of one line, which begins at column 9 of line 3 of the spec."""
    return f"inputs: {{x: tokens B N 8}}\nflow:\n  out:  {line}\ngoals: {{predict: {{out: out}}}}\n"


@pytest.mark.parametrize(("old", "new"), aliases.OPERATIONS.items())
def test_operations(old: str, new: str) -> None:
    spec, messages = read(flow(f"{old}(@decoder, x)"))
    assert spec.flow["out"].callee == new
    assert spec.flow["out"].text == f"{new}(@decoder, x)"
    assert messages == [f"spec.yaml:3:9: '{old}' is now '{new}'"]


KEYWORDS = [
    (name, old, new)
    for name, words in aliases.KEYWORDS.items()
    for old, new in words.items()
]


@pytest.mark.parametrize(("operation", "old", "new"), KEYWORDS)
def test_keywords(operation: str, old: str, new: str) -> None:
    spec, messages = read(flow(f"{operation}(x, {old}=3)"))
    assert list(spec.flow["out"].keywords) == [new]
    assert messages == [f"spec.yaml:3:{13 + len(operation)}: '{old}' is now '{new}'"]


def test_values_of_options() -> None:
    spec, messages = read(flow("lm_loss(x, mean='words')"))
    assert spec.flow["out"].text == "lm_loss(x, reduction='per_token')"
    assert messages == [
        "spec.yaml:3:20: 'mean' is now 'reduction'",
        "spec.yaml:3:26: 'words' is now 'per_token'",
    ]


SETTINGS = [
    (name, old, new)
    for name, words in aliases.SETTINGS.items()
    for old, new in words.items()
]


@pytest.mark.parametrize(("section", "old", "new"), SETTINGS)
def test_settings(section: str, old: str, new: str) -> None:
    spec, messages = read(f"{section}: {{{old}: 2}}\n")
    assert getattr(spec, section)[new] == 2
    assert old not in getattr(spec, section)
    assert messages == [f"spec.yaml:1:{len(section) + 4}: '{old}' is now '{new}'"]


def test_settings_of_named_evaluations_and_of_sources() -> None:
    spec, messages = read(
        "eval: {dev: {batch: 2}}\ndata:\n  train: {quarantine: bad.jsonl}\n"
    )
    assert spec.eval["evaluations"]["dev"] == {"batch_size": 2}
    assert spec.data["train"] == {"exclude_list": "bad.jsonl"}
    assert len(messages) == 2


@pytest.mark.parametrize("use", aliases.ARGUMENTS)
def test_arguments_of_modules(use: str) -> None:
    other = "n: {use: other, vocab: 3}"
    spec, messages = read(
        f"modules: {{m: {{use: {use}, vocab: 20, positions: 8}}, {other}}}\n"
    )
    assert spec.modules["m"].arguments == {"vocab_size": 20, "max_positions": 8}
    assert spec.modules["n"].arguments == {"vocab": 3}, (
        "another module has its own words"
    )
    assert len(messages) == 2


def test_sources_of_weights() -> None:
    spec, messages = read("init: {'*': 'own:runs/a'}\n")
    assert spec.init == {"*": "checkpoint:runs/a"}
    assert messages == ["spec.yaml:1:14: 'own' is now 'checkpoint'"]


INPUTS = """\
inputs: {video: frames V 3 T H W, question: text Q L, clip: index Q -> V, answer: text A L,
         owner: index A -> Q, vote: weight A}
flow:
  seen: take(video, clip)
  loss: lm_loss(seen.clip, clip='clip', weight=vote, owner=owner)
goals: {train: {loss: loss, owner: owner}}
"""


def test_inputs_that_a_task_supplies() -> None:
    spec, messages = read(INPUTS + "data: {task: question_answer}\n")
    names = [
        "video",
        "question",
        "video_index",
        "answer",
        "question_index",
        "answer_weight",
    ]
    assert list(spec.inputs) == names
    assert spec.flow["loss"].text == (
        "lm_loss(seen.clip, clip='clip', weight=answer_weight, question_index=question_index)"
    ), "fields, keywords and texts stay"
    assert {key: str(ref) for key, ref in spec.goals["train"].items()} == {
        "loss": "loss",
        "owner": "question_index",
    }
    assert "spec.yaml:1:55: 'clip' is now 'video_index'" in messages


def test_inputs_that_a_definition_reads() -> None:
    lines_of_pick = "    a: take(x, clip)\n    b: take(a, owner)\n    return: b\n"
    define = f"define:\n  pick(x, owner):\n{lines_of_pick}"
    spec, _ = read(define + INPUTS + "data: {task: question_answer}\n")
    lines = spec.definitions["pick"].lines
    assert [line.text for line in lines.values()] == [
        "take(x, video_index)",
        "take(a, owner)",
    ]


def test_inputs_of_other_tasks_stay() -> None:
    spec, _ = read(INPUTS)
    assert "clip" in spec.inputs
    spec, _ = read(INPUTS + "data: {task: sst2}\n")
    assert "clip" in spec.inputs


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("train: {batch: 2, batch_size: 4}\n", "spec.yaml:1:9"),
        ("train: {batch_size: 4, batch: 2}\n", "spec.yaml:1:24"),
        (flow("beam_search(x, beams=2, num_beams=4)"), "spec.yaml:3:24"),
        (
            "modules: {m: {use: text_decoder, vocab: 2, vocab_size: 2}}\n",
            "spec.yaml:1:34",
        ),
    ],
)
def test_both_words_are_a_mistake(text: str, place: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    (problem,) = caught.value.problems
    assert str(problem.place) == place
    assert problem.message.endswith(", and both are set")
    assert problem.hint.startswith("delete '")


def test_words_that_mean_something_else_stay() -> None:
    text = (
        "train: {epochs: {steps: 5}, save_every: {steps: 3}, iteration: [{batch: a}]}\n"
        "data: {batches: {a: {batch_size: 2, keep: 1}}, sources: {a: {task: t, out: x}}}\n"
    )
    spec, messages = read(text)
    assert spec.train["save_every"] == {"steps": 3}
    assert spec.data["batches"] == {"a": {"batch_size": 2, "keep": 1}}
    assert messages == []


def test_a_module_hides_an_operation() -> None:
    spec, messages = read(
        "modules: {rank: {use: class_head}}\n" + flow("rank(x, keep=2)")
    )
    assert spec.flow["out"].text == "rank(x, keep=2)"
    assert messages == []


def test_an_operation_of_another_package_keeps_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operations = Registry("operation")
    operations.register("sample", "somewhere:sample")
    monkeypatch.setattr("registry.registries.OPERATIONS", operations)
    spec, messages = read(flow("sample(x, start=2)"))
    assert spec.flow["out"].text == "sample(x, start=2)"
    assert messages == []


def test_overrides_and_files_share_the_new_words(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {batch: 2, clip: 1.0}\n")
    (tmp_path / "top.yaml").write_text(
        "extends: base.yaml\ntrain: {batch_size: 3, clip: }\n"
    )
    with pytest.warns(RenamedWarning) as caught:
        spec = read_spec(
            tmp_path / "top.yaml", ["train.steps=7", "init={'*': 'own:a'}"]
        )
    assert (spec.train["batch_size"], spec.train["max_steps"]) == (3, 7)
    assert spec.init == {"*": "checkpoint:a"}
    messages = [str(warning.message) for warning in caught]
    assert f"{tmp_path / 'base.yaml'}:1:9: 'batch' is now 'batch_size'" in messages
    assert "command line: train.steps=7: 'steps' is now 'max_steps'" in messages


def test_positions_after_an_old_word_are_those_of_the_file() -> None:
    spec, _ = read(flow("beam_search(x, beams=2, lenght=4)"))
    (problem,) = [one for one in check(spec).problems if "lenght" in one.message]
    assert str(problem.place) == "spec.yaml:3:33"


def test_what_was_read_is_written_in_new_words() -> None:
    spec, _ = read("train: {batch: 2}\n" + flow("beam_search(x, beams=2)"))
    again, messages = read(write_spec(spec))
    assert again == spec
    assert messages == []
    assert [str(rename) for rename in spec.renames] == [
        "spec.yaml:1:9: 'batch' is now 'batch_size'",
        "spec.yaml:4:24: 'beams' is now 'num_beams'",
    ]
