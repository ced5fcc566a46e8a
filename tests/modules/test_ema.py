"""Momentum shadows follow their students and take no part in training."""

import torch
from torch import nn

from modules.ema import Shadow


def test_update_moves_a_step_towards_the_student() -> None:
    student = nn.Linear(2, 2)
    shadow = Shadow({"a": student}, decay=0.9)
    before = student.weight.detach().clone()
    nn.init.ones_(student.weight)
    shadow.update()
    torch.testing.assert_close(shadow.modules["a"].weight, 0.9 * before + 0.1)
    assert not any(p.requires_grad for p in shadow.modules["a"].parameters())


def test_state_is_restored() -> None:
    student = nn.Linear(2, 2)
    shadow = Shadow({"a": student}, decay=0.5)
    state = {key: value.clone() for key, value in shadow.state_dict().items()}
    nn.init.zeros_(student.weight)
    shadow.update()
    shadow.load_state_dict(state)
    torch.testing.assert_close(shadow.modules["a"].weight, state["a.weight"])


def test_shadow_stays_in_full_precision_beside_a_half_precision_student() -> None:
    student = nn.Linear(2, 2)
    shadow = Shadow({"a": student}, decay=0.999)
    student.bfloat16()
    shadow.update()
    assert shadow.modules["a"].weight.dtype == torch.float32
