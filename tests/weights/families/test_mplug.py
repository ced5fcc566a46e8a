"""Released mPLUG checkpoints: every key of the full layouts accounted for, whatever the task."""

import json
from pathlib import Path

import pytest
import torch
from quick import mostly_slow
from safetensors.torch import load_file
from torch import Tensor

import mplug2
from mplug2.build.convert import import_file
from mplug2.network import Network
from mplug2.weights.families.mplug import input_kinds
from mplug2.weights.sources import load_tensors
from registry import UserError, parse_spec

LAYOUTS = {
    "vqa": ("model_vqa_mplug:ViT-B-16", "model_vqa_mplug:ViT-L-14"),
    "retrieval": ("model_retrieval_mplug:ViT-B-16", "model_retrieval_mplug:ViT-L-14"),
    "caption": ("model_caption_mplug:ViT-B-16", "model_caption_mplug:ViT-L-14"),
    "grounding": ("model_grounding_mplug:ViT-L-14",),
}
CASES = [(task, layout) for task, layouts in LAYOUTS.items() for layout in layouts]
BERT = {768: 32, 3072: 64, 30522: 50, 512: 16, 1024: 48, 256: 8, 65536: 24}
CLIP = {
    "ViT-B-16": {768: 32, 2304: 96, 3072: 64, 512: 16},
    "ViT-L-14": {1024: 48, 3072: 144, 4096: 96, 768: 32},
}


def _tensors(layout: dict, clip: str) -> dict[str, Tensor]:
    """The full-size key list at reduced width: the same keys and depths, fewer channels and words."""
    draw, tensors = torch.Generator().manual_seed(0), {}
    for pattern, (count, shape) in layout.items():
        for i in range(count):
            key = pattern.replace("{i}", str(i))
            if key.startswith(("visual_encoder.visual.", "visual_encoder_m.visual.")):
                tensors[key] = torch.randn(
                    [CLIP[clip].get(n, n) for n in shape], generator=draw
                )
            elif key.startswith("visual_encoder"):
                tensors[key] = torch.zeros(
                    1
                )  # CLIP's text tower is dropped whatever its shape
            elif key.endswith(("position_ids", "_ids", "idx_queue", "queue_ptr")):
                tensors[key] = torch.zeros(
                    [BERT.get(n, n) for n in shape], dtype=torch.long
                )
            else:
                tensors[key] = torch.randn(
                    [BERT.get(n, n) for n in shape], generator=draw
                )
    return tensors


def _spec(task: str, clip: str) -> str:
    large = clip == "ViT-L-14"
    vision = (
        "width: 48, depth: 24, patch: 14, size: 336"
        if large
        else "width: 32, depth: 12, patch: 16, size: 384"
    )
    lines = [f"vision: {{use: image_vit, heads: 2, mlp_ratio: 2.0, {vision}}}"]
    flow = ["visual: vision(image)"]
    if large:
        lines.append("to_text: {use: project, width_in: 48, width: 32}")
        flow = ["patches: vision(image)", "visual: to_text(patches)"]
    if task != "caption":
        stride = 6 if large else 3
        lines += [
            "words: {use: text_embedding, width: 32, vocab_size: 50, max_positions: 16}",
            "text: {use: text_encoder, width: 32, heads: 2, hidden: 64, depth: 6}",
            f"fusion: {{use: fusion, width: 32, heads: 2, hidden: 64, depth: 6, stride: {stride}}}",
        ]
        flow += ["spoken: words(text_in)", "asked: text(spoken)"]
    if task != "retrieval":
        sizes = "width: 32, heads: 2, hidden: 64, depth: 12, vocab_size: 50, max_positions: 16"
        lines.append(f"decoder: {{use: text_decoder, {sizes}}}")
        memory = "visual" if task == "caption" else "memory"
        if task != "caption":
            flow += [
                "both: fusion(text=asked, vision=visual)",
                "memory: concat(both.vision, both.text)",
            ]
        flow += [
            f"logits: decoder(said, memory={memory})",
            "loss: lm_loss(logits, target=said)",
        ]
    else:
        lines += [
            "to_v: {use: feature_head, width_in: 32, width: 8}",
            "to_t: {use: feature_head, width_in: 32, width: 8}",
            "bank: {use: feature_queue, width: 8, size: 24}",
            "contrast: {use: contrastive}",
            "mine: {use: hard_negatives}",
            "match: {use: class_head, width: 32, classes: 2, depth: 1}",
        ]
        flow += [
            "v: to_v(visual)",
            "t: to_t(asked)",
            "stored: bank(ema(v), ema(t), media_id)",
            "itc: contrast(v, t, media_id, stored.vision, stored.text, stored.group)",
            "hard: mine(itc.vision_to_text, itc.text_to_vision, media_id)",
            "v3: gather_rows(visual, hard.vision)",
            "t3: gather_rows(asked, hard.text)",
            "pairs: fusion(text=t3, vision=v3)",
            "verdict: match(pairs.text)",
            "itm: cross_entropy(verdict, target=hard.label)",
            "loss: weighted_sum(itc.loss, itm, weights=[1.0, 1.0])",
        ]
    streams = {
        "image": "image B 3 H W",
        "text_in": "text B L",
        "said": "text B La",
        "media_id": "index B",
    }
    used = {
        name: kind
        for name, kind in streams.items()
        if any(name in line for line in flow)
    }

    def section(name: str, entries: list[str]) -> str:
        return f"{name}:\n" + "".join(f"  {entry}\n" for entry in entries)

    inputs = section("inputs", [f"{name}: {kind}" for name, kind in used.items()])
    momentum = "momentum: {decay: 0.995}\n" if task == "retrieval" else ""
    return (
        inputs
        + section("modules", lines)
        + section("flow", flow)
        + "goals: {train: {loss: loss}}\n"
        + momentum
    )


