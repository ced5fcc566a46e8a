"""Definitions: what a call expands to, how names are looked up, merging, and the bounds of an expansion."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import (
    Ref,
    Registries,
    Spec,
    SpecError,
    check,
    parse_spec,
    plan,
    read_spec,
    write_spec,
)
from registry.language.call_graph import DEEPEST, MOST_LINES
from registry.planner import plan_streams

CALLS = (Path(__file__).parents[1] / "parts" / "calls.yaml").read_text()


def lines(spec: Spec) -> dict[str, str]:
    """Return the expanded flow as text."""
    return {name: line.text for name, line in spec.flow.items()}


def small(define: str, flow: str, goals: str = "goals: {train: {loss: z}}") -> Spec:
    """Return a spec of three sections; its names need not exist anywhere."""
    return parse_spec(
        f"inputs: {{x: text B L}}\ndefine:\n{define}\nflow:\n{flow}\n{goals}\n"
    )


def test_a_call_becomes_the_lines_of_its_definition(names: Registries) -> None:
    spec = parse_spec(CALLS)
    assert lines(spec) == {
        "patches": "vision(video)",
        "visual": "universal(patches, route='vision')",
        "seen": "take(visual, video_index)",
        "first.fused.hidden.embeds": "words(question)",
        "first.fused.hidden.encoded": "text(first.fused.hidden.embeds)",
        "first.fused.hidden": "universal(first.fused.hidden.encoded, route='text')",
        "first.fused.both": "fusion(text=first.fused.hidden, vision=seen)",
        "first.memory": "concat(first.fused.both.vision, first.fused.both.text)",
        "first.evidence": "take(first.memory, question_index)",
        "first.logits": "decoder(answer, memory=first.evidence)",
        "first.loss": "lm_loss(first.logits, target=answer, teacher=ema(first.logits), alpha=0.4)",
        "second.fused.hidden.embeds": "words(question)",
        "second.fused.hidden.encoded": "text(second.fused.hidden.embeds)",
        "second.fused.hidden": "universal(second.fused.hidden.encoded, route='text')",
        "second.fused.both": "fusion(text=second.fused.hidden, vision=seen)",
        "second.memory": "concat(second.fused.both.vision, second.fused.both.text)",
        "second.evidence": "take(second.memory, question_index)",
        "second.logits": "other(answer, memory=second.evidence)",
        "second.loss": "lm_loss(second.logits, target=answer, teacher=ema(second.logits), alpha=0.4)",
        "guess": "beam_search(@decoder, memory=first.memory, num_beams=5)",
    }
    assert spec.goals["train"] == {
        "loss": Ref("first.loss"),
        "hidden": Ref("first.fused.both", "text"),
    }
    assert spec.goals["predict"]["hidden"] == Ref("first.fused.both", "text")
    report = check(spec, names)
    assert report.problems == []
    assert str(report.types["first.fused.both.text"]) == "tokens Q L 768"


def test_a_spec_with_definitions_is_written_and_read_back() -> None:
    spec = parse_spec(CALLS)
    text = write_spec(spec)
    assert "fuse(text, vision)" in text
    assert "train: first" in text
    again = parse_spec(text)
    assert again == spec
    assert again.definitions == spec.definitions


def test_plans_and_averages_of_dotted_streams(names: Registries) -> None:
    steps = plan(parse_spec(CALLS), "train", names=names)
    assert steps.inputs == (
        "video",
        "question",
        "video_index",
        "answer",
        "question_index",
    )
    averaged = [step.name for step in steps.steps if step.shadow]
    assert "first.logits" in averaged
    assert "first.loss" not in averaged
    assert not any(name.startswith("second.") for name in averaged)


def test_the_name_of_a_call_means_what_it_returns(names: Registries) -> None:
    spec = parse_spec(CALLS)
    steps = plan_streams(
        spec, ["first.fused", "first.hidden", "first.loss"], names=names
    )
    assert steps.outputs == {
        "first.fused": Ref("first.fused.both"),
        "first.hidden": Ref("first.fused.both", "text"),
        "first.loss": Ref("first.loss"),
    }


def test_a_parameter_hides_a_stream_and_a_line_hides_one_too() -> None:
    define = "  f(a):\n    x: g(a)\n    y: h(x, w)\n    return: y"
    spec = small(define, "  w: g(x)\n  a: g(w)\n  z: f(w)")
    assert lines(spec)["z.x"] == "g(w)"
    assert lines(spec)["z.y"] == "h(z.x, w)"


def test_a_returned_call_of_a_definition() -> None:
    define = "  f(a):\n    return: g(a)\n  h(b):\n    c: k(b)\n    return: f(c)"
    spec = small(define, "  z: h(x)\n  y: k(z)", "goals: {train: {loss: z, more: y}}")
    assert lines(spec) == {"z.c": "k(x)", "z.return": "g(z.c)", "y": "k(z.return)"}
    assert spec.goals["train"]["loss"] == Ref("z.return")


def test_averages_add_up_through_parameters() -> None:
    define = "  f(a):\n    b: g(a, ema(a), a.part)\n    return: {b: b, a: a}"
    spec = small(define, "  y: f(ema(x))\n  w: f(y.a)\n  z: k(y.b, w.a)")
    assert lines(spec)["y.b"].startswith("g(ema(x), ema(x), ema(x.part))")
    assert lines(spec)["w.b"].startswith("g(ema(x), ema(x), ema(x.part))")
    assert lines(spec)["z"] == "k(y.b, ema(x))"


def test_a_call_as_an_argument_has_its_parts() -> None:
    define = "  f(a):\n    p: g(a)\n    q: h(p)\n    return: {p: q}\n"
    define += "  k(call):\n    r: g(call.p, call.q)\n    return: r"
    spec = small(define, "  y: f(x)\n  z: k(y)")
    # The part `p` wins over the line `p`.
    assert lines(spec)["z.r"] == "g(y.q, y.q)"


def test_what_follows_a_part_with_a_field_is_read_from_the_line() -> None:
    define = "  f(a):\n    itc: g(a)\n    return: {loss: itc.loss, itc: itc.loss}"
    spec = small(define, "  y: f(x)\n  z: h(y.itc, y.itc.logits)")
    assert lines(spec)["z"] == "h(y.itc.loss, y.itc.logits)"


def test_modules_are_passed_on_and_called() -> None:
    define = "  f(a, @m):\n    b: m(a)\n    return: g(b, @m)\n  h(a, @n):\n    c: f(a, @n)\n    return: c"
    spec = small(define, "  z: h(x, n=@queue)")
    assert lines(spec) == {"z.c.b": "queue(x)", "z.c": "g(z.c.b, @queue)"}


def test_definitions_merge_like_modules(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(CALLS)
    (tmp_path / "child.yaml").write_text(
        "extends: base.yaml\n"
        "define:\n"
        "  encode: {encoded: text(hidden=embeds)}\n"
        "  write(text, @head):\n"
        "    return: {hidden: fused.vision, evidence: evidence}\n"
    )
    spec = read_spec(tmp_path / "child.yaml")
    assert (
        lines(spec)["first.fused.hidden.encoded"]
        == "text(hidden=first.fused.hidden.embeds)"
    )
    assert lines(spec)["first.fused.hidden.embeds"] == "words(question)"
    assert list(spec.goals["train"]) == ["loss", "hidden", "evidence"]
    assert spec.goals["predict"]["hidden"] == Ref("first.fused.both", "vision")


def test_a_child_may_change_the_parameters(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(CALLS)
    child = "extends: base.yaml\ndefine:\n  encode(question):\n    embeds: words(question)\n"
    (tmp_path / "child.yaml").write_text(child)
    spec = read_spec(tmp_path / "child.yaml")
    assert list(spec.definitions) == ["encode", "fuse", "write"]
    assert spec.definitions["encode"].header == "encode(question)"
    assert (
        lines(spec)["first.fused.hidden.encoded"] == "text(first.fused.hidden.embeds)"
    )


def test_overrides_reach_into_definitions(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(CALLS)
    override = "define.write.memory=concat(fused.text)"
    spec = read_spec(
        tmp_path / "base.yaml",
        [override, "define.fuse(text, vision).both=fusion(hidden, vision)"],
    )
    assert lines(spec)["second.memory"] == "concat(second.fused.both.text)"
    assert lines(spec)["second.fused.both"] == "fusion(second.fused.hidden, seen)"
    with pytest.raises(
        SpecError, match="command line: define.write.memory=concat.fused.txt."
    ) as caught:
        check(
            read_spec(tmp_path / "base.yaml", ["define.write.memory=concat(fused.txt)"])
        ).raise_if_bad()
    assert "in the call `first: write(...)` at" in str(caught.value)


def test_a_deleted_definition(tmp_path: Path, names: Registries) -> None:
    (tmp_path / "base.yaml").write_text(CALLS)
    (tmp_path / "child.yaml").write_text("extends: base.yaml\ndefine:\n  encode:\n")
    problems = check(read_spec(tmp_path / "child.yaml"), names).problems
    (message,) = [problem.message for problem in problems]
    assert message.startswith("definition 'encode' was deleted (at ")
    assert message.endswith("child.yaml:3:3), but is still used here")


def test_an_expansion_is_bounded() -> None:
    doubling = [
        f"  f{n}(a):\n    b: f{n - 1}(a)\n    return: f{n - 1}(b)" for n in range(1, 25)
    ]
    define = "\n".join(["  f0(a):\n    return: g(a)", *doubling])
    with pytest.raises(SpecError) as caught:
        small(define, "  y: g(x)\n  z: f24(y)")
    (problem,) = caught.value.problems
    assert problem.message == f"the flow expands to more than {MOST_LINES:,} lines"
    assert problem.hint == "'f24' expands to 16,777,216 lines"
    assert problem.place.text == "  z: f24(y)"


def test_the_arguments_of_an_expansion_are_bounded() -> None:
    define = f"  f(a):\n    b: g({', '.join(['a'] * 1000)})\n    return: b"
    flow = "\n".join(f"  y{n}: f(x)" for n in range(300))
    with pytest.raises(
        SpecError, match="the flow expands to more than 200,000 arguments"
    ):
        small(define, flow)


def test_the_depth_of_an_expansion_is_bounded() -> None:
    chain = [f"  f{n}(a):\n    return: f{n - 1}(a)" for n in range(1, DEEPEST + 1)]
    define = "\n".join(["  f0(a):\n    return: g(a)", *chain])
    with pytest.raises(
        SpecError, match=f"at most {DEEPEST} deep, but 'f{DEEPEST}' is deeper"
    ):
        small(define, f"  z: f{DEEPEST}(x)")
    chain.pop()
    define = "\n".join(["  f0(a):\n    return: g(a)", *chain])
    assert len(small(define, f"  z: f{DEEPEST - 1}(x)").flow) == 1


@pytest.mark.parametrize("average", ["y{}", "ema(y{})"])
def test_a_long_chain_of_calls_is_followed_once(average: str) -> None:
    count = 1000
    define = "  f(a):\n    b: g(a)\n    return: {a: a, b: b}"
    steps = [f"  y{n}: f({average.format(n + 1)})" for n in range(count)]
    steps = [line.replace(f"y{n + 1}", f"y{n + 1}.a") for n, line in enumerate(steps)]
    flow = "\n".join([*steps, f"  y{count}: f(x)", "  z: g(y0.a)"])
    spec = small(define, flow)
    assert lines(spec)["z"] == ("g(ema(x))" if "ema" in average else "g(x)")


def test_calls_that_return_each_other_are_a_circle() -> None:
    with pytest.raises(SpecError) as caught:
        small(
            "  f(a):\n    b: g(a)\n    return: {a: a, b: b}", "  y: f(z.a)\n  z: f(y.a)"
        )
    assert "leads back to itself" in caught.value.problems[0].message
