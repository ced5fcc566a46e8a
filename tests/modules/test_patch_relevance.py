"""The patch predictor: its formula, what is shared between patches, and what each patch gets."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from modules.patch_relevance import PatchRelevance
from modules.streams import Tokens

WIDTH, TEXT_WIDTH = 8, 6


def module() -> PatchRelevance:
    torch.manual_seed(0)
    return PatchRelevance(WIDTH, TEXT_WIDTH)


def test_half_of_each_patch_is_replaced_by_the_mean_and_joined_with_the_text() -> None:
    head = module()
    patches, text = torch.randn(2, 5, WIDTH), torch.randn(2, 3, TEXT_WIDTH)
    logits = head(Tokens(patches), Tokens(text))
    assert logits.shape == (2, 4, 2)
    for row in range(2):
        x = F.gelu(head.dense(F.layer_norm(patches[row, 1:], (WIDTH,))))
        for patch in range(4):
            joined = torch.cat(
                [x[patch, : WIDTH // 2], x[:, WIDTH // 2 :].mean(dim=0), text[row, 0]]
            )
            expected = head.out(F.gelu(head.reduce(F.gelu(head.join(joined)))))
            torch.testing.assert_close(
                logits[row, patch], expected, atol=1e-5, rtol=1e-4
            )


def test_neither_the_class_token_nor_later_words_are_read() -> None:
    head = module()
    patches, text = torch.randn(1, 5, WIDTH), torch.randn(1, 3, TEXT_WIDTH)
    logits = head(Tokens(patches), Tokens(text))
    patches[:, 0] += 1
    text[:, 1:] += 1
    torch.testing.assert_close(head(Tokens(patches), Tokens(text)), logits)
    text[:, 0] += 1
    assert not torch.allclose(head(Tokens(patches), Tokens(text)), logits)


def test_a_width_that_cannot_be_quartered_is_refused() -> None:
    with pytest.raises(ValueError, match="width must be a multiple of 4, but is 6"):
        PatchRelevance(6, TEXT_WIDTH)
