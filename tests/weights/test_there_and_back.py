"""Released checkpoints to our weights and back, and the other way round: same keys, types and bits.

The recorded full-size key lists at 1/32 of the width, for the shipped specs of released families.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from quick import mostly_slow
from torch import Tensor

import mplug2
from mplug2.network import Network
from mplug2.weights.export import Original, export
from mplug2.weights.files import Released
from mplug2.weights.load import load_mapped
from mplug2.weights.report import LoadReport
from registry import KEY_MAPS, read_spec

ROOT = Path(__file__).resolve().parents[2]
DIVISOR = 32
# A search begins with token 101 and ends with 102, so a vocabulary has more tokens than that.
NAMED_SIZES = {30522: 128, 49408: 20, 65536: 24}  # vocabularies and queue
# Captions have up to 25 tokens, so 512 text positions are not divided like the widths.
POSITIONS = 32
FAMILIES = {
    "mplug2": ["configs_video/Video*_msrvtt_*.yaml", "configs_image/*_mplug2_*.yaml"],
    "mplug": ["configs_image/*_mplug_*.yaml"],
    "timix": [
        "configs_image/pretrain_timix_base.yaml",
        "configs_image/vqa_timix_base.yaml",
    ],
}
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def shipped() -> list[tuple[str, str]]:
    """All shipped specs of families with released weights, one of those that are the same to the key map."""
    cases: dict[str, tuple[str, str]] = {}
    for family, patterns in FAMILIES.items():
        roles = KEY_MAPS.load(family).roles.values()
        uses = {use for role in roles for use in role.uses}
        for path in sorted(path for pattern in patterns for path in ROOT.glob(pattern)):
            if "shapes" in path.name:
                continue  # no release has these sizes
            spec = read_spec(path)
            seen = [str(bool(spec.momentum))]
            for entry in spec.modules.values():
                if entry.use in uses:
                    arguments = {
                        key: entry.arguments.get(key)
                        for key in ("width", "depth", "stride", "size")
                    }
                    seen.append(f"{entry.use} {arguments}")
            cases.setdefault(
                f"{family} {sorted(seen)}", (family, str(path.relative_to(ROOT)))
            )
    return list(cases.values())


SHIPPED = shipped()
# of each family the first; the others are other sizes and tasks of it
QUICK = list({family: (family, name) for family, name in reversed(SHIPPED)}.values())


def reduced_size(size: int) -> int:
    if size in NAMED_SIZES:
        return NAMED_SIZES[size]
    return size // DIVISOR if size >= 128 and size % DIVISOR == 0 else size


def reductions(name: str) -> list[str]:
    """The overrides that put a shipped spec's widths, vocabularies and queues at the reduced sizes."""
    overrides = []
    for module, entry in read_spec(ROOT / name).modules.items():
        arguments: dict[str, Any] = {}
        for argument in ("width", "width_in", "hidden"):
            if argument in entry.arguments:
                arguments[argument] = reduced_size(entry.arguments[argument])
        if entry.use in ("text_embedding", "text_decoder"):
            arguments |= {"vocab_size": 128, "max_positions": POSITIONS}
        if entry.use == "vector_head" and entry.arguments.get("classes") in NAMED_SIZES:
            arguments["classes"] = NAMED_SIZES[
                entry.arguments["classes"]
            ]  # tied to the words
        if entry.use == "feature_queue":
            arguments["size"] = 24
        if entry.use in (
            "video_vit",
            "image_vit",
            "text_encoder",
            "universal",
            "fusion",
            "text_decoder",
        ):
            arguments["heads"] = 2
        overrides += [
            f"modules.{module}.{argument}={value}"
            for argument, value in arguments.items()
        ]
    return overrides


def composed(name: str) -> Network:
    return mplug2.compose(read_spec(ROOT / name, reductions(name)), initial=False)


