"""Flow lines: what they may hold, and where a complaint points."""

from __future__ import annotations

import pytest

from registry import Equation, Literal, ModuleRef, Ref, SpecError, read_equation
from registry.yaml.parse import parse
from registry.yaml.tree import Node, Source


def line(text: str) -> Node:
    """Return the node of stream `x` in a flow."""
    return parse(Source("x.yaml", text)).value["x"]


def test_all_that_a_line_may_hold() -> None:
    text = "x: f(a, both.vision, @decoder, n=-3, k=1e-5, s='a@b', t=ema(b.c), on=true, l=[1, 'b'], u=(), z=none)"
    found = read_equation("x", line(text.replace("x: ", 'x: "', 1) + '"'))
    assert found == Equation(
        "x",
        "f",
        (Ref("a"), Ref("both", "vision"), ModuleRef("decoder")),
        {
            "n": Literal(-3),
            "k": Literal(1e-5),
            "s": Literal("a@b"),
            "t": Ref("b", "c", ema=True),
            "on": Literal(True),
            "l": Literal([1, "b"]),
            "u": Literal([]),
            "z": Literal(None),
        },
    )
    assert [str(ref) for ref in found.refs()] == ["a", "both.vision", "ema(b.c)"]
    assert [str(module) for module in found.modules()] == ["@decoder"]


WRONG = [
    ("f", "f", "'x' must be one call"),
    ("f(a) + g(b)", "f", "'x' must be one call"),
    ("m.f(a)", "m", "what is called must be the name of a module or an operation"),
    ("f(a, g(b))", "g", "calls are never nested, except for ema(stream)"),
    ("f(a, ema(b, c))", "ema", "ema(...) must hold one stream"),
    ("f(a, ema(g(c)))", "ema", "ema(...) must hold one stream"),
    ("f(a, 3)", "3", "a value must be given by keyword, but 3 is not"),
    (
        "f(a, *b)",
        "*",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    ("f(a, **b)", "b", "a line has no `**`: write each keyword out"),
    ("f(a, k=1, k=2)", "k=2", "'k' is given twice"),
    ("f(a, k=none.c)", "none", "a stream must be a name, or names joined by dots"),
    ("f(a, from=b)", "from", "'from' is a Python keyword, so no flow line can use it"),
    (
        "f(a, lambda, s='from')",
        "lambda",
        "'lambda' is a Python keyword, so no flow line can use it",
    ),
    ("f('from', b c)", "b c", "not a call that can be read: invalid syntax"),
    (
        "f(a, k=b + 1)",
        "b",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    (
        "f(a, k=lambda:1)",
        "lambda",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    (
        "f(a, k=[b])",
        "b]",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    (
        "f(a, k=-'b')",
        "-",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    (
        "f(a, k=1j)",
        "1j",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    (
        "f(a, k=...)",
        "...",
        "an argument must be a stream, @module, ema(stream) or a plain value",
    ),
    ("f(a, @b.c)", "@", "'@' must precede the name of a module"),
    ("f(a, ~b)", "~", "'~' means nothing here"),
    ("f(a, 'b)", "'", "not a call that can be read: unterminated string literal"),
    (
        "f(a b)",
        "a b",
        "not a call that can be read: invalid syntax. Perhaps you forgot a comma?",
    ),
]


@pytest.mark.parametrize(("text", "token", "message"), WRONG)
def test_complaint_points_at_the_token(
    text: str, token: str | None, message: str
) -> None:
    quoted = text.replace("'", "''")
    for begin, written, end in (
        ("x: ", text, ""),
        ("x:   '", quoted, "'"),
        ("x: >-\n    ", text, ""),
    ):
        with pytest.raises(SpecError) as caught:
            read_equation("x", line(begin + written + end))
        problem = caught.value.problems[0]
        assert problem.message.startswith(message)
        if token:
            assert problem.place.text[problem.place.column - 1 :].startswith(token)


def test_places_in_folded_quoted_and_non_ascii_lines() -> None:
    found = read_equation("x", line("y: 1\nx: >-\n  f(a,\n    été='né',\n    b=c)\n"))
    places = [str(one.place) for one in found.arguments()]
    assert places == ["x.yaml:3:5", "x.yaml:4:9", "x.yaml:5:7"]
    assert {key: str(place) for key, place in found.keys.items()} == {
        "été": "x.yaml:4:5",
        "b": "x.yaml:5:5",
    }
    found = read_equation("x", line("x: f(a,\n    b=c)\n"))
    assert str(found.keywords["b"].place) == "x.yaml:2:7"
    found = read_equation("x", line("x: 'f(a, s=''it'', b=c)'\n"))
    assert str(found.keywords["b"].place) == "x.yaml:1:22"


def test_not_a_line_at_all() -> None:
    for text in (
        "x: 3",
        "x: [f(a)]",
        "x: {f: a}",
        "x: ''",
        f"x: f({'a, ' * 3000})",
        f"x: {'(' * 900}",
    ):
        with pytest.raises(SpecError) as caught:
            read_equation("x", line(text))
        assert caught.value.problems[0].place.line == 1
