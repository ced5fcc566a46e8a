"""What is asked and said about the images of the shapes world is true, balanced, and in the vocabulary."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from mplug2.data.shapes.questions import vocabulary
from mplug2.data.shapes.statements import LABELS
from mplug2.data.shapes.stills import distinct, image_rows, pair_rows
from mplug2.data.shapes.world import COLUMNS, ROWS, Scene, still_scene
from mplug2.data.text_cleaning import clean_caption, clean_question

NUMBERS = ("one", "two", "three", "four")


def stills(number: int) -> Iterator[tuple[Scene, np.random.Generator]]:
    for index in range(number):
        rng = np.random.default_rng(index)
        yield still_scene(int(rng.integers(1, 5)), rng), rng


def test_questions_are_answered_truly() -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for scene, rng in stills(300):
        things = {thing.shape: thing for thing in scene.things} | {
            thing.colour: thing for thing in scene.things
        }
        for row in image_rows("a.png", scene, 48, rng)["vqa"]:
            words, answer, kind = (
                clean_question(row["question"], 30).split(),
                row["answer"],
                row["type"],
            )
            answers[kind][answer] += 1
            about = next((things[word] for word in words if word in things), None)
            if kind == "number":
                assert NUMBERS.index(answer) + 1 == len(scene.things)
            elif kind == "yes/no":
                colour, shape = words[-2:]
                assert (answer == "yes") == any(
                    thing.name == f"{colour} {shape}" for thing in scene.things
                )
            elif kind == "position":
                assert about is not None
                row_, column = about.cells[0]  # type: ignore[misc]
                assert answer == (ROWS[row_] if "row" in words else COLUMNS[column])
            else:
                assert about is not None
                assert answer == getattr(about, kind)
    assert set(answers) == {"number", "yes/no", "position", "colour", "shape"}
    for kind, counts in answers.items():
        assert counts.most_common(1)[0][1] / counts.total() < (
            0.6 if kind == "yes/no" else 0.4
        ), kind


def test_statements_hold_contradict_or_speak_of_what_is_not_shown() -> None:
    told: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for scene, rng in stills(600):
        seen = {thing.shape: thing.colour for thing in scene.things}
        rows = {thing.colour: ROWS[thing.cells[0][0]] for thing in scene.things}  # type: ignore[index]
        found = image_rows("a.png", scene, 48, rng)["image_entailment"]
        assert Counter(row["label"] for row in found) == dict.fromkeys(LABELS, 2)
        for row in found:
            words = row["sentence"].split()
            about, value = words[1], words[-1] if row["type"] == "colour" else words[-2]
            known = seen if row["type"] == "colour" else rows
            assert (row["label"] == "unknown") == (about not in known)
            assert (row["label"] == "yes") == (known.get(about) == value)
            told[row["label"]][value] += 1
    for value in ROWS:  # the words alone tell nothing
        counts = [told[label][value] for label in LABELS]
        assert max(counts) < 1.5 * min(counts)


def test_phrases_name_one_thing_each() -> None:
    for scene, rng in stills(100):
        found = image_rows("a.png", scene, 48, rng)
        assert len(found["phrases"]) == len(scene.things)
        for row in found["phrases"]:
            words = set(row["phrase"].split()[1:]) - {"shape", "thing"}
            named = [
                thing
                for thing in found["images"][0]["things"]
                if words <= {thing["colour"], thing["shape"]}
            ]
            assert [thing["box"] for thing in named] == [row["box"]]


def test_pairs_have_eight_sentences_about_even() -> None:
    labels: Counter[str] = Counter()
    scenes = list(stills(200))
    for (left, rng), (right, _) in zip(scenes[::2], scenes[1::2], strict=True):
        rows = pair_rows(("a.png", "b.png"), (left, right), rng)
        assert len({row["sentence"] for row in rows}) == 8
        labels.update(row["label"] for row in rows)
    assert set(labels) == {"True", "False"}
    assert 0.35 < labels["True"] / labels.total() < 0.65


def test_retrieval_has_no_two_captioned_alike() -> None:
    rows = [
        image_rows(f"{n}.png", scene, 48, rng)["retrieval"][0]
        for n, (scene, rng) in enumerate(stills(300))
    ]
    found = distinct(rows, 100)
    assert len(found) == 100
    shown = [frozenset(row["captions"][0].split(" and ")) for row in found]
    assert len(set(shown)) == 100


def test_all_words_are_known() -> None:
    known = set(vocabulary())
    for scene, rng in stills(100):
        found = image_rows("a.png", scene, 48, rng)
        texts = [text for row in found["retrieval"] for text in row["captions"]]
        texts += [row["phrase"] for row in found["phrases"]]
        texts += [row["sentence"] for row in found["image_entailment"]]
        texts += [
            text for row in found["vqa"] for text in (row["question"], row["answer"])
        ]
        for text in texts:
            assert set(clean_caption(text, 80).split()) <= known, text
