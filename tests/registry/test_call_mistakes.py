"""Every mistake with definitions is reported alone, in the definition, with the calls that lead there."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry import Registries, SpecError, check, parse_spec, read_spec

CALLS = (Path(__file__).parent / "parts" / "calls.yaml").read_text()
FUSE = """\
  fuse(text, vision):
    hidden: encode(text)
    both: fusion(text=hidden, vision=vision)
"""

# What is replaced, by what ("«" marks the place of the problem), the message, the hint, and the call.
MISTAKES = [
    # calls
    (
        "second:  write(text=question, head=@other)",
        "second:  write(text=question, «haed=@other)",
        "unknown parameter 'haed' of 'write'",
        "did you mean 'head'?",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   write(question, @decoder, «seen)",
        "write(text, @head) takes 2 arguments, but is given 3",
        "",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   «write(question)",
        "parameter '@head' of 'write' must be filled, but is not",
        "write it as in write(text, @head)",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   write(question, «decoder)",
        "parameter 'head' of 'write' takes a module, written with @, but decoder is a stream",
        "`@decoder`",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   write(«@question, @decoder)",
        "parameter 'text' of 'write' takes a stream, but @question is a module",
        "call it in a separate line, or write `@text` in the parameters of 'write'",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   write(question, @decoder, «text=question)",
        "parameter 'text' of 'write' is filled twice",
        "",
        "",
    ),
    (
        "first:   write(question, @decoder)",
        "first:   write(head=@decoder, text=«3)",
        "parameter 'text' of 'write' takes a stream, but 3 is a value",
        "write the value in the definition",
        "",
    ),
    (
        "write(question, @decoder)",
        "write(«qestion, @decoder)",
        "unknown stream 'qestion'",
        "did you mean 'question'?",
        "",
    ),
    (
        "write(question, @decoder)",
        "write(question, «@decodr)",
        "unknown module 'decodr'",
        "did you mean 'decoder'?",
        "",
    ),
    (
        "hidden: first.hidden",
        "hidden: «first.hiden",
        "the call 'first' of 'write' has no part 'hiden'",
        "parts: first.loss, first.hidden; lines: fused, memory, evidence, logits, loss",
        "",
    ),
    (
        "hidden: first.hidden",
        "hidden: «first",
        "'first' returns several parts: name one",
        "one of first.loss, first.hidden",
        "",
    ),
    (
        "hidden: first.hidden",
        "hidden: «first.fused.both.text.ids",
        "a stream has at most one field, but 'first.fused.both.text.ids' names a field of a field",
        "`first.fused.both.text`",
        "",
    ),
    (
        "hidden: first.hidden",
        "hidden: «first.fused.txt",
        "unknown stream 'first.fused.both.txt'",
        "did you mean 'first.fused.both.text'?",
        "",
    ),
    (
        "hidden: first.hidden",
        "hidden: «first.fused.hidden.txt",
        "'first.fused.hidden' is one stream without fields, but 'first.fused.hidden.txt' is used",
        "write `first.fused.hidden`, or one of its lines: "
        "first.fused.hidden.embeds, first.fused.hidden.encoded",
        "",
    ),
    (
        "train:   first",
        "train:   «frst",
        "goal 'train' must be a mapping of outputs, or a call that returns parts, but is 'frst'",
        "did you mean 'first'?",
        "",
    ),
    (
        "train:   first",
        "train:   «seen",
        "goal 'train' must be a mapping of outputs, or a call that returns parts, but is 'seen'",
        "`train: {loss: seen}`",
        "",
    ),
    # definitions
    (
        "  encode(text):",
        "  «encode:",
        "the key of a definition must be a name with parameters, but is 'encode'",
        "`encode(stream, @module):`, or `()` if it has no parameters",
        "",
    ),
    (
        "  encode(text):",
        "  «encode(text, te xt):",
        "a parameter of 'encode' must be a name or @name, but is 'te xt'",
        "`encode(stream, @module):`",
        "",
    ),
    (
        "  encode(text):",
        "  «encode(text, @text):",
        "parameter 'text' of 'encode' is listed twice",
        "",
        "",
    ),
    (
        "  encode(text):",
        "  «encode(class):",
        "'class' is a Python keyword, so no flow line can use it",
        "choose another name",
        "",
    ),
    (
        "    embeds: words(text)",
        "    «lambda: words(text)",
        "'lambda' is a Python keyword, so no flow line can use it",
        "choose another name",
        "",
    ),
    (
        "    embeds: words(text)\n",
        "    embeds: words(text)\n    «text: words(text)\n",
        "'text' is a parameter of definition 'encode' already",
        "give the line another name",
        "",
    ),
    (
        FUSE + "    return: both\n",
        FUSE.replace("fuse(", "«fuse("),
        "definition 'fuse' must have the line `return`",
        "`return: STREAM`, `return: CALL` or `return: {PART: STREAM}`",
        "",
    ),
    (
        "return: both",
        "return: «bth",
        "definition 'fuse' has no line 'bth' to return",
        "did you mean 'both'?",
        "",
    ),
    (
        "return: both",
        "return: «seen",
        "definition 'fuse' has no line 'seen' to return",
        "lines: hidden, both",
        "",
    ),
    (
        "{loss: loss, hidden: fused.text}",
        "{loss: loss, hidden: «head}",
        "'head' is a module parameter of 'write', not a stream",
        "pass it on as `@head`, or call it: `head(...)`",
        "",
    ),
    (
        "    hidden: encode(text)\n",
        "    hidden: «fuse(text, vision)\n",
        "definition 'fuse' calls itself: fuse -> fuse",
        "a definition is expanded: end the cycle",
        "",
    ),
    (
        "  encode(text):\n",
        "  «words(text): {a: concat(text), return: a}\n  encode(text):\n",
        "'words' is a module (set at spec.yaml:11:3) and a definition",
        "give the definition another name",
        "",
    ),
    (
        "define:\n",
        "define:\n  «split(text): {a: words(text), return: a}\n",
        "'split' is an operation and a definition",
        "give the definition another name",
        "",
    ),
    (
        "define:\n",
        "define:\n  «twice(text): {a: words(text), return: a}\n",
        "definition 'twice' is never called",
        "call it in `flow`, or delete the line",
        "",
    ),
    (
        "    evidence: take(memory, question_index)\n",
        "    evidence: take(memory, question_index)\n    spare: «concat(memory)\n",
        "line 'spare' of definition 'write' is computed and never used",
        "use it, return it, or delete the line",
        "",
    ),
    (
        "concat(fused.vision, fused.text)",
        "concat(fused.vision, «fusd.text)",
        "unknown stream 'fusd'",
        "did you mean 'fused'?",
        "in the call `first: write(...)` at spec.yaml:39:12",
    ),
    (
        "memory: concat(fused.vision",
        "memory: «concta(fused.vision",
        "unknown module or operation 'concta'",
        "did you mean 'concat'?",
        "in the call `first: write(...)` at spec.yaml:39:12",
    ),
    (
        "alpha=0.4",
        "alpha=«'x'",
        "option 'alpha' of lm_loss must be float, but is 'x'",
        "",
        "in the call `first: write(...)` at spec.yaml:39:12",
    ),
    (
        "    both: fusion(text=hidden, vision=vision)",
        "    both: fusion(text=«zzz, vision=vision)",
        "unknown stream 'zzz'",
        "streams: text, vision, hidden, both, patches, visual, seen, first, second, guess, "
        "video, question, video_index, answer, question_index",
        "in the call `first.fused: fuse(...)` at spec.yaml:28:12",
    ),
]


@pytest.mark.parametrize(("old", "new", "message", "hint", "call"), MISTAKES)
def test_mistake(
    names: Registries, old: str, new: str, message: str, hint: str, call: str
) -> None:
    assert CALLS.count(old) == 1
    marked = CALLS.replace(old, new)
    before = marked[: marked.index("«")]
    place = (
        f"spec.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    )
    try:
        problems = check(parse_spec(marked.replace("«", "")), names).problems
    except SpecError as error:
        problems = error.problems
    assert [str(problem.place) for problem in problems] == [place]
    assert problems[0].message.startswith(message)
    assert problems[0].hint == hint
    calls = [
        line.strip()
        for line in str(problems[0]).splitlines()
        if line.startswith("    in the call")
    ]
    assert calls[:1] == ([call] if call else [])


def test_nested_calls_are_all_named(names: Registries) -> None:
    text = CALLS.replace("encoded: text(embeds)", "encoded: text(embed)")
    (problem,) = check(parse_spec(text), names).problems
    assert str(problem).splitlines() == [
        "spec.yaml:21:19: unknown stream 'embed'",
        "      21 |     encoded: text(embed)",
        "         |                   ^",
        "    in the call `first.fused.hidden: encode(...)` at spec.yaml:24:13",
        "    in the call `first.fused: fuse(...)` at spec.yaml:28:12",
        "    in the call `first: write(...)` at spec.yaml:39:12",
        "    hint: did you mean 'embeds'?",
    ]


def test_a_misfit_in_two_calls_with_two_modules(names: Registries) -> None:
    text = CALLS.replace("head(answer, memory=evidence)", "head(answer, memory=memory)")
    problems = check(parse_spec(text), names).problems
    # That `evidence` is not read any more only follows.
    assert [str(problem.place) for problem in problems] == [
        "spec.yaml:31:33",
        "spec.yaml:31:33",
    ]
    assert problems[0].message.startswith(
        "axis mismatch: port 'memory' of decoder must have axis A"
    )
    hint = (
        "add `memory_taken: take(memory, question_index)`, and write `memory=memory_taken` in "
        "the call of decoder"
    )
    assert problems[0].hint == hint
    assert problems[1].message.startswith(
        "axis mismatch: port 'memory' of other must have axis A"
    )


def test_a_line_may_not_hide_an_output_of_what_is_returned(names: Registries) -> None:
    text = CALLS.replace(
        "    both: fusion(text=hidden, vision=vision)", "    vision: vision(video)"
    ).replace("fuse(text, vision):", "fuse(text, other):")
    text = text.replace("return: both", "return: fusion(text=hidden, vision=other)")
    text = text.replace("vision=seen)", "other=seen)")
    problem = check(parse_spec(text), names).problems[0]
    assert problem.message == (
        "line 'vision' of definition 'fuse' hides the output 'vision' of the stream that it returns"
    )
    assert problem.hint == "give the line another name"


def test_a_call_that_nothing_uses(names: Registries) -> None:
    text = CALLS.replace("  more:    {loss: second.loss, logits: second.logits}\n", "")
    problems = check(parse_spec(text), names).problems
    assert [problem.message for problem in problems] == [
        "stream 'second' is computed and never used"
    ]
    # A call of which only a part is used is fine: the definition serves other calls, too.
    text = CALLS.replace(
        "{loss: second.loss, logits: second.logits}", "{memory: second.memory}"
    )
    assert check(parse_spec(text), names).problems == []


def test_a_parameter_that_nothing_uses(names: Registries) -> None:
    text = CALLS.replace("fuse(text, vision):", "fuse(text, vision, more):")
    text = text.replace("fuse(text, vision=seen)", "fuse(text, vision=seen, more=seen)")
    (problem,) = check(parse_spec(text), names).problems
    assert problem.message == "parameter 'more' of definition 'fuse' is never used"


def test_a_line_that_braces_tear_apart() -> None:
    body = "{both: fusion(text=text, vision=vision), return: both}"
    with pytest.raises(SpecError) as caught:
        parse_spec(f"define:\n  fuse(text, vision): {body}\n")
    (problem,) = caught.value.problems
    assert problem.message == "not a call that can be read: '(' was never closed"
    assert problem.hint == "quote a line within { }: `'fusion(text=text, ...)'`"
    with pytest.raises(SpecError, match="the parameters of 'fuse.text' are not closed"):
        parse_spec("define: {fuse(text, vision): {both: concat(text), return: both}}\n")


def test_two_definitions_of_one_name() -> None:
    text = CALLS.replace(
        "define:\n", "define:\n  encode(a): {b: words(a), return: b}\n"
    )
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    (problem,) = caught.value.problems
    assert problem.message == "definition 'encode' exists already (at spec.yaml:19:3)"
    assert problem.place.line == 20


def test_a_deleted_stream_that_is_used(tmp_path: Path, names: Registries) -> None:
    good = (Path(__file__).parent / "parts" / "good.yaml").read_text()
    (tmp_path / "base.yaml").write_text(good)
    (tmp_path / "child.yaml").write_text("extends: base.yaml\nflow:\n  memory:\n")
    problems = check(read_spec(tmp_path / "child.yaml"), names).problems
    deleted = f"stream 'memory' was deleted (at {tmp_path}/child.yaml:3:3), but 'evidence', 'guess' still use it"
    assert [problem.message for problem in problems] == [deleted, deleted]
    assert problems[0].hint == "set `memory` again, or change what reads it"
    assert problems[0].place.line == 27
    # Set again further up, it is as if it had never been deleted.
    (tmp_path / "last.yaml").write_text(
        "extends: child.yaml\nflow:\n  memory: concat(both.vision, both.text)\n"
    )
    assert check(read_spec(tmp_path / "last.yaml"), names).problems == []


def test_deleted_by_an_override(tmp_path: Path, names: Registries) -> None:
    good = (Path(__file__).parent / "parts" / "good.yaml").read_text()
    (tmp_path / "base.yaml").write_text(good)
    overrides = ["flow.guess=", "inputs.answer_weight=", "modules.words="]
    problems = check(read_spec(tmp_path / "base.yaml", overrides), names).problems
    messages = [problem.message for problem in problems]
    assert (
        "stream 'guess' was deleted (at command line: flow.guess=), but goal 'predict' still uses it"
        in messages
    )
    assert (
        "input 'answer_weight' was deleted (at command line: inputs.answer_weight=), but 'loss' still uses it"
        in messages
    )
    assert (
        "module 'words' was deleted (at command line: modules.words=), but is still used here"
        in messages
    )


FORMS = [
    (
        "{loss: ema(loss)}",
        "an output must be a stream of the flow, but `ema(loss)` is an averaged one",
        "ema(...) is for the arguments of flow lines: return the stream of a line that reads it",
    ),
    (
        "{loss: loss, x: ema(both.text)}",
        "an output must be a stream of the flow",
        "ema(...) is for",
    ),
]


@pytest.mark.parametrize(("outputs", "message", "hint"), FORMS)
def test_averages_in_goals(good: str, outputs: str, message: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(good.replace("{loss: loss}", outputs))
    (problem,) = caught.value.problems
    assert problem.message.startswith(message)
    assert problem.hint.startswith(hint)


@pytest.mark.parametrize("section", ["inputs", "modules", "flow"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lambda", "'lambda' is a Python keyword, so no flow line can use it"),
        ("from", "'from' is a Python keyword, so no flow line can use it"),
        ("none", "'none' is a value in flow lines, so it cannot be a name"),
    ],
)
def test_names_that_no_line_can_use(
    good: str, section: str, name: str, message: str
) -> None:
    values = {
        "inputs": "text B L",
        "modules": "{use: project}",
        "flow": "words(question)",
    }
    with pytest.raises(SpecError) as caught:
        parse_spec(
            good.replace(
                f"{section}:\n", f"{section}:\n  {name}: {values[section]}\n", 1
            )
        )
    (problem,) = caught.value.problems
    assert problem.message == message
    assert problem.place.column == 3
    assert problem.hint == "choose another name"


def test_an_unknown_operation_lists_operations(good: str, names: Registries) -> None:
    (problem,) = check(
        parse_spec(good.replace("concat(both.vision", "interleave(both.vision")), names
    ).problems
    assert problem.message == "unknown module or operation 'interleave'"
    operations = ", ".join(names.operations.names())
    assert "beam_search" in operations
    listed = f"modules: vision, words, text, universal, fusion, decoder; operations: {operations}"
    assert problem.hint == listed


@pytest.mark.parametrize(
    ("written", "suggested"),
    [
        ("lm_los", "lm_loss"),
        ("lmloss", "lm_loss"),
        ("mlm_loss", ""),
        ("kl_loss", ""),
        ("mse_loss", ""),
    ],
)
def test_losses_that_differ_in_an_abbreviation_are_not_suggested(
    good: str, names: Registries, written: str, suggested: str
) -> None:
    (problem,) = check(
        parse_spec(good.replace("lm_loss(", f"{written}(")), names
    ).problems
    assert problem.message == f"unknown module or operation '{written}'"
    assert problem.hint.startswith(
        f"did you mean '{suggested}'?" if suggested else "modules: "
    )
