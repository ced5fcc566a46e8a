"""Annotations of the images of the shapes world: questions, phrases, statements, pairs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mplug2.data.shapes.questions import (
    captions,
    pair_sentence,
    place,
    questions_on_still,
)
from mplug2.data.shapes.render import box
from mplug2.data.shapes.statements import still_statements
from mplug2.data.shapes.world import Scene

FILES = (
    "images",
    "vqa",
    "phrases",
    "image_entailment",
    "retrieval",
    "image_classes",
    "image_labels",
)

SENTENCES = 8  # about each pair

Row = dict[str, Any]


def image_rows(
    image: str, scene: Scene, size: int, rng: np.random.Generator
) -> dict[str, list[Row]]:
    """Return the annotation lines of one image by file name."""
    sentences = captions(scene)
    shapes = sorted(thing.shape for thing in scene.things)
    things: list[Row] = []
    for thing in scene.things:
        sides = list(box(thing, size, 0) or ())
        row = {"colour": thing.colour, "shape": thing.shape}
        things.append({**row, "place": place(thing), "box": sides})
    # The files draw from one generator, in this order.
    questions: list[Row] = []
    for kind, question, answer in questions_on_still(scene, rng):
        row = {"image": image, "question": question, "answer": answer, "type": kind}
        questions.append(row)
    phrases: list[Row] = []
    for entry in things:
        row = {"image": image, "phrase": _phrase(entry, rng), "box": entry["box"]}
        phrases.append(row)
    statements: list[Row] = []
    for kind, sentence, label in still_statements(scene, rng):
        row = {"image": image, "sentence": sentence, "label": label, "type": kind}
        statements.append(row)
    # Images of one shape have its name as their class; all images have the names of their shapes.
    classes: list[Row] = []
    if len(shapes) == 1:
        classes.append({"image": image, "label": shapes[0]})
    return {
        "images": [{"image": image, "captions": sentences, "things": things}],
        "retrieval": [{"image": image, "captions": sentences[:2]}],
        "vqa": questions,
        "phrases": phrases,
        "image_entailment": statements,
        "image_classes": classes,
        "image_labels": [{"image": image, "label": shapes}],
    }


def pair_rows(
    names: tuple[str, str], scenes: tuple[Scene, Scene], rng: np.random.Generator
) -> list[Row]:
    """Return the lines of eight different sentences about two images, as NLVR2 writes them."""
    truths: dict[str, bool] = {}
    while len(truths) < SENTENCES:
        sentence, true = pair_sentence(*scenes, rng)
        truths[sentence] = true
    rows: list[Row] = []
    for sentence, true in truths.items():
        rows.append({"images": list(names), "sentence": sentence, "label": str(true)})
    return rows


def distinct(rows: list[Row], number: int) -> list[Row]:
    """Return the first ``number`` of some captioned lines of which no two have the same captions: those
    that a caption can find."""
    by_caption: dict[str, Row] = {}
    for row in rows:
        # The same words in another order show the same things.
        words = sorted(row["captions"][0].split())
        by_caption.setdefault(" ".join(words), row)
    return list(by_caption.values())[:number]


def _phrase(thing: Row, rng: np.random.Generator) -> str:
    """A name of one thing; colours and shapes are all different within an image."""
    forms = (
        "the {colour} {shape}",
        "the {shape}",
        "the {colour} shape",
        "the {colour} thing",
    )
    return forms[int(rng.integers(len(forms)))].format(**thing)
