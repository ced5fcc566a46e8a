"""Questions about images: VQA v2, mPLUG's lists, Visual Genome, GQA, and lists of answers.

Compared with those of VQA v2, which ten annotators answered, questions of Visual Genome and GQA weigh half,
as mPLUG was trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mplug2.data.formats.captions import numbered
from mplug2.data.formats.entry import Entry, Row
from mplug2.data.formats.files import entries_of, json_entries, load
from mplug2.data.rows import shown
from mplug2.metrics.vqa import normalise
from registry.errors import UserError

_HALF: Row = {"weight": 0.5}
_HALVED = ("vg", "gqa")  # `dataset` in mPLUG's lists


def vqa(questions: Path, annotations: Path | None = None) -> Iterator[Row]:
    """Yield ``{"image", "question", "answer": {text: votes}, "type", "question_id"}``; without
    ``annotations`` (test splits) there are no answers."""
    content = load(questions)
    # Images are named after the split of COCO that they are from.
    subtype = str(content.get("data_subtype", "")) if isinstance(content, dict) else ""
    answers: dict[int, Entry] = {}
    if annotations:
        for annotation in json_entries(annotations, "annotations"):
            answers[annotation.whole("question_id")] = annotation
    for entry in entries_of(content, str(questions), "questions"):
        number = entry.whole("question_id")
        row: Row = {
            "image": _image(subtype, entry.whole("image_id")),
            "question": entry.text("question"),
            "question_id": number,
        }
        if annotations:
            if number not in answers:
                raise UserError(
                    f"{entry.where}: question {number} must be in {annotations}, but is not"
                )
            row |= _answered(answers[number])
        yield row


def mplug_list(path: Path) -> Iterator[Row]:
    """Yield the questions of mPLUG's list ``{"image", "question", "answer": text | [texts], "dataset",
    "question_id"}``; the words (``ocr``) and objects (``object_label``) found in the images are left out."""
    for number, entry in enumerate(json_entries(path)):
        row: Row = {"image": entry.media("image"), "question": entry.text("question")}
        if entry.has("answer"):
            row["answer"] = dict(Counter(entry.texts("answer")))
        if entry.has("dataset") and entry.text("dataset") in _HALVED:
            row |= _HALF
        # Their lists for training have no ids.
        row["question_id"] = number
        if entry.has("question_id"):
            row["question_id"] = entry.id("question_id")
        yield row


def visual_genome(path: Path) -> Iterator[Row]:
    """Yield Visual Genome's questions: question_answers.json, a list of images with their ``qas``."""
    for image in json_entries(path):
        for entry in image.entries("qas"):
            yield {
                "image": f"{image.whole('id', 'image_id')}.jpg",
                "question": entry.text("question"),
                "answer": entry.text("answer").rstrip("."),
                "question_id": entry.whole("qa_id"),
            } | _HALF


def gqa(path: Path) -> Iterator[Row]:
    """Yield GQA's questions, a mapping of ids (test splits have no answers)."""
    content = load(path)
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: must be a mapping of question ids, but is a {type(content).__name__}"
        )
    for number, value in content.items():
        entry = Entry.of(value, f"{path}: question {shown(number)}")
        row: Row = {
            "image": f"{entry.media('imageId')}.jpg",
            "question": entry.text("question"),
        }
        answer = {"answer": entry.text("answer")} if entry.has("answer") else {}
        yield row | answer | {"question_id": number} | _HALF


def answer_list(path: Path) -> list[str]:
    """Return the answers of a JSON list, or of a mapping to labels in the order of these, without empty
    ones."""
    answers = load(path)
    if isinstance(answers, dict):
        has_labels = all(isinstance(label, int) for label in answers.values())
        if has_labels:
            answers = sorted(answers, key=answers.__getitem__)
    is_list = isinstance(answers, list)
    if not is_list or not all(isinstance(answer, str) for answer in answers):
        raise UserError(
            f"{path}: must be a list of answers, or a mapping of answers to labels"
        )
    return [answer for answer in dict.fromkeys(answers) if answer]


def frequent_answers(*annotations: Path, least: int = 9) -> list[str]:
    """Return the answers that most annotators gave to at least ``least`` questions, the most frequent first.

    With VQA v2's training and validation annotations these are the usual 3129.
    """
    counts: Counter[str] = Counter()
    for path in annotations:
        for entry in json_entries(path, "annotations"):
            counts[normalise(entry.text("multiple_choice_answer"))] += 1
    kept = [answer for answer, count in counts.items() if count >= least and answer]
    # Answers of one count in alphabetical order, so that the list is always the same.
    return sorted(kept, key=lambda answer: (-counts[answer], answer))


def _image(subtype: str, number: int) -> str:
    """COCO's images by number; test-dev is a part of test2015."""
    folder = "test2015" if subtype.startswith("test") else subtype
    return f"{folder}/COCO_{folder}_{numbered(number)}" if folder else numbered(number)


def _answered(entry: Entry) -> Row:
    votes = Counter(answer.text("answer") for answer in entry.entries("answers"))
    row: Row = {"answer": dict(votes)}
    if entry.has("answer_type"):
        row["type"] = entry.text("answer_type")
    return row
