"""Every engine trains a transposed tie like one weight that is used twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_runs import WIDTH, Case, wrap
from torch import Tensor, nn
from torch.nn import functional as F

from modules.tying import tie_transposed

INNER = 300


class Tied(nn.Module):
    """A projection and its transpose."""

    def __init__(self, explicit: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Linear(WIDTH, INNER)
        self.down = nn.Linear(INNER, WIDTH)
        self.explicit = explicit
        if explicit:
            del self.down.weight
        else:
            tie_transposed(self.down, "weight", self.up, "weight")

    def forward(
        self, batch: dict[str, Tensor], goal: str = "train"
    ) -> dict[str, Tensor]:
        hidden = torch.tanh(self.up(batch["x"]))
        if self.explicit:
            outputs = F.linear(hidden, self.up.weight.T, self.down.bias)
        else:
            outputs = self.down(hidden)
        return {"loss": outputs.pow(2).mean()}


def train(net: Any, case: Case) -> dict[str, Tensor]:
    engine = wrap(net, case)
    x = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        engine.backward(engine({"x": x})["loss"])
        assert engine.step(0.5).taken
    return {
        name: engine.consolidate(name).clone() for name in ("up.weight", "down.bias")
    }


@pytest.mark.parametrize(
    "case",
    [Case("torch"), Case("deepspeed"), Case("deepspeed", 2), Case("deepspeed", 3)],
)
def test_engines_train_both_uses_of_the_weight(case: Case) -> None:
    expected = train(Tied(explicit=True), Case("torch"))
    trained = train(Tied(), case)
    for name, value in expected.items():
        torch.testing.assert_close(
            trained[name].cpu(), value.cpu(), atol=1e-5, rtol=1e-4
        )
