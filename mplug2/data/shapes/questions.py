"""Questions and captions about a scene, in a closed vocabulary."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mplug2.data.shapes.world import (
    COLOURS,
    COLUMNS,
    DIRECTIONS,
    NUMBERS,
    POSITIONS,
    ROWS,
    SHAPES,
    Cell,
    Scene,
    Thing,
)

Question = tuple[str, str, str]  # type, question, answer

_WORDS = """
a all and another appear appears are as at both by clip colour column come comes does exactly find first go
goes has have how image images in is it kind last left look many more move moved moves moving no none
nothing of on one only or order other picture pictures resting rests right row same second see shape shapes
show shows still than that the then there thing things third this to two video way what where which while
who yes
"""


def vocabulary() -> list[str]:
    """Return the word pieces, numbered as in BERT: pad 0, unk 100, cls 101, sep 102, mask 103."""
    parts = {part for position in POSITIONS.values() for part in position.split()}
    words = {
        *_WORDS.split(),
        *parts,
        *COLOURS,
        *SHAPES,
        *DIRECTIONS,
        *NUMBERS,
        *(f"{shape}s" for shape in SHAPES),
    }
    unused = [f"[unused{index}]" for index in range(99)]
    return ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]


def questions(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Return 4 to 6 questions about a clip; types ``motion_...`` need the order of its frames."""
    asked = list(_motion(scene))
    if scene.kind == "drift":
        mover, *resting = scene.things
        asked.append(
            ("number", "how many shapes are there?", NUMBERS[len(scene.things) - 1])
        )
        asked.append(_either(mover, rng))
        if resting:
            asked.append(_position(resting[int(rng.integers(len(resting)))], rng))
    else:
        first, second = rng.permutation(len(scene.things))[:2]
        asked += [
            _either(scene.things[first], rng),
            _position(scene.things[second], rng),
        ]
    return asked


def questions_on_still(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Return 5 questions about an image: how many, what colour, what shape, where, and whether there is
    one."""
    # Drawn before the questions are made, each of which draws its words.
    first, second, third = (
        scene.things[int(rng.integers(len(scene.things)))] for _ in range(3)
    )
    return [
        ("number", "how many shapes are there?", NUMBERS[len(scene.things) - 1]),
        _colour(first),
        _shape(second),
        _position(third, rng),
        _existence(scene, rng),
    ]


def _existence(scene: Scene, rng: np.random.Generator) -> Question:
    """Whether a shape of a colour is there; a wrong one has the shape or the colour of another."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    if rng.random() < 0.5:
        return "yes/no", f"is there a {thing.name}?", "yes"
    if rng.random() < 0.5:
        colour = str(rng.choice([other for other in COLOURS if other != thing.colour]))
        return "yes/no", f"is there a {colour} {thing.shape}?", "no"
    shape = str(rng.choice([other for other in SHAPES if other != thing.shape]))
    return "yes/no", f"is there a {thing.colour} {shape}?", "no"


def _motion(scene: Scene) -> Iterator[Question]:
    if scene.direction is not None:
        mover = scene.things[0]
        yield (
            "motion_direction",
            f"which way does the {mover.shape} move?",
            scene.direction,
        )
        yield (
            "motion_direction",
            f"which way does the {mover.colour} shape move?",
            scene.direction,
        )
    else:
        for word, thing in (("first", scene.things[0]), ("last", scene.things[-1])):
            yield "motion_order", f"which colour comes {word}?", thing.colour
            yield "motion_order", f"which shape comes {word}?", thing.shape


def _either(thing: Thing, rng: np.random.Generator) -> Question:
    return _colour(thing) if rng.random() < 0.5 else _shape(thing)


def _colour(thing: Thing) -> Question:
    return "colour", f"what colour is the {thing.shape}?", thing.colour


def _shape(thing: Thing) -> Question:
    return "shape", f"what shape is the {thing.colour} thing?", thing.shape


def _position(thing: Thing, rng: np.random.Generator) -> Question:
    row, column = _cell(thing)
    name = thing.shape if rng.random() < 0.5 else f"{thing.colour} shape"
    if rng.random() < 0.5:
        return "position", f"in which row is the {name}?", ROWS[row]
    return "position", f"in which column is the {name}?", COLUMNS[column]


def _cell(thing: Thing) -> Cell:
    return next(cell for cell in thing.cells if cell is not None)


def place(thing: Thing) -> str:
    """Return where a resting thing is, in words."""
    return POSITIONS[_cell(thing)]


def _with_preposition(position: str) -> str:
    """Return a position as a sentence has it: at the top left, on the right, in the middle."""
    if position == "middle":
        return "in the middle"
    preposition = "at" if position.startswith(("top", "bottom")) else "on"
    return f"{preposition} the {position}"


def captions(scene: Scene) -> list[str]:
    """Return three sentences, each true of the scene."""
    names = [thing.name for thing in scene.things]
    if scene.kind == "turns":
        return [
            f"a {names[0]} then a {names[1]} then a {names[2]}",
            f"first comes a {names[0]} then a {names[1]} and last a {names[2]}",
            f"the {scene.things[0].shape} comes first and the {scene.things[2].shape} comes last",
        ]
    if scene.kind == "still":
        named = [f"a {name}" for name in names]
        placed = [
            f"a {thing.name} {_with_preposition(place(thing))}"
            for thing in scene.things
        ]
        counted = f"there are {NUMBERS[len(names) - 1]} shapes"
        if len(names) == 1:
            counted = f"there is one shape and it is {names[0]}"
        return [" and ".join(named), " and ".join(placed), counted]
    moves = f"a {names[0]} moves {scene.direction}"
    if len(names) == 1:
        return [
            moves,
            f"the {names[0]} moves {scene.direction}",
            f"there is one shape and it moves {scene.direction}",
        ]
    others = " and ".join(f"a {name}" for name in names[1:])
    rests = "rests" if len(names) == 2 else "are resting"
    return [
        f"{moves} while {others} {rests}",
        f"{moves} and a {names[1]} rests {_with_preposition(place(scene.things[1]))}",
        f"there are {NUMBERS[len(names) - 1]} shapes and the {scene.things[0].shape} moves {scene.direction}",
    ]


def pair_sentence(
    left: Scene, right: Scene, rng: np.random.Generator
) -> tuple[str, bool]:
    """Return a sentence about two images and whether it is true, each in about half of the cases."""
    kind = rng.random()
    if kind < 0.2:
        has_more = len(left.things) > len(right.things)
        return "the left image has more shapes than the right image", has_more
    shapes = [{thing.shape for thing in scene.things} for scene in (left, right)]
    if kind < 0.6:
        number = int(rng.integers(2))
        side, shapes_there = ("left", "right")[number], shapes[number]
        true = rng.random() < 0.5
        choices = shapes_there if true else set(SHAPES) - shapes_there
        # Sorted, since the order of a set differs from process to process.
        shape = str(rng.choice(sorted(choices)))
        return f"the {side} image shows a {shape}", true
    both, either = shapes[0] & shapes[1], shapes[0] ^ shapes[1]
    common = rng.random() < 0.5
    true_shapes, false_shapes = (both, either) if common else (either, both)
    # Either set may be empty: then the sentence is what the other one makes it.
    is_true = (rng.random() < 0.5 and bool(true_shapes)) or not false_shapes
    shape = str(rng.choice(sorted(true_shapes if is_true else false_shapes)))
    sentence = f"exactly one image shows a {shape}"
    if common:
        sentence = f"both images show a {shape}"
    return sentence, shape in true_shapes
