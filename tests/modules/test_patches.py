"""Patch tokens with a class token, masked patches, and the embedding of a modality."""

from __future__ import annotations

import pytest
import torch

from modules.patches import ImageEmbedding, ModalityEmbedding
from modules.streams import Tokens

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_tokens_are_the_class_token_and_the_patches() -> None:
    module = ImageEmbedding(6, 4, 8, position="absolute")
    tokens = module(IMAGE)
    assert tokens.mask is None
    assert tokens.values.shape == (2, 5, 6)
    assert module.position is not None
    first = module.patch.proj(IMAGE)[:, :, 0, 0] + module.position[:, 1]
    torch.testing.assert_close(tokens.values[:, 1], first)
    torch.testing.assert_close(
        tokens.values[:, 0], (module.cls + module.position[:, :1])[:, 0].expand(2, -1)
    )


def test_masked_patches_become_the_mask_token() -> None:
    module = ImageEmbedding(6, 4, 8, mask_token=True)
    assert module.mask_token is not None
    torch.nn.init.normal_(module.mask_token)
    mask = torch.tensor([[True, False, False, True], [False, False, False, False]])
    masked, plain = module(IMAGE, mask).values, module(IMAGE).values
    torch.testing.assert_close(masked[0, [1, 4]], module.mask_token[0].expand(2, -1))
    assert torch.equal(masked[0, [0, 2, 3]], plain[0, [0, 2, 3]])
    assert torch.equal(masked[1], plain[1])


def test_a_modality_adds_its_row_to_every_token() -> None:
    module = ModalityEmbedding(6, 3)
    tokens = Tokens(torch.randn(2, 4, 6), torch.ones(2, 4, dtype=torch.bool))
    for modality in range(3):
        added = module(tokens, modality=modality)
        assert torch.equal(added.values, tokens.values + module.table.weight[modality])
        assert added.mask is tokens.mask


def test_wrong_use_is_named() -> None:
    with pytest.raises(
        ValueError,
        match="size must be a multiple of patch, but size is 9 and patch is 4",
    ):
        ImageEmbedding(6, 4, 9)
    with pytest.raises(ValueError, match="mask needs `mask_token: true`"):
        ImageEmbedding(6, 4, 8)(IMAGE, torch.zeros(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="modality must be 0 to 1, but is 2"):
        ModalityEmbedding(6)(Tokens(torch.zeros(1, 1, 6)), modality=2)
