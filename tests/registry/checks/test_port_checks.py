"""Alternatives, optional outputs and parts that a call names, in a spec: what fits, and what is wrong."""

from __future__ import annotations

import pytest

from registry import Registries, SpecError, check, parse_spec, plan

GOOD = """\
inputs: {video: frames B 3 T H W, image: image I 3 H W, words: text B L, regions: tokens B R 8}
modules:
  see:  {use: backbone, width: 8, early: 3}
  text: {use: text_embedding, width: 8}
flow:
  visual: see(video)
  still:  see(image)
  spoken: text(words)
  joint:  concat(visual, spoken, regions)
  cut:    split(joint, media=visual, text=words, regions=regions)
  other:  concat(cut.text, visual.early)
goals: {out: {it: other, cut: cut.regions, still: still.early}}
"""

MISTAKES = [
    (
        "see(image)",
        "see(«words)",
        "wrong kind: port 'media' of see takes frames B 3 T size size | image B 3 size size, "
        "but stream 'words' is text B L",
        None,
    ),
    (
        "image I 3 H W",
        "image I 3 H W D",
        "wrong axes: port 'media' of see takes frames B 3 T size size | image B 3 size size, "
        "but stream 'image' is image I 3 48 48 D",
        None,
    ),
    (
        "still.early",
        "«still.late",
        "output 'late' of see needs 'late', which is not set, but 'still.late' is used",
        "set it in the call: `still: see(..., late=...)`",
    ),
    (
        ", early: 3",
        "",
        "output 'early' of see needs 'early', which is not set, but 'visual.early' is used",
        "set it where the module is built: `see: {..., early: ...}`",
    ),
    (
        "see(video)",
        "see(video, «requested=3)",
        "unknown port or option 'requested' of see",
        "ports and options of see: media, late",
    ),
    (
        "cut.regions",
        "«cut.region",
        "unknown stream 'cut.region'",
        "did you mean 'cut.regions'?",
    ),
    (
        "text=words",
        "text=words, text=spoken",
        "'text' is given twice",
        None,
    ),
    (
        "text=words",
        "text=«words.ids",
        "input 'words' has no fields, but 'words.ids' is used",
        None,
    ),
    (
        "split(joint, media=visual, text=words, regions=regions)",
        "split(joint, «visual, text=words, regions=regions)",
        "split takes 1 streams (tokens), but is given 2",
        "name each part: `NAME=visual`",
    ),
    (
        "regions=regions)",
        "regions=«video)",
        "wrong kind: port 'regions' of split takes tokens B length.regions _ | text B length.regions, "
        "but stream 'video' is frames B 3 T 48 48",
        None,
    ),
    (
        "split(joint, media",
        "split(joint, scale=«visual, media",
        "option 'scale' of split takes a value, but visual is a stream",
        None,
    ),
]


def problems(text: str, names: Registries) -> list[tuple[str, str, str]]:
    """Return position, message and hint of each problem."""
    try:
        found = check(parse_spec(text), names).problems
    except SpecError as error:
        found = error.problems
    return [(str(problem.place), problem.message, problem.hint) for problem in found]


def test_nothing_is_wrong(names: Registries) -> None:
    assert problems(GOOD, names) == []
    types = check(parse_spec(GOOD), names).types
    assert str(types["image"]) == "image I 3 48 48"
    assert str(types["cut.text"]) == "tokens B L 8"
    assert str(types["cut.regions"]) == "tokens B R 8"
    assert str(types["cut.media"]) == "tokens B visual.N 8"
    assert str(types["visual.early"]) == str(types["visual"]) == "tokens B visual.N 8"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"), MISTAKES, ids=[new for _, new, _, _ in MISTAKES]
)
def test_a_mistake(
    old: str, new: str, message: str | None, hint: str | None, names: Registries
) -> None:
    assert GOOD.count(old) == 1
    marked = GOOD.replace(old, new)
    line = marked[: marked.find("«") + 1].count("\n") + 1
    column = marked.find("«") - marked.rfind("\n", 0, marked.find("«"))
    place, shown, suggestion = problems(marked.replace("«", ""), names)[0]
    if message is not None:
        assert shown == message
    if "«" in marked:
        assert place == f"spec.yaml:{line}:{column}"
    if hint is not None:
        assert suggestion == hint


def test_a_call_without_parts(names: Registries) -> None:
    text = GOOD.replace(
        "split(joint, media=visual, text=words, regions=regions)", "split(joint)"
    )
    [(_, message, hint), *_] = [
        one for one in problems(text, names) if "named part" in one[1]
    ]
    assert message == "split must be called with at least one named part, but has none"
    assert hint == "add `NAME=stream` (tokens B length _ | text B length)"


def test_steps_know_what_is_requested_of_them(names: Registries) -> None:
    steps = {
        step.name: step.requested
        for step in plan(parse_spec(GOOD), "out", (), names).steps
    }
    assert steps["visual"] == {"early"}
    assert steps["still"] == {"early"}
    assert steps["cut"] == {"text", "regions"}
    assert steps["joint"] == frozenset()
