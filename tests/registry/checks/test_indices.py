"""Typed indices: whose rows an index counts, solved like any axis, and what is wrong otherwise."""

from __future__ import annotations

import re

import pytest

from registry import Problem, Registries, check, parse_spec
from registry.language.ports import read_port, read_type

GOOD = """\
inputs: {video: tokens V N 8, text: tokens Q L 8, video_index: index Q -> V, question_index: index A -> Q}
flow:
  seen:     take(video, video_index)
  memory:   concat(seen, text)
  evidence: take(memory, question_index)
goals: {out: {it: evidence}}
"""


def problems(text: str, names: Registries) -> list[Problem]:
    """Return the problems of a spec."""
    return check(parse_spec(text), names).problems


def wrong(stream: str, counted: str | int, source: str, rows: str | int) -> str:
    """Return the message of an index of `take` that counts other rows than its stream has."""
    which = f"wrong index: stream '{stream}' counts rows of {counted}"
    return f"{which}, but stream '{source}' (port 'tokens' of take) has rows of {rows}"


def test_a_type_with_a_target() -> None:
    kind = read_type("index A -> Q")
    assert (kind.axes, kind.target, str(kind)) == (("A",), "Q", "index A -> Q")
    assert read_type("index A->4").target == 4
    assert read_port("index A -> _", "owner?").target == "_"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels A -> Q", "kind 'labels' counts no rows, so it cannot have '-> Q'"),
        (
            "index A ->",
            "one axis must follow '->', the one whose rows are counted (got none)",
        ),
        (
            "index A -> Q R",
            "one axis must follow '->', the one whose rows are counted (got 2)",
        ),
        ("index A -> Q-1", "an axis must be a name or a size, but is 'Q-1'"),
        ("index A -> 0", "a size must be at least 1, but is 0"),
        ("index A -> _", "'_' is an axis in ports only: give the axis a letter"),
    ],
)
def test_a_target_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_type(text)


def test_the_right_indices(names: Registries) -> None:
    assert problems(GOOD, names) == []
    types = check(parse_spec(GOOD), names).types
    assert str(types["question_index"]) == "index A -> Q"
    assert str(types["evidence"]) == "tokens A memory.N 8"


def test_an_index_into_other_rows(names: Registries) -> None:
    text = GOOD.replace("(memory, question_index)", "(video, question_index)").replace(
        "evidence}", "evidence, two: memory}"
    )
    [problem] = problems(text, names)
    assert str(problem.place) == "spec.yaml:5:25"
    assert problem.message == wrong("question_index", "Q", "video", "V")
    index_or_stream = "use an index into V ('video_index'), or fill 'tokens' by a stream with rows of Q ('text')"
    assert problem.hint == index_or_stream


def test_a_stream_that_nothing_uses_is_what_was_meant(names: Registries) -> None:
    [problem] = problems(
        GOOD.replace("(memory, question_index)", "(video, question_index)"), names
    )
    assert problem.message == wrong("question_index", "Q", "video", "V")
    assert problem.hint == "did you mean 'memory', which nothing uses?"


def test_without_a_target_the_first_use_settles_it(names: Registries) -> None:
    old = GOOD.replace(" -> V", "").replace(" -> Q", "")
    assert problems(old, names) == []
    assert str(check(parse_spec(old), names).types["video_index"]) == "index Q -> V"
    text = old.replace("goals", "  twice: take(memory, video_index)\ngoals").replace(
        "evidence}", "evidence, two: twice}"
    )
    [problem] = problems(text, names)
    assert str(problem.place) == "spec.yaml:6:23"
    assert problem.message == wrong("video_index", "V", "memory", "Q")
    assert problem.hint.endswith(
        "; if it counts rows of Q, write `video_index: index Q -> Q`"
    )


def test_a_target_that_no_input_has(names: Registries) -> None:
    [problem] = problems(GOOD.replace("-> V", "-> W"), names)
    assert str(problem.place) == "spec.yaml:1:64"
    assert (
        problem.message
        == "index 'video_index' counts rows of 'W', but no input has such an axis"
    )
    assert problem.hint == "axes of the inputs: V, N, Q, L, A"


def test_sizes_settle_targets_too(names: Registries) -> None:
    text = GOOD.replace("video: tokens V N 8", "video: tokens 4 N 8").replace(
        "-> V", "-> 4"
    )
    assert problems(text, names) == []
    [problem] = problems(text.replace("-> 4", "-> 5"), names)
    assert problem.message == wrong("video_index", 5, "video", 4)


def test_the_rows_that_a_task_counts(good: str, names: Registries) -> None:
    text = good.replace(
        "seen:     take(visual, video_index)", "seen:     take(spoken, video_index)"
    )
    assert text != good
    text = text.replace("index Q -> V", "index Q -> Q")
    messages = [problem.message for problem in check(parse_spec(text), names).problems]
    assert (
        "wrong index: task 'video_qa' supplies 'video_index' as row numbers of 'video' (V), "
        "but here it counts rows of Q"
    ) in messages


def test_rows_of_an_input_without_axes(good: str, names: Registries) -> None:
    text = good.replace("question: text Q L", "question: text")
    assert text != good
    messages = [problem.message for problem in check(parse_spec(text), names).problems]
    assert (
        "wrong axes: port 'text' of words takes text B L, but stream 'question' is text"
        in messages
    )