@lru_cache
def recorded(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def layout(family: str, name: str, shared: Path) -> dict[str, list[int]]:
    """The recorded full-size keys and shapes of the checkpoint that a spec starts from."""
    large = "large" in name
    if family == "mplug2":
        facts = recorded(shared / "reference/parity/mplug2/full_size_keys.json")
        kind = (
            "caption"
            if "aption" in name
            else "vqa_distill"
            if "msrvtt" in name
            else "vqa"
        )
        entries = facts[f"{'large' if large else 'base'}_{kind}"]["state_dict"]
        return {key: shape for key, (shape, _) in entries.items()}
    if family == "timix":
        layouts = recorded(shared / "reference/parity/timix/key_layout.json")
        return timix_layout(layouts["model_pretrain_mplug:ViT-B-16"])
    task = next(
        (task for task in ("retrieval", "caption", "grounding") if task in name), "vqa"
    )
    layouts = recorded(shared / "reference/parity/mplug/key_layout.json")
    # There is no recorded base layout for grounding: VQA's has the same modules.
    if task == "grounding" and not large:
        task = "vqa"
    size = "ViT-L-14" if large else "ViT-B-16"
    if (
        "pretrain" in name
    ):  # not recorded either: that of retrieval and the decoder, which it trains together
        decoder = {
            key: value
            for key, value in layouts[f"model_vqa_mplug:{size}"].items()
            if key.startswith("text_decoder.")
        }
        entries = layouts[f"model_retrieval_mplug:{size}"] | decoder
    else:
        entries = layouts[f"model_{task}_mplug:{size}"]
    return numbered(entries)


def numbered(entries: dict[str, Any]) -> dict[str, list[int]]:
    """Return the shape of each key of patterns whose hole `{i}` counts from 0."""
    shapes = {}
    for pattern, (count, shape) in entries.items():
        for index in range(count):
            shapes[pattern.replace("{i}", str(index))] = shape
    return shapes


# TiMix's patch predictor: its recorded patterns give layers of one name one shape, and have no numbers.
PREDICTOR = {
    "in_conv.0": [768],
    "in_conv.1": [768, 768],
    "out_conv.0": [384, 1536],
    "out_conv.2": [192, 384],
    "softmax_output.0": [2, 192],
    "sigmoid_output.0": [1, 192],
}


def timix_layout(entries: dict[str, Any]) -> dict[str, list[int]]:
    """Return the keys and shapes of TiMix's pre-training."""
    shapes: dict[str, list[int]] = {}
    for pattern, entry in entries.items():
        before, mark, _ = pattern.partition("score_predictor.")
        if not mark:
            shapes |= numbered({pattern: entry})
            continue
        for layer, shape in PREDICTOR.items():
            shapes[f"{before}{mark}{layer}.weight"] = shape
            shapes[f"{before}{mark}{layer}.bias"] = shape[:1]
    assert len(shapes) == 2359
    return shapes


def checkpoint(
    shapes: dict[str, list[int]], dtype: torch.dtype, seed: int
) -> dict[str, Tensor]:
    """A random checkpoint at the reduced sizes; tied weights are the same tensor, as in a release."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        size = [reduced_size(length) for length in shape]
        if "embeddings.position" in key:
            size = [
                POSITIONS if length == 512 else reduced_size(length) for length in shape
            ]
        if key.endswith(
            ("position_ids", "prefix_ids", "target_ids", "idx_queue", "queue_ptr")
        ):
            tensors[key] = torch.randint(0, 9, size, generator=generator)
        else:
            tensors[key] = torch.randn(size, generator=generator).to(dtype)
    for key in tensors:
        if ".predictions.decoder." in key:
            head = key.split(".cls.")[0]
            tied = (
                "bert.embeddings.word_embeddings.weight"
                if key.endswith("weight")
                else "cls.predictions.bias"
            )
            tensors[key] = tensors[f"{head}.{tied}"]
    return tensors


def assert_same(back: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    assert list(back) == list(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype, key
        assert torch.equal(back[key], value), key


def written(
    net: Network, family: str, original: Released | None
) -> tuple[dict[str, Tensor], LoadReport]:
    known = Original.of(original) if original is not None else None
    weights, copies = net.state_dict(), net.ema_state_dict()
    return export(net, KEY_MAPS.load(family), weights, copies, known, "out.pth")


@pytest.mark.parametrize(("family", "name"), mostly_slow(SHIPPED, QUICK))
def test_released_weights_there_and_back(family: str, name: str, shared: Path) -> None:
    key_map = KEY_MAPS.load(family)
    dtype = DTYPES[len(name) % 3]
    released = Released(
        "in.pth", checkpoint(layout(family, name, shared), dtype, seed=len(name))
    )
    net = composed(name)
    for value in (*net.parameters(), *net.ema_state_dict().values()):
        value.detach().normal_()  # no weight of the checkpoint is right by accident
    report = load_mapped(net, key_map, released)
    assert {row.source for row in report.rows if row.source} == set(released.tensors)
    back, report = written(net, family, released)
    assert {row.target for row in report.rows if row.target} == set(back)
    # Ours and released names: every one is accounted for.
    assert {row.source for row in report.rows if row.source} >= set(net.state_dict())
    assert_same(back, dict(released.tensors))


@pytest.mark.parametrize(("family", "name"), mostly_slow(SHIPPED, QUICK))
def test_our_weights_there_and_back(family: str, name: str, shared: Path) -> None:
    key_map = KEY_MAPS.load(family)
    torch.manual_seed(1)
    net = composed(name)
    for copied in net.ema_state_dict().values():
        copied.copy_(torch.randn(copied.shape).to(copied.dtype))
    again = composed(name)
    random = checkpoint(layout(family, name, shared), torch.float32, seed=2)
    for original in (Released("in.pth", random), None):
        for value in (*again.state_dict().values(), *again.ema_state_dict().values()):
            value.zero_()
        tensors, report = written(net, family, original)
        dropped = {
            row.source for row in report.of("dropped") if "EMA" not in row.reason
        }
        load_mapped(again, key_map, Released("out.pth", tensors))
        kept = again.state_dict()
        for key, value in net.state_dict().items():
            assert key in dropped or torch.equal(kept[key], value), key
        # Whatever the family has a name for was written: what remains are heads and counters of ours.
        modules = {key.split(".")[0] for key in dropped}
        assert not modules & {
            "vision",
            "words",
            "text",
            "universal",
            "fusion",
            "decoder",
            "to_text",
        }
        copies = again.ema_state_dict()
        if original is None or family == "mplug":
            for key, value in net.ema_state_dict().items():
                assert key.split(".")[0] in (*modules, "fusion") or torch.equal(
                    copies[key], value
                ), key


@pytest.mark.parametrize("infix", ["bert", "fusion"])
def test_a_pre_trained_checkpoint_keeps_its_own_spelling(
    infix: str, shared: Path
) -> None:
    """Pre-trained mPLUG checkpoints name the stack inside an encoder: `text_encoder.bert.encoder...`."""
    name = "configs_image/vqa_mplug_base.yaml"
    tensors = {}
    for key, value in checkpoint(
        layout("mplug", name, shared), torch.float16, seed=3
    ).items():
        encoder, _, rest = key.partition(".")
        stacked = encoder.removesuffix("_m") in ("text_encoder", "fusion_encoder")
        tensors[f"{encoder}.{infix}.{rest}" if stacked else key] = value
    released = Released("in.pth", tensors)
    net = composed(name)
    load_mapped(net, KEY_MAPS.load("mplug"), released)
    back, _ = written(net, "mplug", released)
    assert_same(back, tensors)
