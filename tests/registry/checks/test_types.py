"""Kinds and sizes over a whole flow: what is solved, and what the hints offer."""

from __future__ import annotations

import pytest

from registry import Problem, Registries, Report, check, parse_spec

WORDS = "words: {use: text_embedding, width: 8}"


def report(
    names: Registries,
    inputs: str,
    modules: str,
    flow: list[str],
    goal: str,
    more: str = "",
) -> Report:
    """Check a spec with one goal, whose output is `goal`."""
    lines = "".join(f"  {line}\n" for line in flow)
    head = f"inputs: {{{inputs}}}\nmodules: {{{modules}}}\n"
    return check(
        parse_spec(f"{head}flow:\n{lines}goals: {{out: {{it: {goal}}}}}\n{more}"), names
    )


def only(found: Report) -> Problem:
    assert len(found.problems) == 1, "\n".join(map(str, found.problems))
    return found.problems[0]


def test_sizes_go_up_and_down(names: Registries) -> None:
    found = report(
        names,
        "a: tokens B N width, b: tokens B M width",
        "body: {use: text_encoder, width: 16}",
        ["joined: concat(a, b)", "read: body(joined)"],
        "read",
    )
    assert str(found.raise_if_bad().types["joined"]) == "tokens B joined.N 16"
    assert str(found.types["a"]) == "tokens B N 16"
    assert str(found.types["b"]) == "tokens B M 16"


@pytest.mark.parametrize("width", ["W", "224"])
def test_two_letters_may_have_one_size(names: Registries, width: str) -> None:
    found = report(
        names,
        f"video: frames B 3 T H {width}",
        "see: {use: video_vit, width: 8}",
        ["seen: see(video)"],
        "seen",
    )
    assert str(found.raise_if_bad().types["video"]) == "frames B 3 8 224 224"


@pytest.mark.parametrize("turn", [1, -1])
def test_the_order_of_lines_means_nothing_to_letters_that_meet(
    names: Registries, turn: int
) -> None:
    inputs = "x: tokens B N D, y: tokens B M E, z: tokens B K F"
    flow = [
        "both: concat(x, y)",
        "more: concat(y, z)",
        "read: body(z)",
        "all: concat(both, more, read)",
    ]
    found = report(
        names, inputs, "body: {use: text_encoder, width: 96}", flow[::turn], "all"
    )
    assert str(found.raise_if_bad().types["x"]) == "tokens B N 96"


@pytest.mark.parametrize("turn", [1, -1])
def test_letters_that_turn_out_to_have_two_sizes(names: Registries, turn: int) -> None:
    inputs, widths = "x: tokens B N D, y: tokens B M E", ("16", "8")
    modules = ", ".join(f"body{w}: {{use: text_encoder, width: {w}}}" for w in widths)
    flow = ["both: concat(x, y)", "a: body16(x)", "b: body8(y)"]
    found = report(names, inputs, modules, flow[::turn], "both, a: a, b: b")
    assert only(found).message.startswith("width mismatch: port '")


def test_two_letters_are_two_axes(names: Registries) -> None:
    flow = ["joined: concat(a, b)"]
    problem = only(
        report(names, "a: tokens B N 8, b: tokens C M 8", "", flow, "joined")
    )
    assert problem.message == (
        "axis mismatch: port 'parts' of concat must have axis B, as port 'parts' has (stream 'a'), "
        "but stream 'b' has C there"
    )
    assert problem.hint.startswith(
        "where each B has its row of 'b', add the input `row: index B -> C`"
    )
    assert str(problem.place) == "spec.yaml:4:21"


def test_an_index_that_leads_from_one_axis_to_the_other_is_named(
    names: Registries,
) -> None:
    inputs = "a: tokens A N 8, b: tokens B M 8, question_index: index A -> B, c: tokens B M 8"
    flow = [
        "joined: concat(a, b)",
        "other: take(c, question_index)",
        "all: concat(joined, other)",
    ]
    problem = only(report(names, inputs, "", flow, "all"))
    assert (
        problem.hint
        == "add `b_taken: take(b, question_index)`, and write `parts=b_taken` in the call of concat"
    )


