"""Self-critical training from a spec: gradient, reward, checkpoints, ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mplug2
from modules.search.sample import sample_search
from modules.streams import Text, Tokens
from mplug2.build.dry_run import dry_run
from mplug2.build.smoke import smoke
from mplug2.data.build import build_loader
from mplug2.data.shapes.write import make_shapes
from mplug2.data.text import Tokenizer
from mplug2.metrics.caption.cider import CiderD
from mplug2.metrics.caption.ptb import tokenize
from mplug2.train.logs import read_log
from mplug2.train.run import train
from registry import UserError, read_spec
from registry.training import training_plan

SPEC = Path(__file__).with_name("scst.yaml")
ROOT = SPEC.parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shapes"
    make_shapes(folder, train=24, val=4, test=1, workers=1)
    return folder


def settings(world: Path, *more: str) -> list[str]:
    data = [
        f"data.{split}.path={world / f'captions_{split}.jsonl'}"
        for split in ("train", "val")
    ]
    return [
        *data,
        f"data.media={world / 'videos'}",
        f"data.tokenizer={world / 'vocab.txt'}",
        *more,
    ]


def prepared(world: Path) -> tuple[Any, dict[str, Any], Any, Tokenizer]:
    """The network, with its judge prepared, and one training batch."""
    spec = read_spec(SPEC, settings(world))
    torch.manual_seed(0)
    net = mplug2.compose(spec)
    loader = build_loader(spec, net.types, training_plan(spec).batches["train"])
    tokenizer = Tokenizer.load(world / "vocab.txt")
    net.attach_data(loader.source, tokenizer.decode)
    return net, next(iter(loader)).inputs, loader.source, tokenizer


def test_the_spec_holds_without_data() -> None:
    spec = read_spec(SPEC)
    assert {row.name for row in dry_run(spec).modules} == {"vision", "decoder", "judge"}
    smoke(spec)


def test_the_gradient_is_the_advantage_times_that_of_the_log_probability(
    world: Path,
) -> None:
    net, batch, source, tokenizer = prepared(world)
    inputs = {name: batch[name] for name in ("video", "video_index", "references")}
    torch.manual_seed(7)
    net(inputs)["loss"].backward()
    torch.manual_seed(7)
    memory = net.get_module("vision")(batch["video"])
    memory = Tokens(memory.values[batch["video_index"]])
    found = sample_search(net.get_module("decoder"), memory, n=3, max_length=6)
    spoken = [
        [tokenize(text) for text in texts]
        for texts in source.task.references(source.items)
    ]
    judge = CiderD(
        [[tokenize(text) for text in given] for given in batch["references"]],
        CiderD(spoken).frequencies,
    )
    expected = torch.zeros(())
    rewards = []
    for row in range(4):
        texts = [tokenizer.decode(ids) for ids in found.ids[row].tolist()]
        reward = judge.score([tokenize(text) for text in texts], [row] * 3)
        rewards += reward
        for i, ids in enumerate(found.ids[row].tolist()):
            words = ids[: ids.index(102) + 1] if 102 in ids else ids
            text = torch.tensor([words])
            one = Tokens(memory.values[row : row + 1])
            logits = net.get_module("decoder")(Text(text, text > -1), one)
            said = logits[0, :-1].log_softmax(dim=-1).gather(1, text[0, 1:, None]).sum()
            expected = (
                expected - (reward[i] - (sum(reward) - reward[i]) / 2) * said / 12
            )
    assert len(set(rewards)) > 1, (
        "without unequal rewards there is no gradient to compare"
    )
    grads = torch.autograd.grad(expected, list(net.parameters()))
    for parameter, grad in zip(net.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad, atol=1e-5, rtol=1e-4)


def test_frequencies_are_kept_by_checkpoints(world: Path, tmp_path: Path) -> None:
    out = f"train.output_dir={tmp_path / 'run'}"
    lines = (world / "captions_train.jsonl").read_text().splitlines()
    (tmp_path / "first.jsonl").write_text("\n".join(lines[:8]))
    first = f"data.train.path={tmp_path / 'first.jsonl'}"
    # One epoch of two steps: within an epoch no other data may be resumed with.
    train(
        read_spec(
            SPEC, settings(world, out, first, "train.batch_size=4", "train.max_steps=2")
        )
    )
    saved = json.loads((tmp_path / "run/last/extra.json").read_text())
    assert saved["judge"]["items"] == len(
        {json.loads(line)["video_id"] for line in lines[:8]}
    )
    # other training data: what was counted at first holds
    (tmp_path / "other.jsonl").write_text("\n".join(lines[8:60]))
    other = f"data.train.path={tmp_path / 'other.jsonl'}"
    train(
        read_spec(
            SPEC, settings(world, out, other, "train.batch_size=4", "train.max_steps=3")
        ),
        resume=True,
    )
    assert json.loads((tmp_path / "run/last/extra.json").read_text()) == saved


def test_resuming_equals_going_on(world: Path, tmp_path: Path) -> None:
    for out, stops in (("whole", [4]), ("part", [2, 4])):
        for steps in stops:
            words = settings(
                world,
                f"train.output_dir={tmp_path / out}",
                f"train.max_steps={steps}",
                "train.schedule=constant",
            )
            train(read_spec(SPEC, words), resume=steps != stops[0])
    first, second = (
        load_file(tmp_path / out / "last/weights.safetensors")
        for out in ("whole", "part")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_judge_without_references_says_so(world: Path) -> None:
    net = mplug2.compose(read_spec(SPEC, settings(world)))
    batch = prepared(world)[1]
    with pytest.raises(UserError, match="net.attach_data"):
        net({name: batch[name] for name in ("video", "video_index", "references")})
    with pytest.raises(UserError, match="reference captions"):
        net.attach_data(object(), str)


def launched(
    world: Path, out: Path, zero: int
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Three steps on two processes: the losses, and the weights at the end."""
    drop = (
        "RANK",
        "WORLD_SIZE",
        "LOCAL_RANK",
        "MASTER_ADDR",
        "MASTER_PORT",
        "DS_ACCELERATOR",
    )
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
    ]
    words = settings(
        world,
        f"train.output_dir={out}",
        "train.max_steps=3",
        f"train.zero={zero}",
        "train.batch_size=2",
    )
    command = [*launcher, "-m", "mplug2", "train", str(SPEC), *words]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [row["loss"] for row in read_log(out / "log.jsonl") if "loss" in row]
    return losses, load_file(out / "last/weights.safetensors")


@pytest.mark.slow
def test_two_processes_compute_the_same_at_every_stage(
    world: Path, tmp_path: Path
) -> None:
    losses, weights = launched(world, tmp_path / "0", 0)
    assert len(losses) == 3 and any(losses)
    for zero in (2, 3):
        found, sharded = launched(world, tmp_path / str(zero), zero)
        assert found == pytest.approx(losses, abs=1e-4)
        for name, tensor in weights.items():
            torch.testing.assert_close(sharded[name], tensor, atol=1e-4, rtol=0)
