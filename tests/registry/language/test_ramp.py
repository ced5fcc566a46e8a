"""Ramps in flow lines: their values, their form, and what is refused at which column."""

from __future__ import annotations

import pytest

from registry import Registries, SpecError, check, parse_spec, shadowed_modules
from registry.language.line_reader import read_equation
from registry.language.ramp import Ramp, ramps_in, value_at
from registry.yaml.parse import parse
from registry.yaml.tree import Source


def equation(text: str) -> object:
    node = parse(Source("a.yaml", f"loss: f(a, alpha={text})\n")).value["loss"]
    return read_equation("loss", node).keywords["alpha"].value


def test_a_ramp_is_linear_and_stays_at_its_end() -> None:
    ramp = equation("ramp(0, 0.4, steps=1000)")
    assert ramp == Ramp(0, 0.4, "steps", 1000)
    assert repr(ramp) == "ramp(0, 0.4, steps=1000)"
    positions = [
        {"steps": steps, "samples": 0, "epochs": 0.0} for steps in (0, 250, 1000, 5000)
    ]
    assert [ramp.at(position) for position in positions] == pytest.approx(
        [0.0, 0.1, 0.4, 0.4]
    )
    assert ramp.at(None) == 0.4
    falling = equation("ramp(1, -1, epochs=0.5)")
    assert falling.at({"epochs": 0.125}) == 0.5


def test_ramps_inside_a_list() -> None:
    value = equation("[ramp(0, 1, samples=64), 2]")
    assert value_at(value, {"samples": 16}) == [0.25, 2]
    assert list(ramps_in(value, "weights")) == [
        ("weights.0", Ramp(0, 1, "samples", 64))
    ]


@pytest.mark.parametrize(
    ("text", "column", "message", "hint"),
    [
        (
            "ramp(0.4, steps=10)",
            18,
            "takes its first and its last number (got 1)",
            "`alpha=ramp(0, 0.4",
        ),
        ("ramp(0, a, steps=10)", 26, "an argument must be a stream", ""),
        (
            "ramp(0, 'x', steps=10)",
            26,
            "takes its first and its last number (got 'x')",
            "`alpha=ramp",
        ),
        (
            "ramp(0, true, steps=10)",
            26,
            "takes its first and its last number (got True)",
            "`alpha=ramp",
        ),
        (
            "ramp(0, 1)",
            18,
            "takes one length: steps, samples or epochs (got none)",
            "`alpha=ramp",
        ),
        (
            "ramp(0, 1, steps=9, epochs=1)",
            38,
            "takes one length: steps, samples or epochs (got steps, e",
            "",
        ),
        (
            "ramp(0, 1, step=9)",
            29,
            "a ramp has no length 'step'",
            "did you mean 'steps'?",
        ),
        (
            "ramp(0, 1, steps=-3)",
            35,
            "the length of a ramp must be positive (got -3)",
            "`alpha=ramp",
        ),
        (
            "ramp(0, 1, steps=0)",
            35,
            "the length of a ramp must be positive (got 0)",
            "`alpha=ramp",
        ),
        (
            "ramp(0, 1, steps=2.5)",
            35,
            "in steps must be an integer (got 2.5)",
            "`steps=2`",
        ),
        (
            "rammp(0, 1, steps=2)",
            18,
            "calls are never nested, except for ema(stream)",
            "",
        ),
    ],
)
def test_wrong_ramps_are_located(
    text: str, column: int, message: str, hint: str
) -> None:
    with pytest.raises(SpecError) as caught:
        equation(text)
    (problem,) = caught.value.problems
    assert (problem.place.line, problem.place.column) == (1, column)
    assert message in problem.message
    assert hint in problem.hint


def test_a_ramp_needs_a_number_option(good: str, names: Registries) -> None:
    text = good.replace("num_beams=5", "num_beams=ramp(1, 5, steps=9)")
    problem, *_ = check(parse_spec(text), names).problems
    assert (
        problem.message
        == "option 'num_beams' of beam_search must be int, but is ramp(1, 5, steps=9)"
    )
    assert problem.place.line == 30
    assert (
        problem.hint
        == "only an option that takes any number, such as a weight, can be a ramp"
    )


@pytest.mark.parametrize(
    ("alpha", "needed"), [("0", False), ("0.4", True), ("ramp(0, 0.4, steps=9)", True)]
)
def test_a_ramp_counts_as_on_in_off_rules(
    alpha: str, needed: bool, good: str, names: Registries
) -> None:
    spec = parse_spec(good.replace("alpha=0.4", f"alpha={alpha}"))
    assert bool(shadowed_modules(spec, names)) is needed
