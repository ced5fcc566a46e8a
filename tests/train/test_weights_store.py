"""Weights files: written by ourselves, read by safetensors, loaded all or nothing."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from train_fakes import FakeNet, spec

from mplug2.runtime.safetensors_writer import Entry, in_file_order, write_safetensors
from mplug2.weights.store import load_weights, save_weights
from registry.errors import UserError


def test_what_is_written_is_what_safetensors_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "flag": torch.tensor([True, False, True]),
        "half": torch.randn(3, 5).bfloat16(),
        "scalar": torch.tensor(7),
        "turned": torch.randn(4, 3).T,
        "none": torch.zeros(0, 4),
    }
    entries = in_file_order(
        Entry(name, t.dtype, tuple(t.shape)) for name, t in tensors.items()
    )
    write_safetensors(
        tmp_path / "x.safetensors", entries, (tensors[entry.name] for entry in entries)
    )
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)


def test_a_tensor_that_is_not_as_announced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x must be"):
        write_safetensors(
            tmp_path / "x", [Entry("x", torch.float32, (2,))], [torch.zeros(3)]
        )


def test_weights_round_trip_with_tied_weights_and_buffers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    one, two = FakeNet(spec(tmp_path)), FakeNet(spec(tmp_path))
    one.seen += 5
    save_weights(one, tmp_path / "w.safetensors")
    assert "twin.weight" not in load_file(tmp_path / "w.safetensors")  # tied: once
    load_weights(two, tmp_path / "w.safetensors")
    for (name, expected), (_, found) in zip(
        one.state_dict().items(), two.state_dict().items(), strict=True
    ):
        assert torch.equal(expected, found), name


def test_another_architecture_gets_the_table_and_nothing_is_loaded(
    tmp_path: Path,
) -> None:
    net = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 1)})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    stored = {
        "a.weight": torch.zeros(3, 2),
        "a.bias": torch.zeros(4),
        "b.weight": torch.zeros(1, 3),
        "c.bias": torch.zeros(1),
    }
    save_file(stored, tmp_path / "other.safetensors")
    with pytest.raises(UserError) as caught:
        load_weights(net, tmp_path / "other.safetensors")
    lines = str(caught.value).splitlines()
    assert "does not fit this network: 3 weights differ, nothing was loaded" in lines[0]
    assert [line.split() for line in lines[1:]] == [
        ["unexpected", "c.bias", "file", "1"],
        ["shape", "a.bias", "network", "3,", "file", "4"],
        ["missing", "b.bias", "network", "1"],
    ]
    assert all(
        torch.equal(value, before[name]) for name, value in net.state_dict().items()
    )


def test_a_pickle_is_refused_and_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="must be a safetensors file"):
        load_weights(nn.Linear(1, 1), tmp_path / "w.pth")
    assert not (tmp_path / "exploded").exists()


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be a checkpoint folder"):
        load_weights(nn.Linear(1, 1), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            torch.tensor([[1.0, torch.nan], [torch.inf, 0.0]]),
            "must be finite, but 2 of 4 values are NaN",
        ),
        (
            torch.ones(2, 2, dtype=torch.int64),
            r"must hold floating-point numbers \(got int64\)",
        ),
    ],
)
def test_weights_that_no_training_wrote_are_refused(
    tmp_path: Path, value: torch.Tensor, message: str
) -> None:
    net = nn.ModuleDict({"a": nn.Linear(2, 2)})
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    save_file({"a.weight": value, "a.bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=f"w.safetensors: weight a.weight {message}"):
        load_weights(net, tmp_path / "w.safetensors")
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, before[name])
