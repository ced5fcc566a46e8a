"""Averaged copies follow their students and take no part in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modules.ema import EMA


def test_update_moves_a_step_towards_the_student() -> None:
    student = nn.Linear(2, 2)
    ema = EMA({"a": student}, decay=0.9)
    before = student.weight.detach().clone()
    nn.init.ones_(student.weight)
    ema.update()
    torch.testing.assert_close(ema.modules["a"].weight, 0.9 * before + 0.1)
    assert not any(p.requires_grad for p in ema.modules["a"].parameters())


def test_state_is_restored() -> None:
    student = nn.Linear(2, 2)
    ema = EMA({"a": student}, decay=0.5)
    state = {key: value.clone() for key, value in ema.state_dict().items()}
    nn.init.zeros_(student.weight)
    ema.update()
    ema.load_state_dict(state)
    torch.testing.assert_close(ema.modules["a"].weight, state["a.weight"])


def test_copies_stay_in_full_precision_next_to_a_half_precision_student() -> None:
    student = nn.Linear(2, 2)
    ema = EMA({"a": student}, decay=0.999)
    student.bfloat16()
    ema.update()
    assert ema.modules["a"].weight.dtype == torch.float32


def test_masters_are_averaged_and_not_the_rounded_weights() -> None:
    student = nn.Linear(2, 2)
    masters = {"weight": torch.full((2, 2), 1.0), "bias": torch.full((2,), 1.0)}
    student.load_state_dict(masters)
    ema = EMA({"a": student}, decay=0.5)
    student.bfloat16()
    names = {id(parameter): name for name, parameter in student.named_parameters()}

    def master(parameter: Tensor) -> Tensor:
        return masters[names[id(parameter)]]

    for value in masters.values():
        value += 2**-13  # bf16 rounds this away.
    ema.update(master=master)
    torch.testing.assert_close(
        ema.modules["a"].weight, torch.full((2, 2), 1 + 2**-14), rtol=1e-7, atol=0
    )


def test_batch_statistics_are_copied() -> None:
    student = nn.BatchNorm1d(3)
    ema = EMA({"a": student}, decay=0.999)
    student(torch.randn(8, 3) * 5 + 2)
    ema.update(decay=0.0)
    average = ema.modules["a"].eval()
    inputs = torch.randn(4, 3)
    torch.testing.assert_close(average(inputs), student.eval()(inputs))
    assert torch.equal(average.running_var, student.running_var)
    assert torch.equal(average.num_batches_tracked, student.num_batches_tracked)
