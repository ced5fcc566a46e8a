"""The language-model loss against its equation."""

import math

import pytest
import torch
from torch.nn import functional as F

import modules.losses.reduction
from modules.losses.text import cross_entropy, lm_loss
from modules.streams import Text


def _case() -> tuple[torch.Tensor, Text, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    ids = torch.tensor([[1, 5, 2, 0], [1, 3, 4, 2], [1, 6, 2, 0]])
    return (
        torch.randn(3, 4, 7),
        Text(ids, ids > 0),
        torch.tensor([0.25, 0.75, 1.0]),
        torch.tensor([0, 0, 1]),
    )


def _per_word(logits: torch.Tensor, text: Text, row: int) -> list[float]:
    words = text.ids[row][text.mask[row]].tolist()
    return [
        -float(F.log_softmax(logits[row, i], dim=-1)[words[i + 1]])
        for i in range(len(words) - 1)
    ]


def test_words_are_summed_weighted_and_divided_by_questions() -> None:
    logits, text, weight, owner = _case()
    expected = (
        sum(float(w) * sum(_per_word(logits, text, i)) for i, w in enumerate(weight))
        / 2
    )
    torch.testing.assert_close(
        lm_loss(logits, text, weight, owner).mean(), torch.tensor(expected)
    )


def test_caption_loss_is_a_mean_over_words_beyond_the_prompt() -> None:
    logits, text, _, _ = _case()
    words = [loss for i in range(3) for loss in _per_word(logits, text, i)[1:]]
    loss = lm_loss(logits, text, ignore_first=2, reduction="per_token").mean()
    torch.testing.assert_close(loss, torch.tensor(sum(words) / len(words)))


def test_padding_has_no_gradient() -> None:
    logits, text, _, _ = _case()
    logits.requires_grad_()
    lm_loss(logits, text).mean().backward()
    assert logits.grad is not None
    assert logits.grad[0, 2:].abs().max() == 0 and logits.grad[0, :2].abs().max() > 0


def test_a_teacher_softens_the_targets_over_the_vocabulary() -> None:
    logits, text, _, _ = _case()
    teacher = torch.randn(3, 4, 7)
    soft = -(F.log_softmax(logits, -1) * F.softmax(teacher, -1)).sum(-1)[:, :-1]
    soft = (soft * text.mask[:, 1:]).sum() / 3
    mixed = lm_loss(logits, text, teacher=teacher, alpha=0.4).mean()
    torch.testing.assert_close(mixed, 0.6 * lm_loss(logits, text).mean() + 0.4 * soft)
    torch.testing.assert_close(
        lm_loss(logits, text, teacher=teacher).mean(), lm_loss(logits, text).mean()
    )


def test_a_teacher_is_not_taught_and_keeps_its_digits() -> None:
    logits, text, _, _ = _case()
    teacher = (3 * torch.randn(3, 4, 7)).bfloat16().requires_grad_()
    half = lm_loss(logits.requires_grad_(), text, teacher=teacher, alpha=0.4).mean()
    half.backward()
    assert teacher.grad is None and logits.grad is not None
    assert (
        half.item()
        == lm_loss(logits, text, teacher=teacher.detach().float(), alpha=0.4)
        .mean()
        .item()
    )


def test_a_split_batch_gives_the_loss_of_the_batch() -> None:
    logits, text, weight, _ = _case()
    for options in (
        {"reduction": "per_token"},
        {"reduction": "per_token", "weight": weight},
        {},
    ):
        weights = options.pop("weight", None)
        whole_batch = lm_loss(logits, text, weights, **options)
        parts = []
        for rows in (slice(0, 1), slice(1, 3)):
            part = Text(text.ids[rows], text.mask[rows])
            parts.append(
                lm_loss(
                    logits[rows],
                    part,
                    None if weights is None else weights[rows],
                    **options,
                )
            )
        count = sum(part.count for part in parts)
        torch.testing.assert_close(
            sum(part.total for part in parts) / count, whole_batch.mean()
        )


def test_no_scored_word_is_no_loss() -> None:
    logits, text, _, _ = _case()
    loss = lm_loss(
        logits.requires_grad_(), text, ignore_first=9, reduction="per_token"
    ).mean()
    loss.backward()
    assert loss.item() == 0.0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("counted", [1, 2])
def test_few_counted_rows_over_all_ranks_count_fully(
    counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four ranks this one alone has rows with a target: their mean, once the ranks' gradients are."""
    monkeypatch.setattr(
        modules.losses.reduction, "mean_over_ranks", lambda count: count / 4
    )
    target = torch.tensor([0, 2, -1, -1]).where(torch.arange(4) < counted, -1)
    loss = cross_entropy(torch.zeros(4, 3), target).mean()
    assert loss.item() / 4 == pytest.approx(math.log(3))


def test_cross_entropy_counts_rows_with_a_target() -> None:
    logits = torch.tensor(
        [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [5.0, 5.0, 5.0]], requires_grad=True
    )
    target = torch.tensor([0, 2, -1])
    wanted = torch.nn.functional.cross_entropy(logits[:2], target[:2])
    torch.testing.assert_close(cross_entropy(logits, target).mean(), wanted)
    smooth = torch.nn.functional.cross_entropy(
        logits[:2], target[:2], label_smoothing=0.1
    )
    torch.testing.assert_close(
        cross_entropy(logits, target, smoothing=0.1).mean(), smooth
    )
    assert cross_entropy(logits, torch.full((3,), -1)).mean().item() == 0.0


def test_cross_entropy_with_a_teacher() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, teacher = torch.randn(2, 3, 5, generator=draw)
    target = torch.tensor([0, 4, -1])
    hard = torch.nn.functional.cross_entropy(logits[:2], target[:2])
    soft = torch.nn.functional.cross_entropy(logits[:2], teacher[:2].softmax(dim=-1))
    loss = cross_entropy(logits, target, teacher, alpha=0.4).mean()
    torch.testing.assert_close(loss, 0.6 * hard + 0.4 * soft)
    assert torch.equal(
        cross_entropy(logits, target, teacher).mean(),
        cross_entropy(logits, target).mean(),
    )


def test_cross_entropy_of_positions_is_that_of_all_targets() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, -1, 2], [4, 1, -1]])
    expected = cross_entropy(logits.flatten(0, 1), target.flatten()).mean()
    torch.testing.assert_close(cross_entropy(logits, target).mean(), expected)
    with pytest.raises(
        ValueError,
        match=r"one class for each of the logits, \[2, 3\], but has the shape \[2\]",
    ):
        cross_entropy(logits, torch.tensor([0, 1]))
