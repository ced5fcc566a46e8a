"""Parts that a call names, optional outputs and alternatives in networks: dry run, one step, and eject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ejected import assert_same_network as same
from ejected import ejected_network as written
from torch import nn

import mplug2
from modules.streams import Tokens
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke, tiny_batch
from registry import MODULES, SpecError, parse_spec

SPEC = """
inputs: {image: image B 3 16 16, caption: text B L, label: labels B}
modules:
  vision: {use: image_vit, width: 32, depth: 2, patch: 8, size: 16, heads: 2, early: 1}
  words:  {use: text_embedding, width: 32, vocab_size: 20, max_positions: 16, dropout: 0.0}
  body:   {use: text_encoder, width: 32, depth: 1, heads: 2, dropout: 0.0}
  head:   {use: class_head, width: 32, classes: 2, dropout: 0.0}
flow:
  visual:  vision(image)
  spoken:  words(caption)
  joint:   concat(spoken, visual.early, visual)
  hidden:  body(joint)
  cut:     split(hidden, text=caption, early=visual.early, vision=visual)
  logits:  head(cut.text)
  teacher: head(cut.vision)
  loss:    cross_entropy(logits, target=label)
goals:
  train: {loss: loss}
  show:  {early: visual.early, late: visual, averaged: teacher}
  plain: {late: visual}
"""


def test_the_whole_way(tmp_path: Path) -> None:
    spec = parse_spec(SPEC, "ports.yaml")
    rows = {row.name: row.shape for row in dry_run(spec).streams}
    assert rows["visual"] == "tokens B visual.N 32, .early tokens B visual.N 32"
    assert rows["cut"].startswith(".text tokens B L 32, .early tokens B visual.N 32")
    assert smoke(spec) == ""
    same(spec, written(spec, tmp_path))


def test_averaged_copies_are_asked_for_the_same_outputs(tmp_path: Path) -> None:
    text = SPEC.replace(
        "concat(spoken, visual.early, visual)",
        "concat(spoken, ema(visual.early), visual)",
    )
    spec = parse_spec(text + "momentum: {decay: 0.9}\n", "ports_ema.yaml")
    same(spec, written(spec, tmp_path))


def test_an_output_is_computed_on_request_only() -> None:
    net = mplug2.compose(parse_spec(SPEC), initial=False).eval()
    vision = net.get_module("vision")
    seen: list[Any] = []
    vision.register_forward_hook(
        lambda module, inputs, output: seen.append(type(output))
    )
    net(tiny_batch(net, "plain"), "plain")
    outputs = net(tiny_batch(net, "show"), "show")
    assert seen == [Tokens, dict]
    assert outputs["early"].values.shape == outputs["late"].values.shape


class Forgetful(nn.Module):
    """A module that declares an optional output and never returns it."""

    inputs = {"tokens": "tokens B N width"}
    outputs = {"": "tokens B N width", "more?": "tokens B N width"}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(
        self, tokens: Tokens, *, requested: frozenset[str] = frozenset()
    ) -> Tokens:
        return Tokens(self.layer(tokens.values), tokens.mask)


def test_an_optional_output_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULES, "_entries", dict(MODULES._entries))
    MODULES.register("forgetful", f"{__name__}:Forgetful")
    text = """
inputs: {a: tokens B N 8}
modules: {layer: {use: forgetful, width: 8}}
flow: {b: layer(a), c: concat(b.more)}
goals: {out: {c: c}}
"""
    with pytest.raises(SpecError) as error:
        dry_run(parse_spec(text))
    [problem] = error.value.problems
    assert str(problem.place) == "spec.yaml:4:31"
    assert (
        problem.message
        == "'b.more' is read, but its module did not return the optional output 'more'"
    )


def test_parts_whose_lengths_do_not_add_up() -> None:
    with pytest.raises(SpecError) as error:
        dry_run(
            parse_spec(
                SPEC.replace(", early=visual.early, vision=visual)", ", vision=visual)")
            )
        )
    [problem] = error.value.problems
    assert str(problem.place) == "spec.yaml:13:12"
    assert (
        "the lengths of the parts (text 16, vision 5) must add up to 26, but do to 21"
        in problem.message
    )


def test_the_hidden_states_after_some_blocks() -> None:
    torch.manual_seed(0)
    vision = MODULES.load("video_vit")(
        width=32, depth=2, patch=8, frames=2, size=16, heads=2, early=2
    ).eval()
    outputs = vision(torch.randn(1, 3, 2, 16, 16), requested=frozenset({"early"}))
    normed = vision.norm(outputs["early"].values)
    torch.testing.assert_close(normed, outputs[""].values)
    with pytest.raises(ValueError, match="early must be 1 to 2"):
        MODULES.load("video_vit")(
            width=32, depth=2, patch=8, frames=2, size=16, heads=2, early=3
        )
