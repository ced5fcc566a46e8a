"""Composed networks: sharing, freezing, tying, momentum, goals that start midway, errors with places."""

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

import mplug2
from modules.streams import Text, Tokens
from mplug2.network import Network
from registry import SpecError, UserError, parse_spec

SPEC = """
inputs: {video: frames V 3 T H W, question: text Q L, video_index: index Q -> V, answer: text A La,
         question_index: index A -> Q, answer_weight: weight A}
modules:
  vision:    {use: video_vit, width: 32, depth: 1, heads: 2, patch: 8, frames: 3, size: 16}
  words:     {use: text_embedding, width: 32, vocab_size: 60, max_positions: 8, dropout: 0.0}
  universal: {use: universal, width: 32, depth: 2, heads: 2, latents: 4, dropout: 0.0}
  fusion:    {use: fusion, width: 32, depth: 1, heads: 2, dropout: 0.0}
  decoder:   {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 60, max_positions: 8,
      dropout: 0.0}
flow:
  patches:  vision(video)
  visual:   universal(patches, route='vision')
  seen:     take(visual, video_index)
  spoken:   words(question)
  asked:    universal(spoken, route='text')
  both:     fusion(text=asked, vision=seen)
  memory:   concat(both.vision, both.text)
  evidence: take(memory, question_index)
  logits:   decoder(answer, memory=evidence)
  loss:     lm_loss(logits, target=answer, weight=answer_weight, question_index=question_index)
  guess:    beam_search(@decoder, memory=memory, num_beams=2, num_return_sequences=2, max_length=4,
      bos_token_id=1, eos_token_id=2)
goals: {train: {loss: loss}, predict: {answer: guess}}
"""
DISTILLED = (
    SPEC.replace(
        "question_index=question_index)",
        "question_index=question_index, teacher=ema(logits), alpha=ALPHA)",
    )
    + "momentum: {decay: 0.9}\n"
)


def _net(text: str = SPEC) -> Network:
    torch.manual_seed(0)
    return mplug2.compose(parse_spec(text, "small.yaml"))


def _text(rows: int, length: int) -> Text:
    ids = torch.randint(3, 60, (rows, length))
    return Text(ids, torch.ones_like(ids, dtype=torch.bool))


def _batch() -> dict[str, Any]:
    torch.manual_seed(1)
    return {
        "video": torch.randn(2, 3, 3, 16, 16),
        "question": _text(4, 5),
        "video_index": torch.tensor([0, 0, 1, 1]),
        "answer": _text(4, 3),
        "question_index": torch.arange(4),
        "answer_weight": torch.ones(4),
    }


def test_a_goal_returns_its_outputs_and_needs_only_their_ancestors() -> None:
    net, batch = _net().eval(), _batch()
    assert net(batch)["loss"].ndim == 0
    for name in ("answer", "question_index", "answer_weight"):
        del batch[name]
    assert net(batch, "predict")["answer"].ids.shape[:2] == (4, 2)
    with pytest.raises(
        UserError,
        match="goal 'train' needs 'answer', 'question_index', 'answer_weight'",
    ):
        net(batch)


@pytest.mark.parametrize(
    ("text", "goal"), [(SPEC, "predict"), (DISTILLED.replace("ALPHA", "0.4"), "train")]
)
def test_streams_are_freed_with_their_call_and_need_no_garbage_collector(
    text: str, goal: str
) -> None:
    net, batch, streams = _net(text), _batch(), []
    net.get_module("fusion").register_forward_hook(
        lambda module, given, made: streams.append(weakref.ref(made["text"].values))
    )
    gc.disable()
    try:
        net(batch, goal)
        assert [stream() for stream in streams] == [None]
    finally:
        gc.enable()


def test_grouped_questions_give_the_loss_and_gradients_of_ungrouped_ones() -> None:
    batch = _batch()
    single = {
        **batch,
        "video": batch["video"][batch["video_index"]],
        "video_index": torch.arange(4),
    }
    losses, gradients = [], []
    for one in (batch, single):
        net = _net()
        losses.append(net(one)["loss"])
        losses[-1].backward()
        gradients.append([p.grad for p in net.parameters()])
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_a_goal_may_start_from_a_given_stream() -> None:
    net, batch = _net().eval(), _batch()
    whole = net(batch, "predict")["answer"]
    visual = net.get_module("universal")(
        net.get_module("vision")(batch["video"]), route="vision"
    )
    given = {
        "visual": visual,
        "question": batch["question"],
        "video_index": batch["video_index"],
    }
    assert torch.equal(net(given, "predict")["answer"].ids, whole.ids)


def test_what_no_stream_is_called_is_refused() -> None:
    with pytest.raises(UserError, match="'vido'"):
        _net()({"vido": torch.zeros(1)})


def test_a_module_called_twice_has_one_set_of_weights() -> None:
    net = _net()
    net(_batch())["loss"].backward()
    assert net.get_module("universal").layers[0].feed.up.weight.grad is not None
    assert sum(name.startswith("universal.") for name in net.state_dict()) == len(
        net.get_module("universal").state_dict()
    )


