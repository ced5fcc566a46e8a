"""Ramps while a network trains: the position of the run gives the value; logged, resumed, and ejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import ListLoader, pair_samples, same_weights

from modules.streams import Tokens
from mplug2.build.compose import compose
from mplug2.build.drawing.diagram import read_diagram
from mplug2.build.dry_run import dry_run
from mplug2.build.eject import eject
from mplug2.network import Network
from mplug2.train.logs import read_log
from mplug2.train.run import fit
from registry import Spec, SpecError, parse_spec, write_spec

SPEC = """
inputs: {image: tokens B 2 16, caption: tokens B 2 16}
modules:
  vision: {use: feature_head, width_in: 16, width: 8}
  text:   {use: feature_head, width_in: 16, width: 8}
  itc:    {use: contrastive}
flow:
  v: vision(image)
  t: text(caption)
  contrast: itc(v, t, all_vision=ema(v), all_text=ema(t), alpha=ALPHA)
goals: {train: {loss: contrast.loss}}
momentum: {decay: 0.5}
"""
RAMP = "ramp(0, 0.4, steps=4)"


def spec(alpha: str, **train: Any) -> Spec:
    options = {
        "engine": "torch",
        "lr": 0.05,
        "warmup": 0,
        "schedule": "constant",
        "log_every": 1,
        **train,
    }
    lines = "\n".join(f"  {key}: {value}" for key, value in options.items())
    return parse_spec(f"{SPEC.replace('ALPHA', alpha)}train:\n{lines}\n", "small.yaml")


def network(alpha: str, **train: Any) -> Network:
    torch.manual_seed(0)
    return compose(spec(alpha, **train))


def batch() -> dict[str, Any]:
    return {name: Tokens(values[:4]) for name, values in pair_samples().items()}


def test_the_position_of_the_run_gives_the_value() -> None:
    net = network(RAMP)
    constants = {alpha: network(str(alpha))(batch())["loss"] for alpha in (0.1, 0.4)}
    assert not torch.equal(constants[0.1], constants[0.4])
    assert torch.equal(net(batch())["loss"], constants[0.4])
    with net.training_at({"steps": 1, "samples": 8, "epochs": 0.3}):
        assert torch.equal(net(batch())["loss"], constants[0.1])
    assert torch.equal(net(batch())["loss"], constants[0.4])


def test_a_run_logs_its_ramps_and_resumes_them(tmp_path: Path) -> None:
    def run(name: str, steps: int, resume: bool = False) -> Path:
        net = network(RAMP, output_dir=str(tmp_path / name), max_steps=steps)
        return fit(net, {"train": ListLoader(pair_samples(), 8, 8)}, resume=resume).last

    last = run("a", 6)
    rows = read_log(tmp_path / "a" / "log.jsonl")
    values = [
        row["ramp/contrast.alpha"] for row in rows if "ramp/contrast.alpha" in row
    ]
    assert values == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.4])
    run("b", 2)
    same_weights(last, run("b", 6, resume=True))


def test_ramps_are_written_drawn_and_ejected() -> None:
    ramped = spec(RAMP)
    assert parse_spec(write_spec(ramped), "small.yaml").flow == ramped.flow
    assert RAMP in read_diagram(ramped).nodes["contrast"].call
    source = eject(ramped)
    scope: dict[str, Any] = {"__name__": "ejected"}
    exec(compile(source, "ejected.py", "exec"), scope)
    torch.manual_seed(0)
    net = scope["Small"]()
    assert torch.equal(net(batch())["loss"], network(RAMP)(batch())["loss"])
    net.position = {"steps": 1}
    assert torch.equal(net(batch())["loss"], network("0.1")(batch())["loss"])


@pytest.mark.parametrize("ramp", ["ramp(0, 1.4, steps=10)", "ramp(1.4, 0, steps=10)"])
def test_both_ends_must_be_in_range(ramp: str) -> None:
    with pytest.raises(
        SpecError, match=r"small.yaml:10:13: .*alpha must be 0 to 1, but is 1.4"
    ):
        dry_run(spec(ramp))
