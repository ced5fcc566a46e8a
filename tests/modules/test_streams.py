"""Operations on values of any class: tuples, mappings, and the dataclasses that plug-ins may use."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modules.streams import Text, detach, to_device


@dataclass(frozen=True)
class Pair:
    left: Tensor
    name: str


def test_tensors_in_dataclasses_are_found() -> None:
    pair = Pair(torch.ones(2, requires_grad=True) * 2, "a")
    detached = detach({"pairs": [pair]})["pairs"][0]
    assert detached.name == "a"
    assert not detached.left.requires_grad
    assert to_device(pair, "meta").left.is_meta


def test_named_tuples_keep_their_class() -> None:
    text = Text(torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.bool))
    assert isinstance(to_device(text, "meta"), Text)