@pytest.fixture(scope="module")
def layouts(shared: Path) -> dict:
    return json.loads((shared / "reference/parity/mplug/key_layout.json").read_text())


def _case(task: str, layout: str, layouts: dict) -> tuple[Network, dict[str, Tensor]]:
    clip = layout.split(":")[1]
    net = mplug2.compose(parse_spec(_spec(task, clip), f"{task}.yaml"), initial=False)
    return net, _tensors(layouts[layout], clip)


@pytest.mark.parametrize(("task", "layout"), mostly_slow(CASES, CASES[:3]))
def test_every_key_of_a_released_checkpoint_is_accounted_for(
    task: str, layout: str, layouts: dict
) -> None:
    net, tensors = _case(task, layout, layouts)
    report = load_tensors(net, "mplug", tensors)
    assert {row.source for row in report.rows if row.source} == set(tensors)
    assert not report.of("misfit")
    # the number of draws is no weight, and no checkpoint has it
    assert [row.target for row in report.of("missing")] == ["mine.step"] * (
        task == "retrieval"
    )
    assert all(
        row.reason and "not a key" not in row.reason for row in report.of("dropped")
    )
    found = {row.target for row in report.of("loaded", "resized")}
    assert found == set(net.state_dict()) - {"mine.step"}
    if task == "retrieval":  # the momentum copies, too
        shadow = {
            row.target for row in report.of("loaded", "resized") if "_m." in row.source
        }
        assert shadow == set(net.ema_state_dict())
        assert torch.equal(net.get_buffer("bank.vision"), tensors["image_queue"].T)
    dropped = {row.reason for row in report.of("dropped")}
    text_tower = "CLIP's text tower, which mPLUG never runs"
    assert text_tower in dropped
    if task != "caption":
        assert "only the last 6 stored fusion layers run" in dropped
        assert ("a connected layer has no cross-attention" in dropped) == (
            layout.endswith("B-16")
        )


@pytest.mark.parametrize("infix", ["bert", "fusion"])
def test_pre_trained_checkpoints_name_the_stacks(infix: str, layouts: dict) -> None:
    net, plain = _case("vqa", "model_vqa_mplug:ViT-B-16", layouts)
    load_tensors(net, "mplug", plain)
    fine_tuned = {name: value.clone() for name, value in net.state_dict().items()}
    tensors = {
        key.replace("text_encoder.", "text_encoder.bert.").replace(
            "fusion_encoder.", f"fusion_encoder.{infix}."
        ): value
        for key, value in plain.items()
        if "_m." not in key
    } | {"fusion_encoder.cls.predictions.bias": torch.zeros(50)}
    other = mplug2.compose(
        parse_spec(_spec("vqa", "ViT-B-16"), "vqa.yaml"), initial=False
    )
    report = load_tensors(other, "mplug", tensors)
    assert not report.of("missing", "misfit")
    (head,) = [row for row in report.of("dropped") if ".cls." in row.source]
    assert head.reason == "a head of pre-training"
    for name, value in other.state_dict().items():
        assert torch.equal(value, fine_tuned[name]), name


