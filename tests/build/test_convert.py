"""`mplug2 convert`: released files to our weights and back, with and without the original."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

import mplug2
from mplug2.build.convert import export_file, import_file
from mplug2.cli.app import app
from mplug2.weights.files import read_released
from mplug2.weights.store import load_weights, save_weights
from registry import KEY_MAPS, UserError

SPEC = """
inputs: {image: image B 3 H W, caption: text B L, media_id: index B}
modules:
  vision: {use: image_vit, width: 32, heads: 2, depth: 2, patch: 8, size: 16}
  words: {use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}
  text: {use: text_encoder, width: 32, heads: 2, hidden: 64, depth: 2}
  fusion: {use: fusion, width: 32, heads: 2, hidden: 64, depth: 2}
  to_v: {use: feature_head, width_in: 32, width: 8}
  to_t: {use: feature_head, width_in: 32, width: 8}
  bank: {use: feature_queue, width: 8, size: 6}
  contrast: {use: contrastive}
  mine: {use: hard_negatives}
  match: {use: class_head, width: 32, classes: 2, depth: 1}
flow:
  visual: vision(image)
  spoken: words(caption)
  asked: text(spoken)
  v: to_v(visual)
  t: to_t(asked)
  stored: bank(ema(v), ema(t), media_id)
  itc: contrast(v, t, media_id, stored.vision, stored.text, stored.group)
  hard: mine(itc.vision_to_text, itc.text_to_vision, media_id)
  v3: gather_rows(visual, hard.vision)
  t3: gather_rows(asked, hard.text)
  pairs: fusion(text=t3, vision=v3)
  verdict: match(pairs.text)
  itm: cross_entropy(verdict, target=hard.label)
  loss: weighted_sum(itc.loss, itm, weights=[1.0, 1.0])
