"""The sections of a spec: what has the wrong form is located and named, all of it at once."""

from __future__ import annotations

import pytest

from registry import SpecError, parse_spec

FORMS = [
    ("[]", "a spec must be a mapping of sections"),
    ("inputs: 3", "'inputs' must be a mapping, but is 3"),
    ("inputs: {a: [b]}", "input 'a' must be a kind with axes, but is a list"),
    ("inputs: {a: frame B}", "input 'a': unknown kind 'frame'"),
    ("inputs: {a: scalar B}", "input 'a': kind 'scalar' has no axes, but has 'B'"),
    ("inputs: {a: text B _}", "input 'a': '_' is an axis in ports only"),
    ("inputs: {a: module}", "input 'a': 'module' is a kind of ports only"),
    ("inputs: {a b: text B L}", "a name in 'inputs' must be one word, but is 'a b'"),
    ("modules: {a: video_vit}", "module 'a' must be a mapping, but is 'video_vit'"),
    ("modules: {a: {width: 3}}", "module 'a' must name what to `use`"),
    (
        "modules: {a: {use: [x]}}",
        "module 'a' must name what to `use`, but a list is there",
    ),
    (
        "modules: {a: }",
        "'modules.a' is empty, which deletes, but nothing set it before",
    ),
    ("flow: {a: 'f(b, g(c))'}", "calls are never nested, except for ema(stream)"),
    ("flow: {a: f(b, c)}", "not a call that can be read: '(' was never closed"),
    (
        "goals: {train: loss}",
        "goal 'train' must be a mapping of outputs, or a call that returns parts, but is 'loss'",
    ),
    ("goals: {train: {loss: f(x)}}", "an output must be a stream, but is 'f(x)'"),
    (
        "goals: {train: {'a b': loss}}",
        "an output of goal 'train' must be one word, but is 'a b'",
    ),
    ("freeze: vision", "'freeze' must be a list of patterns, but is 'vision'"),
    ("freeze: [{a: b}]", "'freeze' must be a list of patterns"),
    ("init: {a: 3}", "'init.a' must be text, but is 3"),
    ("train: [1]", "'train' must be a mapping, but is a list"),
    ("extends: base.yaml", "a text cannot extend a file"),
]


@pytest.mark.parametrize(("text", "message"), FORMS)
def test_wrong_form(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].message.startswith(message)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("text B 0", "`text B L`"),
        ("txt B L", "did you mean 'text B L'?"),
        ("x", "kinds: boxes"),
    ],
)
def test_a_wrong_input_is_hinted_at_by_what_is_wrong(kind: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(f"inputs: {{a: {kind}}}")
    assert caught.value.problems[0].hint[: len(hint)] == hint


def test_all_wrong_forms_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(
            "inputs: {a: frame B}\nmodules: {b: {}}\nflow: {c: d}\ninit: {e: 3}\n"
        )
    assert [problem.place.line for problem in caught.value.problems] == [1, 2, 3, 4]
