"""Mixing of windows: which squares are exchanged, their sizes, shares, and draws that can be resumed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modules.losses.distribution import soft_cross_entropy
from modules.scores import mix_rows
from modules.window_mix import WindowMix

SIDE, PATCH = 4, 2


def images(rows: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(rows, 3, SIDE * PATCH, SIDE * PATCH)


def window_sums(saliency: Tensor, window: int) -> Tensor:
    """Return the summed saliency of each window of one image, by its top and left patch."""
    grid = saliency.view(SIDE, SIDE)
    places = SIDE - window + 1
    sums = torch.empty(places, places)
    for top in range(places):
        for left in range(places):
            sums[top, left] = grid[top : top + window, left : left + window].sum()
    return sums


@pytest.mark.parametrize(("ratio", "window"), [(0.3, 1), (0.5, 2), (0.8, 3)])
def test_the_least_salient_window_becomes_the_most_salient_one_of_the_partner(
    ratio: float, window: int
) -> None:
    image, saliency = images(3), torch.randn(3, SIDE * SIDE)
    mixed = WindowMix([ratio, ratio])(image, saliency)
    assert mixed["partner"].tolist() == [2, 1, 0]
    assert mixed["share"].tolist() == [1 - window**2 / SIDE**2] * 3
    length = window * PATCH
    for row in range(3):
        least = int(window_sums(saliency[row], window).argmin())
        most = int(window_sums(saliency[2 - row], window).argmax())
        (top, left), (from_top, from_left) = (
            (
                number // (SIDE - window + 1) * PATCH,
                number % (SIDE - window + 1) * PATCH,
            )
            for number in (least, most)
        )
        expected = image[row].clone()
        source = image[
            2 - row, :, from_top : from_top + length, from_left : from_left + length
        ]
        expected[:, top : top + length, left : left + length] = source
        assert torch.equal(mixed["image"][row], expected)
        marks = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        marks[
            top // PATCH : top // PATCH + window, left // PATCH : left // PATCH + window
        ] = True
        assert torch.equal(mixed["pasted"][row], marks.flatten())


def test_windows_are_drawn_between_both_ratios_and_draws_go_on_after_a_restart() -> (
    None
):
    module = WindowMix([0.35, 0.75]).train()
    windows = []
    for _ in range(64):
        windows.append(module.draw(16))
        module.step.add_(1)
    assert set(windows) == set(range(5, 13))
    resumed = WindowMix([0.35, 0.75]).train()
    resumed.load_state_dict({"step": torch.tensor([7])})
    assert resumed.draw(16) == windows[7]
    others = WindowMix([0.35, 0.75], seed=1).train()
    others.step.copy_(resumed.step)
    draws = []
    for _ in range(64):
        draws.append(others.draw(16))
        others.step.add_(1)
    assert draws != windows


def test_only_training_takes_a_step() -> None:
    module = WindowMix([0.3, 0.8]).train()
    image, saliency = images(2), torch.randn(2, SIDE * SIDE)
    with torch.no_grad():
        module(image, saliency)
    assert module.step.item() == 0
    module(image, saliency)
    assert module.step.item() == 1
    module.eval()(image, saliency)
    assert module.step.item() == 1


def test_classes_of_images_are_mixed_with_the_same_shares() -> None:
    image, saliency = images(2), torch.randn(2, SIDE * SIDE)
    mixed = WindowMix([0.5, 0.5])(image, saliency)
    target = mix_rows(torch.eye(2), mixed["partner"], mixed["share"])
    assert target.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    logits = torch.randn(2, 2)
    log_probs = logits.log_softmax(dim=1)
    expected = -(
        0.75 * log_probs.diagonal() + 0.25 * log_probs.flip(1).diagonal()
    ).mean()
    torch.testing.assert_close(soft_cross_entropy(logits, target).mean(), expected)


@pytest.mark.parametrize("ratio", [[0.0, 0.5], [0.6, 0.5], [0.5, 1.0], [0.5]])
def test_ratios_out_of_range(ratio: list[float]) -> None:
    with pytest.raises(
        ValueError, match="ratio must be two numbers above 0 and below 1"
    ):
        WindowMix(ratio)


@pytest.mark.parametrize("patches", [15, 25])
def test_a_saliency_that_does_not_fit_the_image(patches: int) -> None:
    with pytest.raises(
        ValueError, match=f"square grid that divides the image.* but has {patches}"
    ):
        WindowMix([0.5, 0.5])(images(1), torch.randn(1, patches))
