"""What a goal's outputs say: texts that repeat, classes without names, boxes turned back into pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.streams import Sequences
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.tasks.grounding import Letterbox
from mplug2.data.text import Tokenizer
from mplug2.predict.answers import guesses
from mplug2.predict.predict_loader import Read
from mplug2.predict.result import Look, Prediction

WORDS = Tokenizer({token: index for index, token in enumerate(vocabulary())})
READ = Read(("a.png",), (Look(200, 100),))


def test_a_text_counts_once_with_its_best_score_and_ends_at_the_separator() -> None:
    red, blue = WORDS.encode("red"), WORDS.encode("blue")
    ids = torch.tensor(
        [[[*red, WORDS.sep], [*blue, WORDS.sep], [*red, WORDS.pad], [*red, *blue[1:]]]]
    )
    found = guesses(
        "sequences",
        Sequences(ids, torch.tensor([[-1.0, -2.0, -3.0, -4.0]])),
        [],
        [],
        WORDS.decode,
        3,
    )
    assert found == [
        (
            Prediction("red", -1.0),
            Prediction("blue", -2.0),
            Prediction("red blue", -4.0),
        )
    ]


def test_classes_that_the_reader_does_not_name_are_numbers() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    (named,) = guesses(
        "logits",
        logits,
        [{"classes": ["no", "yes", "unknown"]}],
        [READ],
        WORDS.decode,
        2,
    )
    (numbered,) = guesses("logits", logits, [{}], [READ], WORDS.decode, 5)
    assert [guess.text for guess in named] == ["yes", "unknown"]
    assert [guess.text for guess in numbered] == ["1", "2", "0"]


def test_boxes_fit_the_file_and_have_their_corners_in_order() -> None:
    boxes = torch.tensor([[0.75, -0.5, 0.25, 2.0]])
    ((whole,),) = guesses("boxes", boxes, [{}], [READ], WORDS.decode, 5)
    assert whole.box == (50.0, 0.0, 150.0, 100.0)


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.booleans(),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_a_box_comes_back_from_the_square_where_it_was(
    width: int, height: int, mirrored: bool, parts: list[float]
) -> None:
    longest = max(width, height)
    frame = Letterbox(
        1 / longest, (1 - width / longest) / 2, (1 - height / longest) / 2, mirrored
    )
    (x1, x2), (y1, y2) = sorted(parts[:2]), sorted(parts[2:])
    box = [x1 * width, y1 * height, x2 * width, y2 * height]
    assert frame.pixels(frame.place(box)) == pytest.approx(box, abs=1e-6 * longest)