def test_what_turns_one_kind_into_another_is_named(names: Registries) -> None:
    body = "body: {use: text_encoder, width: 8}"
    flow = ["read: body(q)", "also: words(q)", "all: concat(read, also)"]
    problem = only(report(names, "q: text B L", f"{body}, {WORDS}", flow, "all"))
    assert problem.hint == "add `q_words: words(q)` and use it here"
    problem = only(report(names, "q: text B L", body, ["read: body(q)"], "read"))
    assert problem.hint == "what makes tokens of text: text_embedding"


def test_a_number_of_axes(names: Registries) -> None:
    problem = only(report(names, "q: text B L M", WORDS, ["said: words(q)"], "said"))
    assert (
        problem.message
        == "wrong axes: port 'text' of words takes text B L, but stream 'q' is text B L M"
    )


def test_two_settings_that_clash_in_many_calls_are_one_mistake(
    names: Registries,
) -> None:
    body = "body: {use: text_encoder, width: 16}"
    flow = ["said: words(q)", "a: body(said)", "b: body(said)", "all: concat(a, b)"]
    problem = only(report(names, "q: text B L", f"{body}, {WORDS}", flow, "all"))
    assert problem.place.line == 5


def test_vocabularies_through_a_chain(names: Registries) -> None:
    found = report(
        names,
        "q: text B L",
        (
            f"{WORDS}, small: {{use: text_decoder, vocab_size: 100, width: 8}}, big: {{use: text_decoder, "
            f"width: 8}}"
        ),
        [
            "said: words(q)",
            "logits: small(q, memory=said)",
            "wiser: big(q, memory=said)",
            "loss: lm_loss(logits, target=q, teacher=wiser, alpha=0.5)",
        ],
        "loss",
    )
    assert only(found).message == (
        "vocab mismatch: port 'teacher' of lm_loss must be vocab 100 (set at spec.yaml:2:90), "
        "but stream 'wiser' has 30522 there (the default of 'text_decoder')"
    )


def test_circles_are_all_found_and_nothing_that_follows_from_them(
    names: Registries,
) -> None:
    flow = [
        "a: concat(b)",
        "b: concat(a, q)",
        "c: concat(c)",
        "d: concat(a, c)",
        "e: concat(q, w)",
    ]
    found = report(names, "q: tokens B L 8, w: tokens B L 4", "", flow, "d")
    assert [problem.message for problem in found.problems] == [
        "the flow has a cycle: a <- b <- a",
        "the flow has a cycle: c <- c",
        "width mismatch: port 'parts' of concat must be width 8 (set at spec.yaml:1:13), "
        "but stream 'w' has 4 there (set at spec.yaml:1:30)",
    ]


def test_only_the_last_of_a_chain_is_unused(names: Registries) -> None:
    flow = ["a: concat(q)", "b: concat(a)", "c: concat(b)", "out: concat(q)"]
    problem = only(report(names, "q: tokens B L 8", "", flow, "out"))
    assert problem.message == "stream 'c' is computed and never used"
    assert problem.hint.endswith("delete the line, and b, a, which only it needs")


def test_what_the_reader_supplies(names: Registries) -> None:
    data = "data: {kind: video_qa, path: a, media: b}\n"
    flow = ["said: words(questions)"]
    problem = only(report(names, "questions: text B L", WORDS, flow, "said", data))
    assert (
        problem.message
        == "task 'video_qa' (set at spec.yaml:6:14) supplies no 'questions'"
    )
    assert str(problem.place) == "spec.yaml:1:10"
    problem = only(
        report(
            names,
            "question: tokens B L 8",
            "",
            ["said: concat(question)"],
            "said",
            data,
        )
    )
    assert problem.message == (
        "wrong kind: task 'video_qa' supplies 'question' as text Q L, but the input is tokens B L 8"
    )
    assert problem.hint == "`question: text Q L`"


def test_a_missing_stage_suppresses_the_next(names: Registries) -> None:
    found = report(
        names, "q: text B L, unused: text B L", WORDS, ["said: wrods(q)"], "said"
    )
    assert found.stage == 2
    assert only(found).message == "unknown module or operation 'wrods'"
    assert not found.types
