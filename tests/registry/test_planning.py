"""Plans: order, given streams, shadows, ports that are switched off."""

from __future__ import annotations

import pytest

from registry import (
    Plan,
    Ref,
    Registries,
    SpecError,
    UserError,
    parse_spec,
    plan,
    shadowed_modules,
)


def run(found: Plan) -> list[str]:
    """Return the streams of a plan in order; a shadow has a prime."""
    return [step.name + "'" * step.shadow for step in found.steps]


def test_only_ancestors_run_and_in_order(good: str, names: Registries) -> None:
    found = plan(parse_spec(good), "predict", (), names)
    assert set(run(found)) == {
        *(
            "patches",
            "visual",
            "seen",
            "spoken",
            "read",
            "asked",
            "both",
            "memory",
            "guess",
        ),
    }
    seen: set[str] = set(found.inputs)
    for step in found.steps:
        assert {ref.stream for ref in step.equation.refs()} <= seen
        seen.add(step.name)
    assert found.inputs == ("video", "question", "video_index")


def test_given_streams_are_not_computed(good: str, names: Registries) -> None:
    found = plan(parse_spec(good), "predict", ["memory"], names)
    assert run(found) == ["guess"]
    assert found.inputs == ()
    assert found.given == ("memory",)
    found = plan(parse_spec(good), "predict", ["visual", "video"], names)
    assert "patches" not in run(found)
    assert found.inputs == ("question", "video_index")
    assert found.given == ("visual",)


def test_shadows_run_what_has_weights_a_second_time(names: Registries) -> None:
    spec = parse_spec(
        "inputs: {question: text Q L, answer: text A La, question_index: index A -> Q}\n"
        "modules: {words: {use: text_embedding, width: 8}, decoder: {use: text_decoder, width: 8}}\n"
        "flow:\n"
        "  spoken: words(question)\n"
        "  evidence: take(spoken, question_index)\n"
        "  logits: decoder(answer, memory=evidence)\n"
        "  loss: lm_loss(logits, answer, teacher=ema(logits), alpha=0.5)\n"
        "goals: {train: {loss: loss}, probe: {logits: logits}}\n"
        "momentum: {}\n"
    )
    found = plan(spec, "train", (), names)
    assert run(found) == [
        "spoken",
        "evidence",
        "logits",
        "spoken'",
        "evidence'",
        "logits'",
        "loss",
    ]
    shadow = next(step for step in found.steps if step.key == ("logits", True))
    assert found.key(Ref("evidence"), shadow.shadow) == ("evidence", True)
    assert found.key(Ref("answer"), shadow.shadow) == ("answer", False)
    assert found.key(Ref("logits", ema=True)) == ("logits", True)
    assert shadowed_modules(spec, names) == {"words", "decoder"}
    found = plan(spec, "train", ["evidence"], names)
    assert run(found) == ["logits", "logits'", "loss"]
    assert found.key(Ref("evidence"), True) == ("evidence", False)


def test_a_network_and_its_average_read_what_a_weightless_module_drew(
    names: Registries,
) -> None:
    spec = parse_spec(
        "inputs: {text: text B L, answer: text B La}\n"
        "modules:\n"
        "  word_dropout: {use: word_dropout}\n"
        "  words: {use: text_embedding, width: 8}\n"
        "  decoder: {use: text_decoder, width: 8}\n"
        "flow:\n"
        "  kept: word_dropout(text)\n"
        "  memory: words(kept)\n"
        "  logits: decoder(answer, memory=memory)\n"
        "  loss: lm_loss(logits, answer, teacher=ema(logits), alpha=0.5)\n"
        "goals: {train: {loss: loss}}\n"
        "momentum: {}\n"
    )
    assert run(plan(spec, "train", (), names)) == [
        "kept",
        "memory",
        "logits",
        "memory'",
        "logits'",
        "loss",
    ]
    assert shadowed_modules(spec, names) == {"words", "decoder"}


def test_streams_without_weights_are_shared(names: Registries) -> None:
    spec = parse_spec(
        "inputs: {memory: tokens B N 8, question_index: index A -> B, answer: text A L}\n"
        "modules: {decoder: {use: text_decoder, width: 8}}\n"
        "flow:\n"
        "  evidence: take(memory, question_index)\n"
        "  logits: decoder(answer, memory=evidence)\n"
        "  loss: lm_loss(logits, answer, teacher=ema(logits), alpha=0.5)\n"
        "goals: {train: {loss: loss}}\n"
        "momentum: {}\n"
    )
    assert run(plan(spec, "train", (), names)) == [
        "evidence",
        "logits",
        "logits'",
        "loss",
    ]


@pytest.mark.parametrize("alpha", ["alpha=0", "alpha=0.0"])
def test_a_port_that_is_switched_off_is_not_computed(
    alpha: str, good: str, names: Registries
) -> None:
    spec = parse_spec(good.replace("alpha=0.4", alpha))
    found = plan(spec, "train", (), names)
    assert not any(step.shadow for step in found.steps)
    assert list(found.steps[-1].binding.ports) == ["logits", "target", "weight"]
    assert shadowed_modules(spec, names) == frozenset()
    assert (
        shadowed_modules(parse_spec(good.replace(", alpha=0.4", "")), names)
        == frozenset()
    )  # by default
    assert "fusion" in shadowed_modules(parse_spec(good), names)


def test_a_batch_that_lacks_inputs(good: str, names: Registries) -> None:
    found = plan(parse_spec(good), "predict", (), names)
    found.require({"video", "question", "video_index", "answer"})
    with pytest.raises(
        UserError,
        match="goal 'predict' needs 'question', 'video_index' in the batch, but it holds video",
    ):
        found.require({"video"})


def test_unknown_goal_and_circle(good: str, names: Registries) -> None:
    with pytest.raises(
        UserError, match="there is no goal 'fly'; goals: train, predict"
    ):
        plan(parse_spec(good), "fly", (), names)
    with pytest.raises(SpecError, match="depends on itself"):
        plan(
            parse_spec(good.replace("text(spoken)", "text(asked)")),
            "predict",
            (),
            names,
        )


def test_long_flows(names: Registries) -> None:
    lines = "".join(f"  s{at + 1}: body(s{at})\n" for at in range(1200))
    spec = parse_spec(
        "inputs: {s0: tokens B L 8}\nmodules: {body: {use: text_encoder, width: 8}}\n"
        f"flow:\n{lines}  both: concat(s1200, ema(s1200))\n"
        "momentum: {}\ngoals: {out: {last: both}}\n"
    )
    assert len(plan(spec, "out", (), names).steps) == 2401
