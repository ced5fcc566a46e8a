"""JSON of data files: what would break later is refused at its line, in words."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mplug2.data.files import read_text
from mplug2.data.formats.files import json_entries
from mplug2.data.json_text import DIGITS, LONGEST_TEXT, JsonError, parse_json
from mplug2.data.rows import read_questions, read_rows
from mplug2.data.tasks.question_answer import _answers
from registry import UserError

BROKEN = [
    (
        '{"question": "caf\\ud83d?"}',
        r"holds half a character \(\\ud83d without its other half\)",
    ),
    ('{"a": {"\\udc00": 1}}', r"holds half a character \(\\udc00 "),
    ("[" * 100_000, "is nested too deeply"),
    ('{"id": ' + "7" * 6000 + "}", r"holds an integer of 6000 digits \(at most 18\)"),
    ('{"id": -' + "1" * 19 + "}", "holds an integer of 19 digits"),
    (
        '{"text": "' + "a" * (LONGEST_TEXT + 1) + '"}',
        "holds a text of 100001 characters",
    ),
    ('{"a": }', r"is not valid JSON \(Expecting value"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_what_would_break_later_is_refused_at_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(JsonError, match=f"^{message}"):
        parse_json(text)
    file = tmp_path / "lines.jsonl"
    file.write_text(f"{{}}\n{text}\n")
    with pytest.raises(UserError, match=f"{file}:2: a line, but {message}"):
        list(read_rows(file, "a line"))
    with pytest.raises(UserError, match=f"{file}:2: .*{message}"):
        list(json_entries(file))


@pytest.mark.parametrize(
    "value", ["caf\u00e9 \U0001f600", "\u202eright to left", "a" * LONGEST_TEXT]
)
def test_other_texts_and_numbers_stay(value: str) -> None:
    for is_ascii in (True, False):
        text = json.dumps(
            {"a": [value, 10**DIGITS - 1, -1.5e300]}, ensure_ascii=is_ascii
        )
        assert parse_json(text) == {"a": [value, 10**DIGITS - 1, -1.5e300]}


@pytest.mark.skipif(
    not hasattr(os, "mkfifo"), reason="this system has no pipes with names"
)
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for path in (tmp_path / "a.json", Path("/dev/zero")):
        with pytest.raises(
            UserError, match="must be a regular file, but is a pipe or a device"
        ):
            read_text(path)


def question(**entries: object) -> str:
    return json.dumps(
        {"image": "a.png", "question": "what?", "answer": "red", **entries}
    )


@pytest.mark.parametrize("answer", ["", " \t", ["", " "], {"": 3}])
def test_an_empty_answer_is_refused_at_its_line(tmp_path: Path, answer: object) -> None:
    file = tmp_path / "qa.jsonl"
    file.write_text(f"{question()}\n{question(answer=answer)}\n")
    with pytest.raises(
        UserError, match=f"{file}:2: 'answer' must be a text, but is empty"
    ):
        read_questions(file)


def test_an_empty_answer_among_others_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "qa.jsonl"
    file.write_text(question(answer=["red", "", "red", "blue"]))
    (read,) = read_questions(file)
    assert (read.answers, read.counts) == (("red", "blue"), (2, 1))


def test_an_empty_answer_to_choose_from_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('["red", ""]')
    with pytest.raises(
        UserError, match="entry 2: an answer to choose from must have words"
    ):
        _answers(str(file))


def test_a_backslash_in_a_name_gets_the_other_slash(tmp_path: Path) -> None:
    file = tmp_path / "qa.jsonl"
    file.write_text(question(image="sub\\a.png"))
    with pytest.raises(
        UserError, match=r"qa\.jsonl:1: .*must be written with / instead of \\"
    ):
        read_questions(file)


def test_half_characters_are_accepted_where_a_network_wrote_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "predictions.jsonl"
    file.write_text('{"prediction": "a \\ud800"}\n')
    assert list(read_rows(file, "a line", half_characters=True)) == [
        (f"{file}:1", {"prediction": "a \ud800"})
    ]
