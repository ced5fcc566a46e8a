"""Frozen modules are in eval mode; what is frozen for a while trains afterwards, resumed or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from safetensors.torch import load_file
from small_runs import ListLoader, class_samples, same_weights
from torch import Tensor, nn

from modules.streams import Tokens
from mplug2.build.compose import compose
from mplug2.freezing import END, Freezer
from mplug2.network import Network
from mplug2.train.run import fit
from registry import SpecError, parse_spec

SPEC = """
inputs: {x: tokens B 2 16, y: labels B}
modules:
  body: {use: project, width_in: 16, width: 16, dropout: DROPOUT}
  head: {use: class_head, width: 16, classes: 5, dropout: 0.0}
flow:
  hidden: body(x)
  logits: head(hidden)
  loss:   cross_entropy(logits, target=y)
goals: {train: {loss: loss}, predict: {hidden: hidden}}
"""
ENGINES = [("torch", 0), ("deepspeed", 0), ("deepspeed", 3)]


def network(freeze: str, dropout: float = 0.0, **train: Any) -> Network:
    options = {"lr": 0.05, "warmup": 0, "schedule": "constant", "log_every": 1, **train}
    lines = "\n".join(f"  {key}: {value}" for key, value in options.items())
    text = (
        SPEC.replace("DROPOUT", str(dropout)) + f"freeze: {freeze}\ntrain:\n{lines}\n"
    )
    torch.manual_seed(0)
    return compose(parse_spec(text, "small.yaml"))


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "weights.safetensors")


def run(net: Network, resume: bool = False) -> Path:
    return fit(net, {"train": ListLoader(class_samples(), 8, 8)}, resume=resume).last


def test_a_frozen_teacher_with_dropout_gives_the_same_bits_twice() -> None:
    x = {"x": Tokens(torch.randn(2, 2, 16))}
    teacher = network("[body]", dropout=0.5).train()
    first, second = (teacher(x, "predict")["hidden"].values for _ in range(2))
    assert torch.equal(first, second)
    assert not teacher.get_module("body").training
    assert teacher.get_module("head").training
    student = network("[head]", dropout=0.5).train()
    first, second = (student(x, "predict")["hidden"].values for _ in range(2))
    assert not torch.equal(first, second)


def test_modules_are_frozen_as_long_as_all_of_their_parameters() -> None:
    block = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(), nn.Linear(2, 2))
    net = nn.ModuleDict({"a": block, "b": nn.Linear(2, 2)})
    assert Freezer(net, ["a"]).modules(END) == ["a", "a.0", "a.1", "a.2"]
    assert Freezer(net, ["a.0", "a.1"]).modules(END) == ["a.0", "a.1"]
    assert Freezer(net, ["*.weight"]).modules(END) == []
    assert Freezer(net, ["!b"]).modules(END) == ["a", "a.0", "a.1", "a.2"]
    staged = Freezer(net, {"a": {"until": 5}, "a.0": True, "a.2.bias": False})
    assert staged.ends == [5]
    assert (staged.modules(4), staged.modules(5)) == (["a.0", "a.1"], ["a.0"])
    assert len(staged.parameters(4)) == 3


@pytest.mark.parametrize(("engine", "zero"), mostly_slow(ENGINES, [("torch", 0)]))
def test_a_module_trains_after_its_last_frozen_iteration(
    engine: str, zero: int, tmp_path: Path
) -> None:
    first = network("{body: {until: 3}}")
    start = {name: value.clone() for name, value in first.state_dict().items()}
    options = {
        "engine": engine,
        "zero": zero,
        "save_every": "{steps: 1}",
        "keep_last": 9,
    }
    last = run(
        network(
            "{body: {until: 3}}", output_dir=str(tmp_path / "a"), max_steps=5, **options
        )
    )
    third, fourth = (weights(last.parent / f"step_{step:08d}") for step in (3, 4))
    assert torch.equal(third["body.linear.weight"], start["body.linear.weight"])
    head = [name for name in third if name.startswith("head.")]
    assert head
    assert not all(torch.equal(third[name], start[name]) for name in head)
    assert not torch.equal(fourth["body.linear.weight"], start["body.linear.weight"])
    # The run stops while the module is frozen, and continues past the end.
    run(
        network(
            "{body: {until: 3}}", output_dir=str(tmp_path / "b"), max_steps=2, **options
        )
    )
    longer = network(
        "{body: {until: 3}}", output_dir=str(tmp_path / "b"), max_steps=5, **options
    )
    resumed = run(longer, resume=True)
    same_weights(last, resumed)


def test_the_log_says_how_many_parameters_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(
        network(
            "{body: {until: 2}}", output_dir=str(tmp_path), max_steps=3, engine="torch"
        )
    )
    printed = capsys.readouterr().out
    assert "from iteration 3: 0.00 M parameters train" in printed
    assert "step 3: 0.00 M of 0.00 M parameters train now" in printed


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("{body: {until: 0}}", r"small.yaml:11:16: .*at least 1 \(got 0\)"),
        (
            "{body: {until: 3.5}}",
            r"'until' must be a number of iterations, at least 1 \(got 3.5\)",
        ),
        ("{body: {untill: 3}}", r"takes the key 'until' alone \(got 'untill'\)"),
        ("{body: 3}", r"must be true, false or \{until: ITERATIONS\}, but is 3"),
        (
            "{bdoy: {until: 3}}",
            r"small.yaml:11:10: 'bdoy' matches nothing.*\n.*\n.*\n.*did you mean 'body'",
        ),
        (
            "{'!head.x': {until: 3}}",
            r"freeze pattern '!head.x' must match a parameter, but matches none",
        ),
        (
            "{'*': {until: 3}}",
            r"no parameter trains before iteration 3: 'freeze' matches all of them",
        ),
    ],
)
def test_wrong_freezes_are_located(freeze: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        network(freeze)
