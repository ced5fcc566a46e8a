"""What each process of a launched run does: three steps of a small retrieval network on its share
(see test_retrieval_ranks.py)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import mplug2
from modules.streams import Text, to_device
from mplug2.runtime import distributed
from mplug2.train.engines.base import start_engine
from mplug2.train.optim import build_optimizer
from mplug2.weights.store import save_weights
from registry import parse_spec

SPEC = """
inputs: {image: image B 3 H W, caption: text B L, media_id: index B}
modules:
  vision:   {use: image_vit, width: 32, depth: 1, heads: 2, patch: 8, size: 16}
  words:    {use: text_embedding, width: 32, vocab_size: 50, max_positions: 16, dropout: 0.0}
  text:     {use: text_encoder, width: 32, depth: 1, heads: 2, dropout: 0.0}
  fusion:   {use: fusion, width: 32, depth: 2, heads: 2, dropout: 0.0}
  to_v:     {use: feature_head, width_in: 32, width: 16}
  to_t:     {use: feature_head, width_in: 32, width: 16}
  bank:     {use: feature_queue, width: 16, size: 10}
  contrast: {use: contrastive}
  mine:     {use: hard_negatives}
  match:    {use: class_head, width: 32, classes: 2, depth: 1, dropout: 0.0}
flow:
  visual:  vision(image)
  spoken:  words(caption)
  asked:   text(spoken)
  v:       to_v(visual)
  t:       to_t(asked)
  stored:  bank(ema(v), ema(t), media_id)
  itc:     contrast(v, t, media_id, all_vision=stored.vision, all_text=stored.text, all_group=stored.group,
                    alpha=0.4)
  hard:    mine(itc.vision_to_text, itc.text_to_vision, media_id)
  v3:      gather_rows(visual, hard.vision)
  t3:      gather_rows(asked, hard.text)
  pairs:   fusion(text=t3, vision=v3)
  verdict: match(pairs.text)
  itm:     cross_entropy(verdict, target=hard.label)
  loss:    weighted_sum(itc.loss, itm, weights=[1.0, 1.0])
  one:     fusion(text=asked, vision=visual)
  score:   match(one.text)
goals:
  train:        {loss: loss, itc: itc.loss, itm: itm}
  embed_vision: {v: v, visual: visual}
  embed_text:   {t: t, asked: asked}
  rerank:       {score: score}
momentum: {decay: 0.9}
train: {batch_size: 4, lr: 1e-3, warmup: 0, weight_decay: 0.0, max_grad_norm: 0.0}
"""
QUEUE = "  stored:  bank(ema(v), ema(t), media_id)\n"
# the same without queue and momentum: gradients flow into the features of the other ranks
CLIP = (
    SPEC.replace(QUEUE, "")
    .replace(
        "media_id, all_vision=stored.vision, all_text=stored.text, all_group=stored.group,\n"
        "                    alpha=0.4)",
        "media_id)",
    )
    .replace("  bank:     {use: feature_queue, width: 16, size: 10}\n", "")
)
STEPS, ROWS = 3, 6
LENGTHS = (
    5,
    3,
    7,
    4,
    6,
    2,
)  # every other one belongs to the same rank: the ranks' longest differ


def share(step: int, rank: int, world: int) -> dict[str, Any]:
    """The rows of one rank of the global batch, as the loader deals them; texts padded to their longest."""
    draw = torch.Generator().manual_seed(step)
    image = torch.randn(ROWS, 3, 16, 16, generator=draw)
    ids = torch.randint(1, 50, (ROWS, max(LENGTHS)), generator=draw)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    group = torch.tensor([5, 7, 5, 9, 1, 2]) + 10 * (step % 2)
    longest = max(LENGTHS[rank::world])
    caption = Text((ids * mask)[rank::world, :longest], mask[rank::world, :longest])
    return {
        "image": image[rank::world],
        "caption": caption,
        "media_id": group[rank::world],
    }


def averaged(net: Any, form: str) -> dict[str, torch.Tensor]:
    """Train by averaging gradients over ranks, as DeepSpeed does; losses and gradients of all steps."""
    rank, world = distributed.rank(), distributed.world_size()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    found: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        net.update_ema()
        outputs = net(share(step, rank, world))
        optimizer.zero_grad()
        outputs["loss"].backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None, name
            dist.all_reduce(parameter.grad)
            parameter.grad /= world
            found[f"{form}: gradient {step} {name}"] = parameter.grad.clone()
        optimizer.step()
        found |= {
            f"{form}: {name} {step}": shared(value) for name, value in outputs.items()
        }
    return found


def shared(value: torch.Tensor) -> torch.Tensor:
    """The mean of a scalar over ranks."""
    return (
        torch.tensor(distributed.all_reduce_sum(value.item()))
        / distributed.world_size()
    )


def by_engine(net: Any, out: Path) -> dict[str, torch.Tensor]:
    """Train with DeepSpeed as the spec says; losses of all steps, and the weights in a file."""
    engine = start_engine(net, build_optimizer(net, net.spec.train), net.spec.train)
    found: dict[str, torch.Tensor] = {}
    for step in range(STEPS):
        net.update_ema(engine.consolidate)
        outputs = engine(
            to_device(
                share(step, distributed.rank(), distributed.world_size()),
                distributed.device(),
            ),
            goal="train",
        )
        engine.backward(outputs["loss"])
        engine.step(None)
        found |= {f"{name} {step}": shared(value) for name, value in outputs.items()}
    save_weights(
        net,
        None if distributed.rank() else out / "weights.safetensors",
        engine.consolidate,
    )
    return found


def main(out: str, way: str) -> None:
    """``way``: ``plain``, or the ZeRO stage."""
    distributed.init_process_group(accelerator=torch.cuda.is_available())
    found: dict[str, torch.Tensor] = {}
    for form, text in {"queue": SPEC, "clip": CLIP}.items():
        spec = parse_spec(text, "retrieval.yaml")
        spec.train.update(
            zero=int(way) if way != "plain" else 0,
            batch_size=ROWS // distributed.world_size(),
        )
        torch.manual_seed(0)
        net = mplug2.compose(spec)
        if way == "plain":
            found |= averaged(net, form)
        elif form == "queue":
            found |= by_engine(net, Path(out))
    if distributed.rank() == 0:
        torch.save(found, Path(out) / "found.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
