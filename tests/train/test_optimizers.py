"""Every registered optimizer learns, leaves out what has no gradient, resumes, and runs in every engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from torch import nn

import mplug2
from mplug2.runtime import distributed
from mplug2.train.engines.base import start_engine
from mplug2.train.optim import build_optimizer
from mplug2.train.optimizers.lion import Lion
from mplug2.train.optimizers.muon import MuonWithAdamW
from mplug2.train.optimizers.uniter_adamw import UniterAdamW
from registry import OPTIMIZERS, Problem, UserError, check, parse_spec
from registry.language.schema import with_defaults

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "tests" / "objectives" / "scst.yaml"
NAMES = [*OPTIMIZERS.names(), "timm:lamb", "torch.optim:RAdam"]


class Net(nn.Module):
    """A matrix, an embedding, a bias and a norm; the goal `half` does not reach `other`."""

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(5, 6)
        self.fc = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.other = nn.Linear(6, 6)

    def forward(
        self, batch: dict[str, torch.Tensor], goal: str = "train"
    ) -> dict[str, torch.Tensor]:
        hidden = self.norm(self.fc(self.word(batch["ids"])))
        if goal != "half":
            hidden = hidden + self.other(hidden)
        return {"loss": (hidden - batch["y"]).pow(2).mean()}


def settings(name: Any, **train: Any) -> dict[str, Any]:
    return with_defaults(
        "train", {"optimizer": name, "lr": 3e-3, "weight_decay": 0.01, **train}
    )


def batch() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {"ids": torch.arange(5), "y": torch.randn(5, 6, generator=draw)}


def network() -> Net:
    torch.manual_seed(0)
    return Net()


def train(net: nn.Module, engine: Any, steps: int, goal: str = "train") -> list[float]:
    losses = []
    for _ in range(steps):
        loss = engine(batch(), goal=goal)["loss"]
        engine.backward(loss)
        assert engine.step(None).taken
        losses.append(loss.item())
    return losses


def engine_of(net: nn.Module, name: Any, **train: Any) -> Any:
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    chosen = settings(name, **train)
    return start_engine(net, build_optimizer(net, chosen), chosen)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name: str) -> None:
    net = network()
    losses = train(net, engine_of(net, name, engine="torch"), 30)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_gradient_stays_and_the_rest_resumes(
    name: str, tmp_path: Path
) -> None:
    net = network()
    engine = engine_of(net, name, engine="torch")
    train(net, engine, 2)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    train(net, engine, 2, goal="half")
    assert torch.equal(net.other.weight, before["other.weight"])
    assert torch.equal(net.other.bias, before["other.bias"])
    assert not torch.equal(net.fc.weight, before["fc.weight"])
    engine.save(tmp_path)
    resumed_net = network()
    resumed_net.load_state_dict(net.state_dict())
    resumed = engine_of(resumed_net, name, engine="torch")
    resumed.load(tmp_path)
    assert train(net, engine, 3) == train(resumed_net, resumed, 3)
    for key, value in net.state_dict().items():
        assert torch.equal(resumed_net.state_dict()[key], value), key


STAGES = [(name, zero) for name in NAMES for zero in (0, 1, 2, 3)]
QUICK = [(name, zero) for name, zero in STAGES if zero == 2 or name == "adamw"]


@pytest.mark.parametrize(("name", "zero"), mostly_slow(STAGES, QUICK))
def test_deepspeed_takes_the_same_steps(name: str, zero: int) -> None:
    expected_net, net = network(), network()
    expected = train(expected_net, engine_of(expected_net, name, engine="torch"), 2)
    engine = engine_of(net, name, engine="deepspeed", zero=zero)
    losses = train(net, engine, 2)
    assert losses == pytest.approx(expected, rel=1e-5)
    before = engine.consolidate("other.weight").clone()
    train(net, engine, 1, goal="half")
    assert torch.equal(engine.consolidate("other.weight"), before)


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_wrapping_keeps_the_parameters_of_each_group(zero: int) -> None:
    """Tokens, positions and the temperature are in groups without decay, before and after wrapping."""
    spec = ROOT / "configs_image" / "retrieval_shapes_tiny.yaml"
    net = mplug2.compose(spec, initial=False)
    no_decay = ["*bias", "*norm*.weight", "*.cls", "*position*", "*temperature"]
    engine = engine_of(
        net,
        "adamw",
        engine="deepspeed",
        zero=zero,
        no_decay=no_decay,
        lr={"default": 1e-3, "vision": 1e-4},
    )
    parameters = dict(net.named_parameters())
    seen = []
    for group in engine.optimizer.param_groups:
        assert group["weight_decay"] == (
            0.0 if group["name"].endswith("no decay") else 0.01
        )
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            assert torch.equal(
                parameter, engine.consolidate(parameters[name]).view_as(parameter)
            ), name
            assert name.startswith("vision.") == group["name"].startswith("vision")
            ends = ("bias", ".cls", "position", "position.weight", "temperature")
            exempt = name.endswith(ends) or "norm" in name
            assert group["name"].endswith("no decay") == exempt, name
            seen.append(name)
    assert sorted(seen) == sorted(parameters)


def test_options_reach_the_optimizer() -> None:
    optimizer = build_optimizer(network(), settings({"name": "sgd", "momentum": 0.5}))
    assert all(group["momentum"] == 0.5 for group in optimizer.param_groups)
    optimizer = build_optimizer(
        network(), settings({"name": "adamw", "betas": [0.5, 0.6]})
    )
    assert all(group["betas"] == (0.5, 0.6) for group in optimizer.param_groups)


def test_muon_steps_matrices_and_adamw_the_rest() -> None:
    optimizer = build_optimizer(network(), settings("muon"))
    assert isinstance(optimizer, MuonWithAdamW)
    by_muon = [
        name
        for group in optimizer.param_groups
        if group["use_muon"]
        for name in group["param_names"]
    ]
    assert by_muon == ["fc.weight", "other.weight"]


def test_lion_moves_by_the_sign() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Lion([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.tensor([3.0, -0.01])
    optimizer.step()
    # The decay is 5 %, and the step 0.1 against the sign of the gradient.
    assert torch.allclose(weight, torch.tensor([0.95 - 0.1, -1.9 + 0.1]))


def test_uniters_adamw_adds_epsilon_before_the_correction() -> None:
    """At the first step both moments are corrected to the gradient g: the step is lr g / (|g| + eps / c)."""
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = UniterAdamW(
        [weight], lr=0.1, betas=(0.9, 0.98), eps=1e-3, weight_decay=0.5
    )
    gradient = torch.tensor([2.0, 1e-3])
    weight.grad = gradient.clone()
    optimizer.step()
    stepped = 1.0 - 0.1 * gradient / (gradient + 1e-3 / (1 - 0.98) ** 0.5)
    torch.testing.assert_close(weight.detach(), stepped - 0.1 * 0.5 * stepped)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope:Adam", r"train.optimizer: 'nope:Adam' cannot be imported"),
        ("torch.optim:Adm", r"train.optimizer: 'torch.optim:Adm' cannot be imported"),
        ("timm:lmab", r"timm has no optimizer \(got 'lmab'\). Did you mean 'lamb'\?"),
        (
            {"name": "torch.optim:Adam", "lrr": 1},
            r"'torch.optim:Adam' cannot be built \(.*lrr",
        ),
    ],
)
def test_what_cannot_be_built_is_named(name: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer(network(), settings(name))


class Forgetful(torch.optim.SGD):
    """Steps only the first parameter of each group."""

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(
            [{**group, "params": group["params"][:1]} for group in groups], lr=0.1
        )


def test_a_factory_that_drops_parameters_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "forgetful", sys.modules[__name__])
    with pytest.raises(
        UserError,
        match=r"must hold each parameter once \(got 'fc.bias' 0 times\)|fc.weight",
    ):
        build_optimizer(network(), settings("forgetful:Forgetful"))


def problems(train: str) -> list[Problem]:
    """The problems of a `train` section in a spec that is complete otherwise."""
    text = SPEC.read_text(encoding="utf-8").replace(
        "\ntrain: {", f"\ntrain: {{{train[1:-1]}, "
    )
    return list(check(parse_spec(text, "spec.yaml")).problems)


@pytest.mark.parametrize(
    ("train", "message", "hint"),
    [
        ("{optimizer: adamv}", "unknown optimizer 'adamv'", "did you mean 'adamw'?"),
        (
            "{optimizer: {name: addamw}}",
            "unknown optimizer 'addamw'",
            "did you mean 'adamw'?",
        ),
        (
            "{optimizer: {momentum: 0.5}}",
            "'train.optimizer' must have a name",
            "`optimizer: {name: adamw, ...}`",
        ),
        (
            "{optimizer: {name: sgd, momentun: 0.5}}",
            "unknown option of optimizer 'sgd': 'momentun'",
            "did you mean 'momentum'?",
        ),
        (
            "{optimizer: {name: sgd, momentum: high}}",
            "option 'momentum' of optimizer 'sgd' must be float, but is 'high'",
            "",
        ),
        (
            "{optimizer: 'nowhere:Adam'}",
            "optimizer 'nowhere:Adam' must name a module, but there is no module 'nowhere'",
            "`torch.optim:Adam`, `timm:lamb`, or `package.module:Class`",
        ),
        (
            "{engine: deepsped}",
            "unknown engine 'deepsped'",
            "did you mean 'deepspeed'?",
        ),
        ("{optimizer: 'torch.optim:Adam'}", None, ""),
        ("{optimizer: 'timm:lamb', engine: torch}", None, ""),
    ],
)
def test_check_finds_wrong_names_and_options(
    train: str, message: str | None, hint: str
) -> None:
    found = problems(train)
    assert [(p.message, p.hint) for p in found] == (
        [] if message is None else [(message, hint)]
    )