goals: {train: {loss: loss}}
momentum: {decay: 0.9}
"""
ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ", ".join(name for name in KEY_MAPS.names() if name != "checkpoint")
KERNEL = "text_encoder.encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "retrieval.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def original(spec: Path, tmp_path: Path) -> Path:
    """A released file in half precision, wrapped, with keys that the network does not hold and EMA copies."""
    torch.manual_seed(0)
    net = mplug2.compose(spec, initial=False)
    for copied in net.ema_state_dict().values():
        copied.normal_()
    save_weights(net, tmp_path / "ours.safetensors")
    export_file(tmp_path / "ours.safetensors", spec, tmp_path / "plain.pth", "mplug")
    tensors = dict(read_released(tmp_path / "plain.pth").tensors)
    dead = {
        "visual_encoder.token_embedding.weight": torch.randn(20, 4),
        "visual_encoder_m.visual.class_embedding": torch.randn(32),
        "fusion_encoder.embeddings.position_ids": torch.arange(16)[None],
        "fusion_encoder.encoder.layer.0.output.dense.bias": torch.randn(32),
        KERNEL.replace("encoder.", "encoder_m.", 1): torch.randn(32, 32),
    }
    halves = {}
    for key, value in (dead | tensors).items():
        halves[f"module.{key}"] = value.half() if value.is_floating_point() else value
    torch.save({"epoch": 3, "state_dict": halves}, tmp_path / "original.pth")
    return tmp_path / "original.pth"


def raw(path: Path) -> dict[str, Tensor]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    assert set(content) == {"state_dict"}
    return dict(content["state_dict"])


def assert_equal(path: Path, original: Path) -> None:
    back, expected = raw(path), raw_original(original)
    assert list(back) == list(expected)
    for key, value in expected.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value), key


def raw_original(path: Path) -> dict[str, Tensor]:
    return dict(torch.load(path, weights_only=True)["state_dict"])


def test_there_and_back_by_the_command(
    spec: Path, original: Path, tmp_path: Path
) -> None:
    ours, back = tmp_path / "converted.safetensors", tmp_path / "back.pth"
    run = CliRunner()
    read = ["convert", str(original), str(ours), "--from", "mplug", "--spec", str(spec)]
    done = run.invoke(app, read)
    assert done.exit_code == 0, done.output
    assert all(
        value.dtype == torch.float32
        for key, value in load_file(ours).items()
        if "bank" not in key
    )
    done = run.invoke(
        app, ["convert", str(ours), str(back), "--spec", str(spec), "--to", "mplug"]
    )
    assert done.exit_code == 0, done.output
    assert (
        f"original: {original}" in done.output
        and "copied from the original" in done.output
    )
    assert_equal(back, original)
    load_weights(mplug2.compose(spec, initial=False), ours)  # counters may be absent


def test_an_original_that_moved_is_named(
    spec: Path, original: Path, tmp_path: Path
) -> None:
    ours, back = tmp_path / "converted.safetensors", tmp_path / "back.pth"
    import_file(original, spec, ours, "mplug")
    moved = original.rename(tmp_path / "moved.pth")
    text = export_file(ours, spec, back, "mplug")
    assert f"original: {original} does not exist" in text
    tensors = read_released(back).tensors
    assert tensors[KERNEL].dtype == torch.float16
    assert "visual_encoder.token_embedding.weight" not in tensors
    export_file(ours, spec, back, "mplug", like=moved)
    assert_equal(back, moved)
    torch.save({"model": {KERNEL: torch.zeros(32, 32)}}, original)
    assert f"original: {original} is another file now" in export_file(
        ours, spec, back, "mplug"
    )


def test_a_checkpoint_writes_its_ema_copies_and_changed_weights(
    spec: Path, original: Path, tmp_path: Path
) -> None:
    import_file(original, spec, tmp_path / "converted.safetensors", "mplug")
    run = tmp_path / "run" / "best"
    run.mkdir(parents=True)
    weights = load_file(tmp_path / "converted.safetensors")
    weights["mine.step"] = torch.zeros(1, dtype=torch.long)
    name = "text.layers.0.attention.query.weight"
    weights[name] = weights[name] + 1
    save_file(weights, run / "weights.safetensors")
    twin = KERNEL.replace("encoder.", "encoder_m.", 1)
    stored = read_released(original).tensors
    # Without EMA copies: the copy of a changed weight is that weight, all others are the original's.
    export_file(tmp_path / "run", spec, tmp_path / "out.pth", "mplug", like=original)
    written = read_released(tmp_path / "out.pth").tensors
    assert torch.equal(written[KERNEL], weights[name].half())
    assert torch.equal(written[twin], weights[name].half())
    assert torch.equal(
        written["visual_encoder_m.visual.class_embedding"],
        stored["visual_encoder_m.visual.class_embedding"],
    )
    assert list(written) == list(stored)
    save_file({name: torch.full((32, 32), 7.0)}, run / "momentum.safetensors")
    export_file(tmp_path / "run", spec, tmp_path / "out.pth", "mplug", like=original)
    assert torch.equal(
        read_released(tmp_path / "out.pth").tensors[twin],
        torch.full((32, 32), 7.0).half(),
    )


def test_without_an_original_the_file_holds_what_the_network_has(
    spec: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = mplug2.compose(spec, initial=False)
    save_weights(net, tmp_path / "ours.safetensors")
    for suffix in (".pth", ".safetensors"):
        text = export_file(
            tmp_path / "ours.safetensors", spec, tmp_path / f"out{suffix}", "mplug"
        )
        assert "original: none" in text and "dropped" in text and "mine.step" in text
        tensors = read_released(tmp_path / f"out{suffix}").tensors
        assert torch.equal(
            tensors["text_encoder.embeddings.position_ids"], torch.arange(16)[None]
        )
        assert torch.equal(tensors["image_queue"], net.get_buffer("bank.vision").T)
        assert tensors["temp"].shape == ()
        # The release stores 12 fusion layers and runs the last ones.
        assert (
            "fusion_encoder.encoder.layer.11.crossattention.self.query.weight"
            in tensors
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["in.pth", "out.pth", "--to", "bert"],
            "bert: this family cannot be written: several modules begin",
        ),
        (
            ["in.pth", "out.pth", "--to", "mplug3"],
            f"must be one of {FAMILIES} (got 'mplug3'); did",
        ),
        (
            ["in.pth", "out.pth", "--to", "own"],
            f"must be one of {FAMILIES} (got 'own')",
        ),
        (
            ["in.pth", "out.npz", "--to", "mplug"],
            "out.npz: the released file must end in .pth",
        ),
        (["in.pth", "out.pth"], "out.pth: the converted file must end in .safetensors"),
        (
            ["in.pth", "out.pth", "--from", "mplug", "--to", "mplug"],
            "--from and --to exclude each other",
        ),
        (["in.pth", "out.safetensors", "--like", "x.pth"], "--like needs --to"),
        (["in.pth", "out.pth", "--to", "mplug"], "in.pth must be a checkpoint folder"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str, spec: Path) -> None:
    done = CliRunner().invoke(app, ["convert", *arguments, "--spec", str(spec)])
    assert done.exit_code == 2
    assert message in done.output.replace("\n", " ")


def test_weights_of_another_network_are_refused(
    spec: Path, original: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "converted.safetensors"
    import_file(original, spec, ours, "mplug")
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.replace("classes: 2", "classes: 3"))
    with pytest.raises(
        UserError, match=r"does not fit this network: 2 weights differ(.|\n)*match.out"
    ):
        export_file(ours, other, tmp_path / "back.pth", "mplug")
    assert not (tmp_path / "back.pth").exists()


def test_a_folder_that_cannot_be_written_is_named(
    spec: Path, original: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        import_file(original, spec, tmp_path / "file" / "ours.safetensors", "mplug")


@pytest.mark.parametrize(
    ("tool", "options"),
    [("convert_mplug2", ["--from", "mplug"]), ("convert_mplug", [])],
)
def test_the_documented_tools_are_the_command(
    tool: str,
    options: list[str],
    spec: Path,
    original: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = tmp_path / "ours.safetensors"
    arguments = [f"{tool}.py", str(original), str(ours), *options, "--spec", str(spec)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")
    assert not end.value.code and ours.is_file()
