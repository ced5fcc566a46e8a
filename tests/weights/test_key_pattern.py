"""Patterns of keys: holes, shifts, constants."""

from __future__ import annotations

import pytest

from mplug2.weights.key_pattern import declared_forms, read_pattern


@pytest.mark.parametrize(
    ("pattern", "known", "key", "values"),
    [
        ("layer.{layer}.w", {}, "layer.12.w", {"layer": 12}),
        ("layer.{layer}.w", {}, "layer.x.w", None),
        ("layer.{layer}.w", {}, "layer.1.w.b", None),
        ("layer.{layer}.w", {}, "layerX1.w", None),
        ("layer.{layer-first}.w", {"first": 4}, "layer.3.w", {"layer": 7}),
        ("layer.{layer+2}.w", {}, "layer.3.w", {"layer": 1}),
        ("layer.{layer+2}.w", {}, "layer.1.w", None),
        ("layer.{last}.w", {"last": 9}, "layer.9.w", {}),
        ("layer.{last}.w", {"last": 9}, "layer.8.w", None),
        ("{module}.{rest*}", {"module": "text"}, "text.a.b", {"rest": "a.b"}),
        ("{module}.{rest*}", {"module": "text"}, "texts.a.b", None),
        ("norm.{leaf:weight|bias}", {}, "norm.bias", {"leaf": "bias"}),
        ("norm.{leaf:weight|bias}", {}, "norm.scale", None),
        ("{i}.{i}", {}, "3.3", {"i": 3}),
        ("{i}.{i}", {}, "3.4", None),
    ],
)
def test_a_key_is_matched_and_written_back(
    pattern: str, known: dict[str, object], key: str, values: dict[str, object] | None
) -> None:
    compiled = read_pattern(pattern)
    matched = compiled.bind(known).matches(key)
    assert matched == values
    if matched is not None:
        assert compiled.write({**known, **matched}) == key


def test_a_shift_below_zero_writes_nothing() -> None:
    assert read_pattern("layer.{layer-first}").write({"layer": 1, "first": 2}) is None


def test_a_hole_takes_its_form_from_the_other_side() -> None:
    forms = declared_forms("norm.{leaf:weight|bias}")
    assert forms == {"leaf": "weight|bias"}
    assert read_pattern("ln.{leaf}", forms).bind({}).matches("ln.weight") == {
        "leaf": "weight"
    }
    assert read_pattern("ln.{leaf}").bind({}).matches("ln.weight") is None


@pytest.mark.parametrize("pattern", ["", "a.{", "a.}b", "{Layer}", "{a:{b}}"])
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="must be a key with holes"):
        read_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "head", "may"),
    [
        ("a.b", "a", True),
        ("a.b", "ab", False),
        ("a{i}.b", "a1", True),
        ("{x*}.b", "zz", True),
        ("b", "b", True),
    ],
)
def test_what_cannot_match_is_known_by_the_first_word(
    pattern: str, head: str, may: bool
) -> None:
    assert read_pattern(pattern).bind({}).may_match(head) is may
