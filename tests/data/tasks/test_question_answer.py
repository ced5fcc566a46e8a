"""The released annotation format, groups of questions, and batches with their index streams."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loaders import make_source

from mplug2.data.batch import FailedSample, Sample
from mplug2.data.rows import read_questions
from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.write import encode
from mplug2.data.sources.files import FileSource
from mplug2.data.tasks.question_answer import QuestionAnswerTask
from mplug2.data.text import Tokenizer
from registry import read_spec
from registry.errors import UserError
from registry.language.ports import StreamType

ROOT = Path(__file__).resolve().parents[3]
TYPES = {"video": StreamType("frames", ("V", 3, 4, 24, 24))}


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def tokenizer() -> Tokenizer:
    return Tokenizer({token: index for index, token in enumerate(vocabulary())})


def ask(
    video: object,
    question: str = "what colour is it?",
    answer: object = "red",
    **more: object,
) -> dict:
    return {"video_id": video, "question": question, "answer": answer, **more}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    for index, name in enumerate(("one", "two", "three")):
        frames = np.full((8, 32, 40, 3), 40 + 60 * index, dtype=np.uint8)
        frames[:, :, : 4 * index + 4] = 250
        encode(folder / f"{name}.mp4", frames)
    return folder


def reader(media: Path, rows: list[dict], **arguments: object) -> FileSource:
    path = write_lines(media.parent / "qa.jsonl", rows)
    return make_source(
        QuestionAnswerTask,
        path=str(path),
        media=str(media),
        types=TYPES,
        tokenizer=tokenizer(),
        **arguments,
    )  # type: ignore[arg-type]


def test_a_batch_says_what_belongs_to_what(media: Path) -> None:
    rows = [
        ask("one", "what colour is it?", "red", type="colour"),
        ask("two", "how many?", ["two", "three", "two"]),
        ask("one", "which way?", {"up": 1, "left": 3}, weight=0.5),
    ]
    data = reader(media, rows, questions_per_clip=4)
    batch = data.collate([data[0], data[1]])
    assert batch.inputs["video"].shape == (2, 3, 4, 24, 24)
    assert batch.inputs["video_index"].tolist() == [0, 0, 1]
    assert batch.inputs["question_index"].tolist() == [0, 1, 1, 2, 2]
    assert batch.inputs["answer_weight"].tolist() == pytest.approx(
        [1, 0.125, 0.375, 2 / 3, 1 / 3]
    )
    words = data.task.tokenizer
    assert [words.decode(ids) for ids in batch.inputs["answer"].ids] == [
        "red",
        "up",
        "left",
        "two",
        "three",
    ]
    assert batch.inputs["answer"].ids[0].tolist() == [
        words.cls,
        words.encode("red")[1],
        words.sep,
    ]
    assert [record["question_id"] for record in batch.records] == [0, 2, 1]
    assert batch.records[0] == {
        "question_id": 0,
        "video_id": "one",
        "question": "what colour is it?",
        "answers": ["red"],
        "type": "colour",
    }


def test_only_declared_inputs_are_made(media: Path) -> None:
    data = reader(
        media,
        [ask("one"), ask("one"), ask("two")],
        questions_per_clip=2,
        inputs={"video", "question"},
    )
    batch = data.collate([data[0], data[1]])
    assert set(batch.inputs) == {"video", "question"}
    assert batch.inputs["video"].shape[0] == 3, (
        "without an index stream every question brings its video"
    )
    assert torch.equal(batch.inputs["video"][0], batch.inputs["video"][1])


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=30,
)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    per_clip=st.integers(1, 6),
    epoch=st.integers(0, 5),
    training=st.booleans(),
)
def test_an_epoch_asks_every_question_once(
    media: Path, counts: list[int], per_clip: int, epoch: int, training: bool
) -> None:
    rows = [
        ask(f"video{index}") for index, count in enumerate(counts) for _ in range(count)
    ]
    data = reader(media, rows, questions_per_clip=per_clip, training=training)
    groups = data.requests(epoch, seed=3)
    asked = [number for group in groups for number in group.items]
    assert Counter(asked) == Counter(range(len(rows)))
    assert len(groups) == sum(-(-count // per_clip) for count in counts)
    for group in groups:
        assert len(group.items) <= per_clip
        assert {data.items[number].media for number in group.items} == {group.media}


def test_questions_are_cleaned_or_taken_as_they_are_written(media: Path) -> None:
    rows = [ask("one", "What, in the UK, is it?")]
    for text, words in (
        ("cleaned", "what in the uk is it"),
        ("as written", "What, in the UK, is it?"),
    ):
        data = reader(media, rows, question_text=text, question_words=50)
        ids = data.collate([data[0]]).inputs["question"].ids[0].tolist()
        assert ids == data.task.tokenizer.encode(words)
    cut = reader(media, rows, question_text="as written", question_tokens=3)
    assert cut.collate([cut[0]]).inputs["question"].ids.shape == (1, 3)


@pytest.mark.parametrize(
    "content",
    [
        '["red", "up"]',
        '"red"\n"up"\n',
        json.dumps(ask("v", answer=["red", "up"]))
        + "\n"
        + json.dumps(ask("w", answer={"red": 1})),
    ],
)
def test_answers_to_choose_from(media: Path, content: str) -> None:
    (media / "answers").write_text(content)
    more = {
        "answer_list": str(media / "answers"),
        "inputs": {"video", "question", "candidates"},
    }
    data = reader(media, [ask("one")], **more)
    candidates = data.collate([data[0]]).inputs["candidates"]
    assert [data.task.tokenizer.decode(ids) for ids in candidates.ids] == ["red", "up"]
    assert (candidates.ids == data.task.tokenizer.sep).sum(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('["red", 3]', r"answers: entry 2: an answer list must be .*, but holds 3"),
        ('{"video_id": "v"}', r"answers:1: .*has no 'question' and no 'answer'"),
        (None, r"the answer list .*answers must exist, but does not"),
        ("[]", "input 'candidates' needs the answers to choose from"),
    ],
)
def test_a_wrong_answer_list_is_named(
    media: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (media / "answers").write_text(content)
    with pytest.raises(UserError, match=said):
        reader(
            media,
            [ask("one")],
            answer_list=str(media / "answers"),
            inputs={"video", "candidates"},
        )


def test_released_questions_about_images_are_cut_in_training_alone() -> None:
    for name in ("vqa_mplug_base", "vqa_mplug_large", "vqa_mplug2_large"):
        data = read_spec(ROOT / "configs_image" / f"{name}.yaml").data
        assert (data["train"]["question_tokens"], data["question_text"]) == (
            25,
            "as written",
        )
        assert not any(
            "question_tokens" in part for part in (data, data["val"], data["test"])
        )


def test_training_regroups_and_evaluation_keeps_the_order(media: Path) -> None:
    rows = [ask("one") for _ in range(12)]
    training = reader(media, rows, questions_per_clip=3, training=True)
    assert training.requests(0, 0) != training.requests(1, 0)
    assert training.requests(1, 0) == training.requests(1, 0)
    assert [set(g.items) for g in training.requests(0, 0)] != [
        set(g.items) for g in training.requests(1, 0)
    ]
    fixed = reader(media, rows, questions_per_clip=3)
    assert [g.items for g in fixed.requests(5, 1)] == [
        (0, 1, 2),
        (3, 4, 5),
        (6, 7, 8),
        (9, 10, 11),
    ]


def test_keeping_decoded_files_changes_nothing(media: Path) -> None:
    rows = [ask("one"), ask("two"), ask("three")]
    plain, kept = (reader(media, rows, training=True, cache=size) for size in (0, 8))
    for group in [*plain.requests(0, 1), *plain.requests(0, 1), *plain.requests(1, 1)]:
        assert torch.equal(plain.read(group).views[0], kept.read(group).views[0])  # type: ignore[union-attr]


def test_media_suffixes(media: Path) -> None:
    data = reader(media, [ask("one"), ask("old"), ask("tumblr_x"), ask("gone"), ask(7)])
    (media / "old.avi").touch()
    (media / "tumblr_x.gif").touch()
    assert [path.name for path in data.files()] == [
        "one.mp4",
        "old.avi",
        "tumblr_x.gif",
        "gone.mp4",
        "7.mp4",
    ]


def test_a_broken_file_is_handed_on_with_its_reason(media: Path) -> None:
    (media / "bad.mp4").write_bytes(b"no video at all")
    data = reader(media, [ask("bad"), ask("one"), ask("gone")])
    broken, good, gone = (data[index] for index in range(3))
    assert isinstance(broken, FailedSample)
    assert "bad.mp4 is not a video" in broken.reason
    assert isinstance(good, Sample)
    assert isinstance(gone, FailedSample)
    assert "does not exist" in gone.reason
    batch = data.collate([data.blank(broken), good])
    assert batch.records[0]["bad"] == broken.reason
    assert "bad" not in batch.records[1]


def test_a_quarantined_file_is_left_out(media: Path) -> None:
    listed = write_lines(
        media.parent / "bad.jsonl", [{"video_id": "two", "reason": "broken"}]
    )
    data = reader(
        media,
        [ask("one"), ask("two"), ask("two"), ask("three")],
        exclude_list=str(listed),
    )
    assert [group.media[0] for group in data.requests(0, 0)] == ["one", "three"]
    assert data.requests(0, 0)[1].items == (3,), (
        "the numbers of the other questions stay"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{nonsense", "is not valid JSON"),
        ("[1, 2]", "entry 1: a line must be a JSON object"),
        ('{"video_id": "a"}', "but has no 'question' and no 'answer'"),
        (
            '{"video_id": null, "question": "q", "answer": "a"}',
            "'video_id' must be a name, but is null",
        ),
        (
            '{"video_id": "v", "question": 3, "answer": "a"}',
            "'question' must be a text, but is 3",
        ),
        (
            '{"video_id": "v", "question": "q", "answer": []}',
            "'answer' must be a text, a list of texts",
        ),
        *(
            (
                f'{{"video_id": "v", "question": "q", "answer": {{"a": 1, "b": {votes}}}}}',
                "'answer' must be a text, a list of texts or texts with votes, but is",
            )
            for votes in ("0", "-1", "NaN", "Infinity", "true", "1e309", "null")
        ),
        (
            f'{{"video_id": "v", "answer": {{"a": {"9" * 400}}}}}',
            "holds an integer of 400 digits",
        ),
        *(
            (
                f'{{"video_id": "v", "question": "q", "answer": "a", "weight": {weight}}}',
                "'weight' must be a positive number, but is",
            )
            for weight in ("0", "-1", "NaN", "true", '"1"', "Infinity")
        ),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "qa.jsonl"
    good = json.dumps(ask("v")) + "\n"
    path.write_text(line if line.startswith("[") else good + line)
    with pytest.raises(
        UserError, match="entry 1" if line.startswith("[") else r"qa\.jsonl:2: "
    ) as caught:
        read_questions(path)
    assert said in str(caught.value)


NAMES = st.text("aZ09 ._-/\u00e9\u65e5", min_size=1).filter(
    lambda name: not name.startswith("/") and ".." not in name.split("/")
)


ANSWERS = st.text(min_size=1).filter(str.strip)


@given(rows=st.lists(st.tuples(NAMES, st.text(), ANSWERS), max_size=20))
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=50,
)
def test_any_text_survives_the_format(
    tmp_path: Path, rows: list[tuple[str, str, str]]
) -> None:
    path = write_lines(tmp_path / "any.jsonl", [ask(*row) for row in rows])
    assert [(q.id, q.media, q.text, q.answers) for q in read_questions(path)] == [
        (index, (video,), question, (answer,))
        for index, (video, question, answer) in enumerate(rows)
    ]


def test_released_lists_are_read(shared: Path) -> None:
    questions = read_questions(shared / "data/annotations/msvd_qa/val_qa.json.gz")
    assert len(questions) == 6415
    assert (questions[0].id, questions[0].media, questions[0].answers) == (
        30933,
        ("1201",),
        ("someone",),
    )


def test_missing_folders_are_named_with_their_key(media: Path) -> None:
    path = write_lines(media.parent / "qa.jsonl", [ask("one")])
    with pytest.raises(
        UserError, match=r"the annotation file must exist, but nowhere does not"
    ):
        make_source(
            QuestionAnswerTask,
            path="nowhere",
            media=str(media),
            types=TYPES,
            tokenizer=tokenizer(),
        )
    with pytest.raises(
        UserError, match=r"the media folder must exist, but none does not"
    ):
        make_source(
            QuestionAnswerTask,
            path=str(path),
            media="none",
            types=TYPES,
            tokenizer=tokenizer(),
        )


def test_an_unknown_frame_count_is_refused(media: Path) -> None:
    path = write_lines(media.parent / "qa.jsonl", [ask("one")])
    types = {"video": StreamType("frames", ("V", 3, "T", 24, 24))}
    with pytest.raises(UserError, match="must have a known number of frames"):
        make_source(
            QuestionAnswerTask,
            path=str(path),
            media=str(media),
            types=types,
            tokenizer=tokenizer(),
        )