def test_what_a_network_has_not_is_dropped_with_the_reason(layouts: dict) -> None:
    net, _ = _case("vqa", "model_vqa_mplug:ViT-B-16", layouts)
    tensors = _tensors(layouts["model_retrieval_mplug:ViT-B-16"], "ViT-B-16")
    report = load_tensors(net, "mplug", tensors | {"something.else": torch.zeros(1)})
    reasons = {row.source: row.reason for row in report.of("dropped")}
    assert reasons["itm_head.weight"] == "this network has no class_head of depth 1"
    assert reasons["vision_proj.bias"] == "this network has no feature_head of vision"
    assert reasons["image_queue"] == "this network has no feature_queue"
    assert reasons["text_proj_m.bias"] == "this network has no feature_head of text"
    assert reasons["something.else"] == "not a key of mPLUG"
    assert {row.target.split(".")[0] for row in report.of("missing")} == {"decoder"}


def test_a_queue_of_another_size_begins_anew(layouts: dict) -> None:
    text = _spec("retrieval", "ViT-B-16").replace("size: 24", "size: 10")
    net = mplug2.compose(parse_spec(text, "retrieval.yaml"), initial=False)
    report = load_tensors(
        net, "mplug", _tensors(layouts["model_retrieval_mplug:ViT-B-16"], "ViT-B-16")
    )
    reasons = {row.source: row.reason for row in report.of("dropped")}
    assert (
        reasons["text_queue"]
        == reasons["queue_ptr"]
        == "a queue of 24, and this network's holds 10"
    )


def test_the_two_heads_are_told_apart_by_what_they_read() -> None:
    spec = parse_spec(_spec("retrieval", "ViT-L-14"), "retrieval.yaml")
    assert input_kinds(spec, "to_v") == {"image"} and input_kinds(spec, "to_t") == {
        "text"
    }


def test_a_network_that_is_no_mplug_is_refused() -> None:
    text = _spec("vqa", "ViT-B-16")
    with_universal = text.replace(
        "flow:", "  shared: {use: universal, width: 32, heads: 2}\nflow:"
    ).replace("asked: text(spoken)", "read: text(spoken)\n  asked: shared(read)")
    with pytest.raises(
        UserError,
        match=r"vqa.yaml:\d+.* mPLUG has no universal layers, as module 'shared' is",
    ):
        load_tensors(
            mplug2.compose(parse_spec(with_universal, "vqa.yaml"), initial=False),
            "mplug",
            {},
        )
    twice = text.replace(
        "flow:", "  other: {use: text_encoder, width: 32, depth: 1, heads: 2}\nflow:"
    ).replace("asked: text(spoken)", "read: text(spoken)\n  asked: other(read)")
    with pytest.raises(
        UserError,
        match="mPLUG has one text_encoder, but modules text and other could be it",
    ):
        load_tensors(
            mplug2.compose(parse_spec(twice, "vqa.yaml"), initial=False), "mplug", {}
        )


def test_init_and_conversion(layouts: dict, tmp_path: Path) -> None:
    tensors = _tensors(layouts["model_retrieval_mplug:ViT-B-16"], "ViT-B-16")
    torch.save({"model": tensors}, tmp_path / "released.pth")
    text, spec = _spec("retrieval", "ViT-B-16"), tmp_path / "retrieval.yaml"
    spec.write_text(text)
    said = import_file(
        tmp_path / "released.pth", spec, tmp_path / "ours.safetensors", "mplug"
    )
    assert "1 missing" in said and "misfit" not in said
    assert "a momentum copy: a converted file holds the weights alone" in said
    converted = load_file(tmp_path / "ours.safetensors")
    released = mplug2.compose(
        parse_spec(
            text + f"init: {{'*': 'mplug:{tmp_path}/released.pth'}}\n", str(spec)
        )
    )
    assert set(converted) == set(released.state_dict()) - {"mine.step"}
    own = mplug2.compose(
        parse_spec(
            text + f"init: {{'*': 'checkpoint:{tmp_path}/ours.safetensors'}}\n",
            str(spec),
        )
    )
    for name, value in released.state_dict().items():
        if not name.startswith("bank."):  # a queue begins anew
            assert torch.equal(value, own.state_dict()[name]), name
        assert name == "mine.step" or torch.equal(value, converted[name]), name
    query = "text.layers.0.attention.query.weight"
    momentum = tensors["text_encoder_m.encoder.layer.0.attention.self.query.weight"]
    assert torch.equal(released.ema_state_dict()[query], momentum)
    for (
        name,
        value,
    ) in own.ema_state_dict().items():  # no file gave them: they begin as the weights
        assert torch.equal(value, own.state_dict()[name]), name
    with pytest.raises(
        UserError, match=r"must be one of .*mplug, mplug2.* \(got 'blip'\)"
    ):
        import_file(
            tmp_path / "released.pth", spec, tmp_path / "ours.safetensors", "blip"
        )
