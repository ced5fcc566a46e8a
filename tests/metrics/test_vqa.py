"""VQA accuracy and its normalisation."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mplug2.eval.results import Results
from mplug2.metrics.vqa import VqaAccuracy, VqaLabelAccuracy, normalise, vqa_score


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("Two dogs.", "2 dogs"),
        ("none", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("a man and the woman", "man and woman"),
        ("dont", "don't"),
        ("don't", "don't"),
        (
            "Im",
            "im",
        ),  # the published list has it with a capital, which lower case never meets
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),  # one apostrophe may be missing, not two
        ("somebody'd", "somebodyd"),
        ("100,978", "100978"),
        ("100,978 (people)", "100978 people"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("yes/no", "yes no"),
        ("no-one", "no 1"),
        ("2:50 pm", "2:50 pm"),
        ("girl's", "girl's"),
        ("3.5", "3.5"),
        ("U.S.A.", "usa"),
        ("v. 5", "v 5"),
        ("\ttwo\nlines ", "2 lines"),
        ("", ""),
        ("the", ""),
    ],
)
def test_answers_are_normalised(said: str, compared: str) -> None:
    assert normalise(said) == compared


@pytest.mark.parametrize(
    ("agree", "worth"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1)]
)
def test_four_people_who_agree_are_enough(agree: int, worth: float) -> None:
    others = {f"other {number}": 1 for number in range(10 - agree)}
    votes = {"dog": agree, **others} if agree else others
    assert vqa_score("Dog.", votes) == pytest.approx(worth)


def test_where_all_agree_nothing_is_normalised() -> None:
    assert vqa_score(" two ", {"two": 10}) == 1
    assert vqa_score("2", {"two": 10}) == 0
    assert vqa_score("2", {"two": 9, "some": 1}) == 1


def test_shares_count_as_one_person_each() -> None:
    assert vqa_score("dog", {"dog": 0.4, "cat": 0.4}) == vqa_score(
        "dog", {"dog": 1, "cat": 1}
    )


def leave_one_out(answer: str, people: list[str]) -> float:
    """The definition, word by word: for each person the others."""
    if len(set(people)) > 1:
        answer, people = normalise(answer), [normalise(one) for one in people]
    scores = [
        min(
            1,
            sum(one == answer for place, one in enumerate(people) if place != left) / 3,
        )
        for left in range(len(people))
    ]
    return sum(scores) / len(scores)


@given(
    people=st.lists(
        st.sampled_from(["dog", "a dog", "Dog", "2", "two", "cat"]),
        min_size=10,
        max_size=10,
    )
)
def test_the_sum_equals_the_definition(people: list[str]) -> None:
    votes = {said: len(list(same)) for said, same in itertools.groupby(sorted(people))}
    for answer in ("dog", "the dog", "Two", "fox"):
        assert vqa_score(answer, votes) == pytest.approx(leave_one_out(answer, people))


@given(st.text(max_size=40))
def test_any_text_can_be_normalised(said: str) -> None:
    assert normalise(said) == " ".join(normalise(said).split())


def row(
    said: str, votes: dict[str, int], kind: str | None = None, **more: object
) -> dict[str, object]:
    """A record of an evaluation, as the reader of questions writes it."""
    counts = {"counts": list(votes.values())} if len(votes) > 1 else {}
    known = {"prediction": said, "answers": list(votes), **counts, **more}
    return known | ({"type": kind} if kind else {})


def test_the_mean_is_told_by_type_of_answer() -> None:
    rows = [
        row("yes", {"yes": 10}, "yes/no"),
        row("no", {"yes": 10}, "yes/no"),
        row("dogs", {"dogs": 2, "cats": 8}, "other"),
        row("yes", {"yes": 10}, "yes/no", bad="no such file"),
        row("guess", {}, "number"),  # a test split: nobody says whether it is right
    ]
    metric = VqaAccuracy()
    for one in rows:
        one.update(metric.score_row(one))
    assert [one.get("vqa_score") for one in rows] == [1, 0, pytest.approx(0.6), 0, None]
    found = metric.compute(rows)
    assert next(iter(found)) == "vqa_accuracy"
    assert found == pytest.approx(
        {
            "vqa_accuracy": 1.6 / 4,
            "vqa_accuracy_yes_no": 1 / 3,
            "vqa_accuracy_other": 0.6,
        }
    )
    assert math.isnan(metric.compute(rows[4:])["vqa_accuracy"])


def test_result_files_are_what_the_server_takes(tmp_path: Path) -> None:
    predictions, out = tmp_path / "p.jsonl", tmp_path / "new" / "r.json"
    rows = [
        {"image": "a.jpg", "question_id": number, "prediction": said}
        for number, said in ((7, "caf\u00e9"), (8, ""))
    ]
    predictions.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert Results().write(predictions, out) == 2
    assert json.loads(out.read_text()) == [
        {"question_id": 7, "answer": "caf\u00e9"},
        {"question_id": 8, "answer": ""},
    ]
    assert [path.name for path in out.parent.iterdir()] == ["r.json"]


def test_a_chosen_answer_is_measured_as_a_generated_one() -> None:
    row = {
        "prediction": "two",
        "answers": ["two", "three"],
        "counts": [2, 8],
        "type": "number",
    }
    generated, chosen = VqaAccuracy(), VqaLabelAccuracy()
    scored = {**row, **generated.score_row(row)}
    assert chosen.score_row(row) == generated.score_row(row)
    values = generated.compute([scored])
    assert chosen.compute([scored]) == {
        "vqa_label_accuracy": values["vqa_accuracy"],
        "vqa_label_accuracy_number": values["vqa_accuracy_number"],
    }
