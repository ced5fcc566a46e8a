"""A spec with definitions is the same network as the one that is written out by hand, to the bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from ejected import ejected_network as written
from ejected import tensors_of as tensors
from torch import Tensor

import mplug2
from mplug2.build.describe import describe, describe_text, differences
from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.drawing.draw import draw
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke, tiny_batch
from mplug2.network import Network
from registry import Spec, check, parse_spec

HEAD = """
inputs:
  video:    frames V 3 T 16 16
  question: text Q L
  video_index:     index Q -> V
  answer:   text A La
  question_index:    index A -> Q
modules:
  vision:    {use: video_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16, frames: 3}
  words:     {use: text_embedding, width: 32, vocab_size: 690, max_positions: 24}
  text:      {use: text_encoder, width: 32, depth: 1, heads: 2}
  universal: {use: universal, width: 32, depth: 2, heads: 2}
  fusion:    {use: fusion, width: 32, depth: 1, heads: 2}
  decoder:   {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 690, max_positions: 24}
  other:     {use: text_decoder, width: 32, depth: 1, heads: 2, vocab_size: 690, max_positions: 24}
momentum: {decay: 0.9}
"""
CALLS = """
define:
  encode(text):
    embeds: words(text)
    encoded: text(embeds)
    return: universal(encoded, route='text')
  fuse(text, vision):
    hidden: encode(text)
    both: fusion(text=hidden, vision=vision)
    return: both
  write(text, @head):
    fused: fuse(text, vision=seen)
    memory: concat(fused.vision, fused.text)
    evidence: take(memory, question_index)
    logits: head(answer, memory=evidence)
    loss: lm_loss(logits, target=answer, teacher=ema(logits), alpha=0.4)
    return: {loss: loss, hidden: fused.text}
flow:
  patches: vision(video)
  visual:  universal(patches, route='vision')
  seen:    take(visual, video_index)
  first:   write(question, @decoder)
  second:  write(text=question, head=@other)
  total:   weighted_sum(first.loss, second.loss, weights=[1.0, 0.5])
  guess:   greedy_search(@decoder, memory=first.memory, max_length=3)
goals:
  train:   {loss: total, first: first.loss, second: second.loss}
  first:   first
  predict: {answer: guess, hidden: first.hidden}
"""
BY_HAND = """
flow:
  patches:  vision(video)
  visual:   universal(patches, route='vision')
  seen:     take(visual, video_index)
  embeds1:  words(question)
  encoded1: text(embeds1)
  hidden1:  universal(encoded1, route='text')
  both1:    fusion(text=hidden1, vision=seen)
  memory1:  concat(both1.vision, both1.text)
  evidence1: take(memory1, question_index)
  logits1:  decoder(answer, memory=evidence1)
  loss1:    lm_loss(logits1, target=answer, teacher=ema(logits1), alpha=0.4)
  embeds2:  words(question)
  encoded2: text(embeds2)
  hidden2:  universal(encoded2, route='text')
  both2:    fusion(text=hidden2, vision=seen)
  memory2:  concat(both2.vision, both2.text)
  evidence2: take(memory2, question_index)
  logits2:  other(answer, memory=evidence2)
  loss2:    lm_loss(logits2, target=answer, teacher=ema(logits2), alpha=0.4)
  total:    weighted_sum(loss1, loss2, weights=[1.0, 0.5])
  guess:    greedy_search(@decoder, memory=memory1, max_length=3)
goals:
  train:   {loss: total, first: loss1, second: loss2}
  first:   {loss: loss1, hidden: both1.text}
  predict: {answer: guess, hidden: both1.text}
"""
TRAINABLE = ("train", "first")


def spec_of(text: str, name: str = "calls.yaml") -> Spec:
    """Return a spec of this file's modules."""
    return parse_spec(HEAD + text, name)


def network(text: str) -> Network:
    """Return a network with the random weights of seed 0."""
    torch.manual_seed(0)
    return mplug2.compose(spec_of(text), initial=False)


