"""Ejected networks: plain PyTorch with the same names of weights and the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ejected import assert_same_network as same
from ejected import ejected_network as written
from small_specs import ROOT, SHIPPED_PARAMETERS, TEACHER, small
from typer.testing import CliRunner

import mplug2
from mplug2.build.eject import eject
from mplug2.build.smoke import tiny_batch
from mplug2.cli.app import app
from registry import SpecError, parse_spec

TINY = ROOT / "configs_video" / "VideoQA_shapes_tiny.yaml"


@pytest.mark.parametrize("file", SHIPPED_PARAMETERS)
def test_shipped_specs_give_the_same_bits(file: Path, tmp_path: Path) -> None:
    spec = small(file)
    same(spec, written(spec, tmp_path))


def test_momentum_freeze_and_tie_are_written_out(tmp_path: Path) -> None:
    tie = "tie={text_embedding.word.weight: decoder.embedding.word.weight}"
    spec = small(TINY, *TEACHER, "freeze=[vision.stem, '*.latents']", tie)
    net: Any = written(spec, tmp_path)
    same(spec, net)
    assert net.text_embedding.word.weight is net.decoder.embedding.word.weight
    assert not net.vision.stem.cls.requires_grad
    before = net.ema.modules["text"].layers[0].feed.up.weight.clone()
    with torch.no_grad():
        net.text.layers[0].feed.up.weight.add_(1.0)
    net.update_ema()
    torch.testing.assert_close(
        net.ema.modules["text"].layers[0].feed.up.weight, before + 0.1
    )


def test_names_that_python_or_torch_has_taken(tmp_path: Path) -> None:
    spec = parse_spec(
        """
inputs: {self: text B L, take: index B -> B}
modules: {train: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 32},
          lambda_: {use: text_encoder, width: 8, depth: 1}}
flow:
  batch:  train(self)
  concat: take(batch, take)
  dtype:  lambda_(concat)
  both:   concat(dtype, dtype)
goals: {predict: {in: both}}
""",
        "odd names.yaml",
    )
    same(spec, written(spec, tmp_path))


ODD = """
inputs: {next: text B L, super: text B M}
modules:
  goal_all: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 32}
  full_precision: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 32}
  train: {use: text_embedding, width: 8, vocab_size: 20, max_positions: 32}
  __own: {use: text_encoder, width: 8, depth: 1}
flow:
  any: goal_all(next)
  module: full_precision(super)
  p: train(next)
  TextEmbedding: __own(any)
goals: {all: {a: TextEmbedding, b: module, c: p}}
tie: {goal_all.word.weight: train.word.weight, train.word.weight: full_precision.word.weight}
momentum: {decay: 0.5}
"""
PATHS = (
    "text_embedding",
    r"a\N\u12",
    'quo"""tes',
    "gate²x",
    "none",
    "any",
    "shadow",
    "½",
    "1st",
    "\udcff",
)


@pytest.mark.parametrize("stem", PATHS)
def test_names_of_files_and_of_what_the_code_uses(stem: str, tmp_path: Path) -> None:
    spec = parse_spec(ODD, f"{stem}.yaml")
    net: Any = written(spec, tmp_path)
    same(spec, net)
    weights = {
        id(net._modules[name].word.weight)
        for name in ("goal_all", "full_precision", "train")
    }
    assert len(weights) == 1


@pytest.mark.parametrize(
    ("old", "bad"),
    [
        ("a: TextEmbedding", "'x\": print() or \"y': TextEmbedding"),
        ("goal_all.word.weight: train", "'goal_all.word.weight = 1; print()#': train"),
        ("momentum:", "freeze: [train.nothing]\nmomentum:"),
    ],
)
def test_nothing_of_a_bad_spec_is_written(old: str, bad: str) -> None:
    with pytest.raises(SpecError) as caught:
        eject(parse_spec(ODD.replace(old, bad)))
    assert len(caught.value.problems) == 1


def test_only_python_files_are_written(tmp_path: Path) -> None:
    spec = tmp_path / "own.yaml"
    spec.write_text(ODD)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder.svg").mkdir()
    for command, name in (
        ("eject", "own.yaml"),
        ("eject", "folder.py"),
        ("draw", "folder.svg"),
    ):
        done = CliRunner().invoke(app, [command, str(spec), "-o", str(tmp_path / name)])
        assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
    for command, name in (
        ("eject", "net.py"),
        ("draw", "net.svg"),
        ("draw", "net.png"),
    ):
        done = CliRunner().invoke(
            app, [command, str(spec), "-o", str(tmp_path / "none" / name)]
        )
        assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
        far = tmp_path / ("x" * 300 + name)
        done = CliRunner().invoke(app, [command, str(spec), "-o", str(far)])
        assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
    assert spec.read_text() == ODD


def test_the_file_imports_no_interpreter(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    done = CliRunner().invoke(app, ["eject", str(TINY), "-o", str(file)])
    assert done.exit_code == 0, done.output
    code = (
        "import sys, runpy\n"
        f"runpy.run_path({str(file)!r})\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'mplug2'])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == "[]", ran.stderr
    assert "registry" not in file.read_text()
    assert max(map(len, file.read_text().splitlines())) <= 110


def test_hidden_states_given_as_an_input_are_cast_too(tmp_path: Path) -> None:
    text = """
inputs: {image: tokens B N 32, text: tokens B L 32}
modules: {fusion: {use: fusion, width: 32, depth: 1, heads: 2}}
flow: {both: "fusion(text=text, vision=image)"}
goals: {predict: {text: both.text}}
"""
    spec = parse_spec(text, "states.yaml")
    net = written(spec, tmp_path).eval().bfloat16()
    torch.manual_seed(0)
    whole = mplug2.compose(spec).eval().bfloat16()
    batch = tiny_batch(whole, "predict")
    found, wanted = (one(batch, "predict")["text"].values for one in (net, whole))
    assert found.dtype == torch.bfloat16 and torch.equal(found, wanted)


ONE_ENCODER = """
inputs: {image: image B 3 16 16, video: frames B 3 4 16 16, label: labels B}
modules:
  vision: {use: video_vit, width: 16, heads: 2, depth: 1, patch: 8, size: 16}
  head: {use: class_head, width: 16, classes: 3}
flow:
  image_hidden: vision(image)
  video_hidden: vision(video)
  image_logits: head(image_hidden)
  video_logits: head(video_hidden)
  image_loss: cross_entropy(image_logits, target=label)
  video_loss: cross_entropy(video_logits, target=label)
  loss: weighted_sum(image_loss, video_loss, weights=[1.0, 1.0])
goals: {train: {loss: loss}, predict: {label: video_logits}}
"""
CAUSAL = """
inputs: {prompt: text B P, text: text B L}
modules:
  decoder:
    {use: text_decoder, width: 16, heads: 2, depth: 1, vocab_size: 50, max_positions: 24,
      cross_attention: false}
flow:
  logits: decoder(text)
  loss: lm_loss(logits, target=text, teacher=ema(logits), alpha=0.4)
  written: greedy_search(@decoder, prefix=prompt, max_length=4, bos_token_id=2, eos_token_id=3)
goals: {train: {loss: loss}, predict: {answer: written}}
momentum: {}
"""


@pytest.mark.parametrize("text", [ONE_ENCODER, CAUSAL], ids=["one encoder", "causal"])
def test_alternative_and_absent_inputs_of_a_module(text: str, tmp_path: Path) -> None:
    spec = parse_spec(text, "net.yaml")
    same(spec, written(spec, tmp_path))
