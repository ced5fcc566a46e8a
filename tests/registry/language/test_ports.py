"""Ports as declarations write them: alternatives, marks of names, and what cannot be read."""

from __future__ import annotations

import re
from typing import Any

import pytest

from registry import Declaration, UserError
from registry.language.ports import followed_axes, read_port, read_ports, read_type


def test_kinds_of_one_type() -> None:
    port = read_port("text|tokens B L")
    assert port.kinds == ("text", "tokens")
    assert port.alternatives == (port,)
    assert port.fitting("tokens", 2) == port
    assert port.fitting("tokens", 3) is None


def test_alternatives_of_whole_types() -> None:
    port = read_port("frames B 3 T H W | image B 3 H W", "media?")
    assert (port.optional, port.kinds) == (True, ("frames", "image"))
    assert str(port) == "frames B 3 T H W | image B 3 H W"
    image = port.fitting("image", 4)
    assert image is not None
    assert image.axes == ("B", 3, "H", "W")
    assert port.fitting("image", 5) is None
    assert list(port.names) == ["B", 3, "T", "H", "W", "B", 3, "H", "W"]


def test_marks_of_names() -> None:
    ports = read_ports({"a": "scalar", "b?": "scalar", "*c": "scalar", "**d": "scalar"})
    marks = {
        name: (port.optional, port.variadic, port.named_by_call)
        for name, port in ports.items()
    }
    assert marks == {
        "a": (False, False, False),
        "b": (True, False, False),
        "c": (False, True, False),
        "d": (False, False, True),
    }


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"a": "frames B 3 T H W | sound B"}, "unknown kind 'sound'"),
        ({"a": "tokens B L width |"}, "an axis must be a name or a size, but is '|'"),
        (
            {"a": "scalar", "a?": "scalar"},
            "a port must be declared once, but 'a' is declared twice",
        ),
        ({"**a": "scalar", "**b": "scalar"}, "at most one port may begin with '**'"),
        ({"***a": "scalar"}, "a port must be named by a word, but is named '***a'"),
    ],
)
def test_ports_that_cannot_be_read(declared: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        read_ports(declared)


def test_a_stream_has_one_type() -> None:
    with pytest.raises(
        ValueError,
        match=r"^a stream must have one type, but has 'text B L \| labels B'$",
    ):
        read_type("text B L | labels B")


def test_an_axis_that_follows_from_an_input() -> None:
    assert followed_axes(
        read_ports({"kept": "vector M@mask width", "all": "vector B width"})
    ) == {"M@mask": "mask"}
    with pytest.raises(
        ValueError,
        match="^'@' is allowed in the axes of outputs only, but is in 'M@mask'$",
    ):
        read_type("vector M@mask 8")


class Follows:
    inputs: Any = {"mask": "mask B L"}
    outputs = "vector M@msk width"

    def forward(self) -> None: ...


class Turned(Follows):
    inputs = {"mask": "mask B L@mask"}


def test_an_axis_that_follows_from_nothing() -> None:
    with pytest.raises(
        UserError, match=r"axis 'M@msk' must name an input after '@' \(inputs: mask\)"
    ):
        Declaration.of(Follows)
    with pytest.raises(UserError, match="'@' is allowed in the axes of outputs only"):
        Declaration.of(Turned)


class Plain:
    outputs: Any = {"": "scalar", "more?": "scalar"}

    def forward(self) -> None: ...


class Must(Plain):
    outputs = {"": "scalar", "more": "scalar"}

    def forward(self, *, requested: frozenset[str] = frozenset()) -> None: ...


class Either(Must):
    outputs = {"": "scalar | scores B"}


class Fits(Must):
    outputs = {"": "scalar", "more?": "scalar"}


def test_optional_outputs_come_on_request() -> None:
    declaration = Declaration.of(Fits)
    assert declaration.requests
    assert declaration.nameless
    assert declaration.options == {}  # a spec does not set `requested`
    with pytest.raises(UserError, match="add the keyword-only parameter `requested"):
        Declaration.of(Plain)
    with pytest.raises(
        UserError, match=r"next to a nameless output, 'more' must be optional: 'more\?'"
    ):
        Declaration.of(Must)
    with pytest.raises(
        UserError, match="an output must have one type, but '' has 'scalar . scores B'"
    ):
        Declaration.of(Either)