def run(net: Any, batch: dict[str, Any], goal: str) -> dict[str, Any]:
    """Return the outputs of a goal with the random numbers of seed 1."""
    torch.manual_seed(1)
    outputs: dict[str, Any] = net.train(goal in TRAINABLE)(batch, goal)
    return outputs


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert list(left) == list(right)
    for one, other in zip(tensors(left), tensors(right), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def called() -> Network:
    return network(CALLS)


def test_outputs_and_gradients_are_those_of_the_spec_by_hand(
    called: Network, tmp_path: Path
) -> None:
    by_hand = network(BY_HAND)
    ejected = written(spec_of(CALLS), tmp_path)
    assert (
        list(called.state_dict())
        == list(by_hand.state_dict())
        == list(ejected.state_dict())
    )
    networks = (called, by_hand, ejected)
    with torch.no_grad():
        for net in networks:
            for parameter in net.parameters():
                parameter.add_(0.01)  # so that the averages are not the weights
            net.update_ema()
    for goal in called.spec.goals:
        batch = tiny_batch(called, goal)
        results = [run(net, batch, goal) for net in networks]
        assert_same(results[0], results[1])
        assert_same(results[0], results[2])
        if goal in TRAINABLE:
            for outputs in results:
                outputs["loss"].backward()
    for weights in zip(*(net.parameters() for net in networks), strict=True):
        gradients = [weight.grad for weight in weights]
        if gradients[0] is None:
            assert gradients == [None, None, None]
        else:
            assert torch.equal(gradients[0], gradients[1])
            assert torch.equal(gradients[0], gradients[2])


def test_cost_and_description_are_those_of_the_spec_by_hand() -> None:
    called, by_hand = dry_run(spec_of(CALLS)), dry_run(spec_of(BY_HAND))
    assert called.goals == by_hand.goals
    assert called.modules == by_hand.modules
    rows = {row.name: row for row in called.streams}
    assert (
        rows["first.fused.both"].shape
        == ".text tokens Q L 32, .vision tokens Q patches.N 32"
    )
    assert rows["first.fused.hidden"].shape == "tokens Q L 32"
    assert (
        rows["first.fused.hidden"].call
        == "universal(first.fused.hidden.encoded, route='text')"
    )
    text = describe_text(spec_of(CALLS))
    assert "first: write(question, @decoder)" in text.replace('"', "")
    assert re.search(r"^first\.fused\.both\.text +tokens Q L 32$", text, re.MULTILINE)


def test_diff_shows_the_changed_line_of_a_definition() -> None:
    changed = CALLS.replace(
        "concat(fused.vision, fused.text)", "concat(fused.text, fused.vision)"
    )
    found = differences(describe(spec_of(CALLS)), describe(spec_of(changed)))
    assert found == {
        "settings": [
            (
                "define.write(text, @head).memory",
                "concat(fused.vision, fused.text)",
                "concat(fused.text, fused.vision)",
            )
        ]
    }


def test_smoke_takes_a_step() -> None:
    assert smoke(spec_of(CALLS)) == ""


def test_drawings_group_the_lines_of_a_call(tmp_path: Path) -> None:
    spec = spec_of(CALLS)
    for suffix in ("svg", "mmd"):
        draw(spec, tmp_path / f"calls.{suffix}")
    mermaid = (tmp_path / "calls.mmd").read_text()
    assert '  subgraph call0["first: write"]' in mermaid
    assert '  subgraph call1["second: write"]' in mermaid
    assert mermaid.count("  end\n") == 2
    assert "first.fused.hidden" in (tmp_path / "calls.svg").read_text()
    diagram = read_diagram(spec)
    by_hand = read_diagram(spec_of(BY_HAND))
    assert len(diagram.nodes) == len(by_hand.nodes)
    fields = sorted(edge.field for edge in diagram.edges)
    assert fields == sorted(edge.field for edge in by_hand.edges)
    assert "text" in fields


def test_observers_and_counts_have_the_dotted_names(called: Network) -> None:
    seen: list[str] = []
    batch = tiny_batch(called, "train")
    called(batch, "train", observe=lambda name, value: seen.append(name))
    assert {"first.fused.hidden", "first.loss", "ema(second.logits)", "total"} <= set(
        seen
    )
    assert list(called.count_losses(batch, "train")) == ["first.loss", "second.loss"]


def test_streams_of_calls_are_computed_and_passed_in_by_name(called: Network) -> None:
    called.eval()
    batch = tiny_batch(called, "train")
    names = ("first.fused", "first.hidden", "first.fused.hidden")
    streams = called(batch, names)
    assert list(streams) == list(names)
    expected = called(batch, "train")
    # A goal starts from what the batch holds, also under the name of a call.
    shortened = {name: batch[name] for name in ("answer", "question_index")}
    shortened["first.fused"] = streams["first.fused"]
    loss = called(shortened, "first")["loss"]
    assert isinstance(loss, Tensor)
    assert torch.equal(loss, expected["first"])


def test_the_types_of_dotted_streams() -> None:
    types = check(spec_of(CALLS)).raise_if_bad().types
    assert str(types["second.fused.both.vision"]) == "tokens Q patches.N 32"
    assert str(types["second.memory"]) == "tokens Q second.memory.N 32"
