"""Results as Python, JSON and people read them."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from mplug2.predict.result import Prediction, Result, line, printable

ANSWER = Result(
    ("clip.mp4",),
    "video",
    (Prediction("red", -0.25), Prediction("blue", -1.5)),
    "which colour?",
)
FOUND = Result(
    ("a.jpg",), "image", (Prediction("", box=(1.0, 2.0, 30.5, 40.0)),), "the ring"
)


def test_the_best_guess_speaks_for_the_result() -> None:
    assert (ANSWER.text, ANSWER.score, ANSWER.box) == ("red", -0.25, None)
    assert ANSWER.alternatives == (Prediction("blue", -1.5),)
    assert str(ANSWER) == "red (-0.250)"
    assert (
        repr(ANSWER)
        == "Result('red', score=-0.250, video='clip.mp4', question='which colour?')"
    )
    assert FOUND.box == (1.0, 2.0, 30.5, 40.0)
    assert (
        repr(FOUND)
        == "Result(box=(1.0, 2.0, 30.5, 40.0), image='a.jpg', question='the ring')"
    )


def test_json_names_the_file_by_what_it_is() -> None:
    assert json.loads(line(ANSWER)) == {
        "video": "clip.mp4",
        "question": "which colour?",
        "answers": [{"text": "red", "score": -0.25}, {"text": "blue", "score": -1.5}],
    }
    assert FOUND.row() == {
        "image": "a.jpg",
        "question": "the ring",
        "box": [1.0, 2.0, 30.5, 40.0],
    }
    pair = Result(
        ("a.jpg", "b.jpg"), "images", (Prediction("True", 0.75),), "both are red"
    )
    assert pair.row()["images"] == ["a.jpg", "b.jpg"]
    broken = Result(("a.mp4",), "video", (), error="a.mp4 is not a video")
    assert broken.row() == {"video": "a.mp4", "error": "a.mp4 is not a video"}
    assert (broken.text, broken.score, broken.box, broken.alternatives) == (
        "",
        None,
        None,
        (),
    )
    assert repr(broken) == "Result(video='a.mp4', error='a.mp4 is not a video')"


@given(st.text(st.characters(codec=None)) | st.just("\udcff.mp4"))
def test_any_file_name_is_one_line_of_json_that_can_be_written(name: str) -> None:
    said = line(Result((name,), "video", (Prediction("x", 0.0),)))
    assert "\n" not in said
    assert json.loads(said.encode())["video"] == name


@given(st.text())
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)


def test_a_name_with_control_characters_is_shown_without_them() -> None:
    assert (
        Result(("\x1b[31mred\n.mp4",), "video", ()).name
        == "\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}.mp4"
    )


def test_a_score_that_is_no_number_is_null_and_told() -> None:
    broken = Result(("a.jpg",), "image", (Prediction("red", float("nan")),))
    assert json.loads(line(broken))["answers"] == [{"text": "red", "score": None}]
    box = Result(
        ("a.jpg",), "image", (Prediction("", box=(0.0, float("inf"), 1.0, 2.0)),)
    )
    assert json.loads(line(box))["box"] == [0.0, None, 1.0, 2.0]
    assert (broken.numbers, box.numbers, FOUND.numbers) == (False, False, True)


def test_json_stays_json_on_a_terminal_with_few_letters() -> None:
    said = line(Result(("gr\u00fcn.jpg",), "image", (Prediction("x", 0.0),)), "ascii")
    assert said.isascii() and json.loads(said)["image"] == "gr\u00fcn.jpg"
