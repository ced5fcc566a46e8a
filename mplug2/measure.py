"""Measure a checkpoint on a split of its spec's data."""

from __future__ import annotations

from pathlib import Path

import torch

from mplug2.compose import compose
from mplug2.data.loading import build_loader, build_reader
from mplug2.data.text import Tokenizer
from mplug2.evaluate import Evaluation, evaluate
from mplug2.metrics.breakdown import most_frequent
from mplug2.network import Network
from mplug2.train import ranks
from mplug2.train.weights import load_weights
from registry import Spec, UserError


def measure(spec: Spec, checkpoint: str | Path, predictions: Path | None = None) -> Evaluation:
    """Return what a checkpoint reaches on the split that ``eval.split`` names; call it on all ranks.

    ``predictions`` is written as JSON lines. Raises UserError where data are missing or the checkpoint
    does not fit the spec.
    """
    ranks.join(accelerator=torch.cuda.is_available())
    net = compose(spec, device=ranks.device(), initial=False)
    load_weights(net, checkpoint)
    loader = build_loader(
        spec,
        net.types,
        spec.eval["split"],
        batch=spec.eval["batch"] or spec.train["batch"],
        rank=ranks.rank(),
        world=ranks.world(),
    )
    return evaluate(
        net,
        loader,
        decode=Tokenizer.load(spec.data["tokenizer"]).decode,
        metrics=spec.eval["metrics"],
        goal=spec.eval["goal"],
        predictions=predictions,
        train_answers=training_answers(spec, net),
    )


def training_answers(spec: Spec, net: Network) -> dict[str, str] | None:
    """The most frequent training answer for each type of question; None without a training split."""
    if spec.data.get("train") is None:
        return None
    try:
        reader = build_reader(spec, net.types, "train")
    except UserError:
        return None
    return most_frequent(question.record() for question in reader.questions)