def test_freeze_matches_whole_words_and_wildcards() -> None:
    net = _net(SPEC + "freeze: [vision.stem, '*.latents']\n")
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert "universal.latents" in frozen
    assert frozen == {
        n for n, _ in net.named_parameters() if n.startswith("vision.stem.")
    } | {"universal.latents"}
    with pytest.raises(SpecError, match="matches none"):
        _net(SPEC + "freeze: [vision.stemm]\n")


def test_tied_weights_are_one_parameter() -> None:
    net = _net(SPEC + "tie: {words.word.weight: decoder.embedding.word.weight}\n")
    assert (
        net.get_module("words").word.weight
        is net.get_module("decoder").embedding.word.weight
    )
    with pytest.raises(SpecError, match="one shape"):
        _net(SPEC + "tie: {words.word.weight: decoder.embedding.position.weight}\n")
    with pytest.raises(SpecError, match="is not a weight"):
        _net(SPEC + "tie: {words.word.weight: decoder.embedding.wrod.weight}\n")


def test_no_teacher_is_built_when_alpha_is_zero() -> None:
    assert _net(DISTILLED.replace("ALPHA", "0")).ema is None
    assert _net(SPEC).ema is None
    net = _net(DISTILLED.replace("ALPHA", "0.4"))
    assert net.ema is not None
    assert set(net.ema.modules) == {"vision", "words", "universal", "fusion", "decoder"}


def test_the_teacher_follows_and_is_no_parameter() -> None:
    net = _net(DISTILLED.replace("ALPHA", "0.4"))
    plain = _net()
    assert {n for n, _ in net.named_parameters()} == {
        n for n, _ in plain.named_parameters()
    }
    batch = _batch()
    first = net(batch)["loss"]
    first.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01)
    changed = net(batch)["loss"]
    net.update_ema()
    assert not torch.equal(net(batch)["loss"], changed)
    state = net.ema_state_dict()
    assert set(state) == set(net.state_dict())


def test_an_exception_names_the_stream_and_its_line() -> None:
    net = _net()
    net.get_module("vision").stem = None  # breaks it where no check can see it
    with pytest.raises(Exception) as caught:  # noqa: PT011  (torch's own error)
        net(_batch())
    assert any(
        "while computing `patches` (small.yaml:12:" in note
        for note in caught.value.__notes__
    )


def test_module_arguments_that_only_the_module_can_judge() -> None:
    with pytest.raises(
        SpecError, match="small.yaml:5:3: vision: size must be a multiple of patch"
    ):
        _net(SPEC.replace("size: 16}", "size: 15}"))


def test_a_module_may_have_any_name() -> None:
    text = SPEC.replace("vision:  ", "train:  ").replace(
        "patches:  vision(video)", "patches:  train(video)"
    )
    assert "train.stem.cls" in _net(text).train().state_dict()


def test_weights_from_an_own_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = _net()
    save_file(
        {name: p.detach() + 1 for name, p in net.named_parameters()},
        tmp_path / "w.safetensors",
    )
    loaded = _net(
        SPEC + f"init: {{universal: 'checkpoint:{tmp_path / 'w.safetensors'}'}}\n"
    )
    torch.testing.assert_close(
        loaded.get_module("universal").latents, net.get_module("universal").latents + 1
    )
    torch.testing.assert_close(
        loaded.get_module("vision").norm.weight, net.get_module("vision").norm.weight
    )


def test_tokens_without_mask_are_all_valid() -> None:
    net = _net().eval()
    tokens = Tokens(torch.randn(2, 5, 32))
    masked = Tokens(tokens.values, torch.ones(2, 5, dtype=torch.bool))
    fusion = net.get_module("fusion")
    torch.testing.assert_close(
        fusion(tokens, tokens)["text"].values, fusion(masked, masked)["text"].values
    )


def test_hidden_states_given_as_an_input_come_in_the_networks_precision() -> None:
    text = """
inputs: {image: tokens B N 32, text: tokens B L 32}
modules: {fusion: {use: fusion, width: 32, depth: 1, heads: 2}}
flow: {both: "fusion(text=text, vision=image)"}
goals: {predict: {text: both.text}}
"""
    mask = torch.tensor([[True, True, False], [True, True, True]])
    given = {
        "image": Tokens(torch.randn(2, 3, 32), mask),
        "text": Tokens(torch.randn(2, 4, 32)),
    }
    whole = _net(text).eval()
    half = _net(text).eval().bfloat16()
    found = half(given, "predict")["text"].values
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(
        found.float(), whole(given, "predict")["text"].values, atol=0.1, rtol=0.1
    )


def test_what_only_a_module_can_judge_of_a_batch_is_told_with_its_place() -> None:
    text = """
inputs: {v: vector B 16, t: vector B 16, media_id: index B}
modules: {bank: {use: feature_queue, width: 16, size: 2}}
flow: {stored: "bank(v, t, media_id)"}
goals: {embed: {v: stored.vision}}
"""
    net, batch = (
        _net(text),
        {"v": torch.randn(3, 16), "t": torch.randn(3, 16), "media_id": torch.arange(3)},
    )
    net.register_parameter(
        "precision", torch.nn.Parameter(torch.zeros(1))
    )  # a bank has none
    with pytest.raises(
        SpecError, match=r"small.yaml:4:17: bank: size must be .* \(3\), but is 2"
    ):
        net(batch, "embed")
