"""Arguments that a spec leaves out: what settles them, and what is wrong if nothing does."""

from __future__ import annotations

import pytest

from registry import (
    Problem,
    Registries,
    Spec,
    SpecError,
    check,
    complete,
    parse_spec,
    write_spec,
)

CHAIN = """\
inputs: {words: text B L, regions: tokens B R 24}
modules:
  embed: {use: text_embedding, width: 16}
  body:  {use: text_encoder, depth: 2}
  small: {use: project}
  merge: {use: fusion, width: 16}
flow:
  spoken: embed(words)
  read:   body(spoken)
  narrow: small(regions)
  both:   merge(text=read, vision=narrow)
goals: {out: {text: both.text, vision: both.vision}}
"""


def problems(text: str, names: Registries) -> list[Problem]:
    return check(parse_spec(text), names).problems


def test_widths_follow_from_the_wiring_in_both_directions(names: Registries) -> None:
    spec = complete(parse_spec(CHAIN), names)
    assert spec.modules["body"].arguments == {"depth": 2, "width": 16}
    assert spec.modules["small"].arguments == {"width_in": 24, "width": 16}
    assert spec.inferred["small.width_in"] == "set at spec.yaml:1:36"
    assert spec.inferred["small.width"] == "set at spec.yaml:6:31"
    assert set(spec.inferred) == {"body.width", "small.width_in", "small.width"}


def test_the_order_of_lines_means_nothing(names: Registries) -> None:
    head, _, tail = CHAIN.partition("flow:\n")
    lines, goals = tail.split("goals:")
    turned = "\n".join(reversed(lines.strip("\n").split("\n")))
    spec = complete(parse_spec(f"{head}flow:\n{turned}\ngoals:{goals}"), names)
    assert spec.modules["small"].arguments == {"width_in": 24, "width": 16}


def test_the_resolved_spec_has_the_values(names: Registries) -> None:
    text = write_spec(complete(parse_spec(CHAIN), names))
    assert text.startswith("# body.width follows: set at spec.yaml:6:31\n")
    again: Spec = parse_spec(text)
    assert again.modules["small"].arguments == {"width_in": 24, "width": 16}
    assert complete(again, names).inferred == {}


def test_what_nothing_settles(names: Registries) -> None:
    [problem] = problems(
        CHAIN.replace("regions: tokens B R 24", "regions: tokens B R D"), names
    )
    assert str(problem.place) == "spec.yaml:5:3"
    assert (
        problem.message
        == "module 'small' (project) must set 'width_in', since nothing else settles it"
    )
    assert problem.hint == "add `width_in: ...` (int)"


def test_two_settings_that_clash_through_an_open_argument(names: Registries) -> None:
    [problem] = problems(
        CHAIN.replace("use: fusion, width: 16", "use: fusion, width: 32"), names
    )
    assert problem.message == (
        "width mismatch: port 'text' of merge must be width 32 (set at spec.yaml:6:31), "
        "but stream 'read' has 16 there (set at spec.yaml:3:39)"
    )


def test_one_open_argument_is_the_same_in_all_calls(names: Registries) -> None:
    text = CHAIN.replace(
        "narrow: small(regions)", "narrow: small(regions)\n  wide: body(regions)"
    )
    text = text.replace("vision: both.vision", "vision: both.vision, wide: wide")
    first = problems(text, names)[0]
    assert first.message == (
        "width mismatch: port 'tokens' of body must be width 24 (set at spec.yaml:1:36), "
        "but stream 'spoken' has 16 there (set at spec.yaml:3:39)"
    )


def test_an_argument_that_no_axis_names_must_be_set(names: Registries) -> None:
    text = CHAIN.replace("modules:\n", "modules:\n  rare: {use: pool}\n")
    text = text.replace(
        "spoken: embed(words)", "first: embed(words)\n  spoken: rare(first)"
    )
    [problem] = problems(text, names)
    assert problem.message == "module 'rare' (pool) must set 'stride', but does not"
    assert problem.hint == "add `stride: ...` (int)"


LABELLED = """\
inputs: {x: tokens B N 8, label: labels B}
modules: {head: {use: head}}
flow:
  logits: head(x)
  loss: cross_entropy(logits, target=label)
goals: {train: {loss: loss}, predict: {label: logits}}
data: {kind: labelled, labels: [no, yes, perhaps], train: {path: a}}
"""


def test_classes_follow_from_the_labels_of_the_data(names: Registries) -> None:
    spec = complete(parse_spec(LABELLED), names)
    assert spec.modules["head"].arguments == {"width": 8, "classes": 3}
    assert spec.inferred["head.classes"] == "set at spec.yaml:7:32"


@pytest.mark.parametrize(
    ("labels", "count"),
    [("{'0': no, '1': yes}", 2), ("{a: no, b: no, c: yes}", 2), ("[a, b, c, d]", 4)],
)
def test_classes_of_a_mapping_are_its_values(
    labels: str, count: int, names: Registries
) -> None:
    spec = complete(parse_spec(LABELLED.replace("[no, yes, perhaps]", labels)), names)
    assert spec.modules["head"].arguments["classes"] == count


@pytest.mark.parametrize(
    "data",
    [
        "labels: [no, yes, perhaps], ",
        "data: {kind: labelled, labels: [no, yes, perhaps], train: {path: a}}\n",
    ],
)
def test_classes_stay_open_without_data(data: str, names: Registries) -> None:
    text = LABELLED.replace(data, "")
    report = check(parse_spec(text), names)
    assert report.good
    [note] = report.notes
    assert str(note.place) == "spec.yaml:2:11"
    assert (
        note.message
        == "'classes' of module 'head' (head) is open: no data names the classes"
    )
    assert note.hint == "add `classes: ...`, or `data: {labels: [...]}`"
    with pytest.raises(SpecError, match="is open: no data names the classes"):
        complete(parse_spec(text), names)


def test_classes_that_nothing_is_compared_with(names: Registries) -> None:
    text = LABELLED.replace(
        "  loss: cross_entropy(logits, target=label)\n", ""
    ).replace(", label: labels B", "")
    text = text.replace(
        "train: {loss: loss}, predict: {label: logits}", "predict: {classes: logits}"
    )
    [problem] = problems(text.partition("data:")[0], names)
    assert (
        problem.message
        == "module 'head' (head) must set 'classes', since nothing else settles it"
    )


def test_classes_that_are_set_stay(names: Registries) -> None:
    spec = complete(
        parse_spec(LABELLED.replace("use: head", "use: head, classes: 5")), names
    )
    assert spec.modules["head"].arguments["classes"] == 5
