"""UNITER: run the fixtures' inputs through composed networks, and compare every recorded output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modules.regions import box_location
from modules.streams import Regions, Text
from mplug2.build.compose import compose
from mplug2.network import Network
from mplug2.train.optimizers.uniter_adamw import UniterAdamW
from mplug2.train.schedule import Schedule
from mplug2.weights.export import export
from mplug2.weights.sources import load_tensors
from registry import KEY_MAPS, parse_spec
from tools.parity.fixture import Fixture, reading
from tools.parity.recipes.uniter import Numbers, kind_of, recipe
from tools.parity.rows import Comparison, Row
from tools.parity.triplet import as_recorded, side
from tools.parity.uniter_losses import loss_rows

Tensors = dict[str, Tensor]
TASKS = ("mlm", "mrfr", "mrc", "mrckl", "itm")
FLOOR = 1e-8  # the learning rate before the first step and at the end
# Recorded streams that are the same in all models, by our names; the encoder's layers are added.
STREAMS = {"txt_emb": "text_embeds", "img_emb": "region_embeds", "pooled": "pooled"}
# What is read of the recorded inputs, without the name of the task in front.
INPUTS = {
    *(
        "input_ids",
        "position_ids",
        "img_feat",
        "img_pos_feat",
        "attn_masks",
        "gather_index",
    ),
    *(
        "txt_labels",
        "img_masks",
        "img_mask_tgt",
        "feat_targets",
        "label_targets",
        "targets",
    ),
    *("img_type_ids", "sample_size", "ot_inputs.ot_scatter", "ot_inputs.scatter_max"),
    *("ot_inputs.txt_pad", "ot_inputs.img_pad", "obj_masks", "txt_lens", "num_bbs"),
}


def recognizes(fixture: Fixture) -> bool:
    """Return whether a fixture was recorded from UNITER, whose configurations name the image features."""
    return kind_of(fixture.config) != ""


def compare(fixture: Fixture, rows: Comparison) -> None:
    """Compare every recorded output; UserError if the fixture cannot be read."""
    with reading(fixture.path):
        kind = kind_of(fixture.config)
        inputs = fixture.tensors("inputs")
        if kind == "adamw":
            _optimizer(fixture.config, inputs, rows)
            return
        weights = fixture.tensors("state_dict")
        shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        spec = parse_spec(recipe(kind, fixture.config, shapes), f"{kind}.yaml")
    net = compose(spec, initial=False).eval()
    report = load_tensors(net, "uniter", weights, origin=fixture.name)
    for row in report.of("dropped", "missing", "misfit"):
        rows.rows.append(
            Row(
                f"weight {row.source or row.target}",
                float("nan"),
                False,
                compared=False,
            )
        )
    prefixes = [f"{task}." for task in TASKS] if kind == "pretrain" else [""]
    for name in inputs:
        if not any(name.removeprefix(prefix) in INPUTS for prefix in prefixes):
            rows.rows.append(Row(f"input {name}", float("nan"), False, compared=False))
    with reading(fixture.path):
        for prefix in prefixes:
            part = {
                name.removeprefix(prefix): x
                for name, x in inputs.items()
                if name.startswith(prefix)
            }
            _task(net, prefix, part, rows)


def _optimizer(config: Numbers, inputs: Tensors, rows: Comparison) -> None:
    """Repeat the recorded steps with the optimizer, and the learning rates with the schedule."""
    warmup, total, lr = config["warmup_steps"], config["num_train_steps"], config["lr"]
    schedule = Schedule("linear", total, warmup, FLOOR, FLOOR)
    parameters = {
        name: torch.nn.Parameter(inputs[f"{name}0"].clone())
        for name in config["weight_decay"]
    }
    groups = []
    for name, decay in config["weight_decay"].items():
        groups.append({"params": [parameters[name]], "weight_decay": decay})
    optimizer = UniterAdamW(groups, betas=tuple(config["betas"]), eps=config["eps"])
    for step in range(config["steps"]):
        rows.close(
            f"lr.{step}", torch.tensor(schedule.at(step + 1, lr), dtype=torch.float64)
        )
        for group in optimizer.param_groups:
            group["lr"] = float(rows.outputs[f"lr.{step}"])
        for name, parameter in parameters.items():
            parameter.grad = inputs[f"g{name}"][step]
        optimizer.step()
        for name, parameter in parameters.items():
            rows.close(f"{name}.{step}", parameter.detach())


def _batch(inputs: Tensors, choice: slice) -> tuple[Text, Regions]:
    """Return words and regions of some rows; the masks follow from the mask of the compact sequence."""
    ids = inputs["input_ids"]
    if inputs["position_ids"].shape[-1] != ids.shape[1]:
        raise ValueError("position_ids must be one for each token")
    words = ids != 0
    num_regions = inputs["attn_masks"].sum(dim=1) - words.sum(dim=1)
    valid = torch.arange(inputs["img_feat"].shape[1]) < num_regions[:, None]
    regions = Regions(inputs["img_feat"], inputs["img_pos_feat"][..., :4], valid)
    return (
        Text(ids[choice], words[choice]),
        Regions(regions.features[choice], regions.boxes[choice], valid[choice]),
    )


def _task(net: Network, prefix: str, inputs: Tensors, rows: Comparison) -> None:
    """Compare the outputs of one task, or of a model that has one."""
    location = box_location(inputs["img_pos_feat"][..., :4])
    rows.close(f"{prefix}img_pos_feat", location, inputs["img_pos_feat"])
    everything = slice(None)
    streams: dict[str, Any]
    if _is_triplet(inputs):
        text, _ = _batch(inputs, everything)
        boxes, types = inputs["img_pos_feat"][..., :4], inputs["img_type_ids"]
        streams = {
            "text": text,
            "left": side(inputs["img_feat"], boxes, types, segment=1),
            "right": side(inputs["img_feat"], boxes, types, segment=2),
            "target": inputs["targets"],
        }
    elif "img_type_ids" in inputs:
        left, right = slice(0, None, 2), slice(1, None, 2)
        text, left_regions = _batch(inputs, left)
        _, right_regions = _batch(inputs, right)
        streams = {
            "text": text,
            "left": left_regions,
            "right": right_regions,
            "target": inputs["targets"],
        }
    else:
        text, regions = _batch(inputs, everything)
        streams = {
            "text": text,
            "regions": regions,
            **_targets(prefix, inputs, regions),
        }
    goal = prefix.removesuffix(".") or "train"
    values: dict[str, list[Any]] = {}
    net.zero_grad()
    loss = net(
        streams, goal, lambda name, value: values.setdefault(name, []).append(value)
    )["loss"]
    loss.backward()
    with torch.no_grad():
        _encoder_rows(prefix, inputs, values, rows)
        loss_rows(
            prefix,
            streams,
            {name: value[0] for name, value in values.items()},
            loss,
            rows,
        )
        _gradient_rows(net, prefix, rows)


def _is_triplet(inputs: Tensors) -> bool:
    """Return whether a row has the regions of both images; of other pairs, each image has a row."""
    return "img_type_ids" in inputs and len(inputs["targets"]) == len(
        inputs["input_ids"]
    )


def _targets(prefix: str, inputs: Tensors, regions: Regions) -> dict[str, Tensor]:
    """Return the inputs of the losses of a task."""
    if not prefix:
        if "sample_size" not in inputs:
            return {"target": inputs["targets"]}
        size = int(inputs["sample_size"])
        rows = torch.arange(len(inputs["input_ids"]))
        others = rows[rows % size > 0]
        return {"higher": others - others % size, "lower": others}
    mask = inputs.get(
        "img_masks", torch.zeros(regions.features.shape[:2], dtype=torch.bool)
    )
    targets = {"region_mask": mask}
    for name, stream in (("txt_labels", "word_labels"), ("targets", "match")):
        if name in inputs:
            targets[stream] = inputs[name]
    for name, stream in (
        ("feat_targets", "true_features"),
        ("label_targets", "true_classes"),
    ):
        if name in inputs:
            # Recorded for masked regions alone, row by row.
            targets[stream] = torch.zeros(*mask.shape, inputs[name].shape[-1])
            targets[stream][mask] = inputs[name]
    return targets


def _encoder_rows(
    prefix: str, inputs: Tensors, values: dict[str, list[Any]], rows: Comparison
) -> None:
    """Compare embeddings and layers, which were recorded without the gap between words and regions."""
    index = inputs["gather_index"][..., None]
    if _is_triplet(inputs):
        _join_images(inputs, values)
    elif "left_embeds" in values:
        values["text_embeds"] = values["text_embeds"] * 2
        for stream, name in (
            ("region_embeds", "embeds"),
            ("joint", "joint"),
            ("pooled", "pooled"),
        ):
            if f"left_{name}" in values:
                values[stream] = values[f"left_{name}"] + values[f"right_{name}"]
    for name, stream in STREAMS.items():
        if stream in values and prefix + name in rows.outputs:
            # The released code gives padding of image pairs type 0; no valid position sees it.
            valid = (
                inputs["img_type_ids"] > 0
                if "img_type_ids" in inputs and name == "img_emb"
                else None
            )
            _close_where(rows, prefix + name, _interleaved(values[stream]), valid)
    layers = [name for name in rows.outputs if name.startswith(f"{prefix}layer.")]
    compact = {f"{prefix}embedding_output": "joint"}
    for name in layers:
        compact[name] = f"encoder.layers.{name.rpartition('.')[2]}"
    valid = inputs["attn_masks"].bool() if "img_type_ids" in inputs else None
    for name, stream in compact.items():
        complete = _interleaved(values[stream])
        _close_where(
            rows,
            name,
            complete.gather(1, index.expand(-1, -1, complete.shape[-1])),
            valid,
        )


def _join_images(inputs: Tensors, values: dict[str, list[Any]]) -> None:
    """Put the regions of both images into one row, in every stream that has them."""
    types, num_words = inputs["img_type_ids"], inputs["input_ids"].shape[1]
    images = [values[f"{name}_embeds"][0].values for name in ("left", "right")]
    values["region_embeds"] = [as_recorded(torch.cat(images, dim=1), types, 0)]
    for name in values:
        is_layer = name.startswith("encoder.layers.") and name.count(".") == 2
        if is_layer or name == "joint":
            padded = _interleaved(values[name])
            values[name] = [as_recorded(padded, types, num_words)]


def _close_where(
    rows: Comparison, name: str, value: Tensor, valid: Tensor | None
) -> None:
    """Compare the valid positions of a recorded tensor, all of them if ``valid`` is None."""
    if valid is not None and name in rows.outputs:
        value = torch.where(valid[..., None], value, rows.outputs[name])
    rows.close(name, value)


def _interleaved(values: list[Any]) -> Tensor:
    """Return the rows of two calls alternately: left, right, left, ..."""
    tensors = [value[0] if isinstance(value, tuple) else value for value in values]
    return torch.stack(tensors, dim=1).flatten(0, 1)


def _gradient_rows(net: Network, prefix: str, rows: Comparison) -> None:
    """Compare gradients under their released names: they are converted as the weights are."""
    gradients = {}
    for name, weight in net.named_parameters(remove_duplicate=False):
        gradients[name] = (
            torch.zeros_like(weight) if weight.grad is None else weight.grad
        )
    released, _ = export(net, KEY_MAPS.load("uniter"), gradients, {}, None, "gradients")
    start = f"{prefix}grad."
    for name in [name for name in rows.outputs if name.startswith(start)]:
        rows.close(name, released[name.removeprefix(start)])
