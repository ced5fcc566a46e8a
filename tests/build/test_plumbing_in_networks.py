"""Selected elements, their losses, and mixed rows in whole networks: dry run, one step, and eject."""

from __future__ import annotations

from pathlib import Path

import pytest
from ejected import assert_same_network as same
from ejected import ejected_network as written

from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from registry import SpecError, parse_spec

SELECTION = """
inputs: {caption: text B L, labels: labels B L, regions: regions B R 8, marked: mask B R}
modules:
  words: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 16, dropout: 0.0}
  body:  {use: text_encoder, depth: 1, heads: 2, dropout: 0.0}
flow:
  spoken:  words(caption)
  joint:   concat(spoken, spoken)
  hidden:  body(joint)
  cut:     split(hidden, text=caption, again=spoken)
  kept:    select_labelled(cut.text, labels)
  truth:   select_labelled(spoken, labels)
  loss_a:  mse_loss(kept.hidden, target=truth.hidden)
  shown:   select_masked(regions, marked)
  hidden_shown: select_masked(regions, marked)
  loss_b:  mse_loss(shown, target=hidden_shown)
  loss:    weighted_sum(loss_a, loss_b, weights=[1.0, 1.0])
goals: {train: {loss: loss}}
"""
MIXED = """
inputs: {a: vector B 8, b: vector B 8, partner: index B -> B, share: weight B}
modules: {itc: {use: contrastive}}
flow:
  both:   itc(a, b)
  soft:   softmax(both.vision_to_text, temperature=2.0)
  mixed:  mix_rows(soft, partner, share)
  loss:   mse_loss(both.text_to_vision, target=mixed)
goals: {train: {loss: loss}, predict: {mixed: mixed}}
"""


@pytest.mark.parametrize("text", [SELECTION, MIXED], ids=["selection", "mixed"])
def test_the_whole_way(text: str, tmp_path: Path) -> None:
    spec = parse_spec(text, "plumbing.yaml")
    assert len(dry_run(spec).streams) > 5
    assert smoke(spec) == ""
    same(spec, written(spec, tmp_path))


def test_selections_by_two_masks_are_two_axes() -> None:
    text = SELECTION.replace("marked: mask B R}", "marked: mask B R, other: mask B R}")
    text = text.replace(
        "shown: select_masked(regions, marked)\n  loss_b",
        "shown: select_masked(regions, other)\n  loss_b",
    )
    with pytest.raises(SpecError) as error:
        dry_run(parse_spec(text))
    [problem] = error.value.problems
    assert problem.message == (
        "axis mismatch: port 'target' of mse_loss must have axis shown.M, as port 'values' has "
        "(stream 'shown'), but stream 'hidden_shown' has hidden_shown.M there"
    )


def test_a_partner_that_counts_other_rows() -> None:
    text = MIXED.replace(
        "partner: index B -> B", "other: vector C 8, partner: index B -> C"
    )
    text = text.replace("mixed: mixed", "mixed: mixed, other: other")
    with pytest.raises(SpecError) as error:
        dry_run(parse_spec(text))
    [problem] = error.value.problems
    assert str(problem.place) == "spec.yaml:7:26"
    assert problem.message == (
        "wrong index: stream 'partner' counts rows of C, "
        "but stream 'soft' (port 'rows' of mix_rows) has rows of B"
    )
