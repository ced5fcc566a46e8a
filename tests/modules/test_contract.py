"""One contract for everything registered here: what a declaration promises holds for the live object."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import modules  # noqa: F401  (fills the registries)
from modules.streams import Regions, Sequences, Text, Tokens
from registry import MODULES, OPERATIONS, Declaration, Port

# The smallest of each kind; a new registration fails here until it has its line.
SMALL: dict[str, dict[str, Any]] = {
    "image_vit": {"width": 32, "depth": 2, "patch": 8, "size": 16, "heads": 2},
    "video_vit": {
        "width": 32,
        "depth": 2,
        "patch": 8,
        "size": 16,
        "heads": 2,
        "frames": 3,
    },
    "timm": {"name": "test_vit", "width": 64, "image_size": 160},
    "text_embedding": {"width": 32, "vocab_size": 60, "max_positions": 8},
    "text_encoder": {"width": 32, "depth": 2, "heads": 2},
    "clip_text": {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "vocab_size": 60,
        "max_positions": 8,
    },
    "universal": {"width": 32, "depth": 3, "latents": 4, "heads": 2},
    "fusion": {"width": 32, "depth": 3, "stride": 2, "heads": 2},
    "text_decoder": {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "vocab_size": 60,
        "max_positions": 8,
        "types": 1,
    },
    "project": {"width_in": 16, "width": 32},
    "multiway": {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "size": 16,
        "patch": 8,
        "text_positions": 8,
    },
    "image_embedding": {"width": 32, "patch": 8, "size": 16, "mask_token": True},
    "modality_embedding": {"width": 32},
    "class_head": {"width": 32, "classes": 3, "pool": "mean"},
    "value_head": {"width": 32, "pool": "mean"},
    "feature_head": {"width_in": 32, "width": 16},
    "end_head": {"width_in": 32, "width": 16},
    "region_embedding": {"width_in": 16, "width": 32},
    "pooler": {"width": 32},
    "vector_head": {"width": 32, "classes": 3, "hidden": 24},
    "token_scores": {"width": 32},
    "pair_attention": {"width": 32, "heads": 2},
    "word_masking": {"vocab_size": 60},
    "feature_queue": {"width": 16, "size": 5},
    "contrastive": {},
    "chunked_contrastive": {"chunk": 1},
    "sigmoid_contrastive": {"chunk": 1},
    "hard_negatives": {},
    "patch_relevance": {"width": 32, "text_width": 16},
    "window_mix": {"ratio": [0.5, 0.5]},
}
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "universal": [{"route": "text"}, {"route": "vision"}]
}
# Losses and what they are made of keep full precision; positions are whole numbers.
FULL_PRECISION = ("scalar", "scores", "weight", "mask", "index", "labels", "text")
FREE = {"B": 2, "A": 2, "L": 5, "N": 5, "P": 4, "M": 7, "H": 4, "W": 4}


def _sizes(port: Port, arguments: dict[str, Any]) -> list[int]:
    return [
        a if isinstance(a, int) else arguments.get(a, FREE.get(a, 3)) for a in port.axes
    ]


def _value(
    port: Port, arguments: dict[str, Any], dtype: torch.dtype, device: str
) -> Any:
    sizes = _sizes(port, arguments)
    match port.kind:
        case "text":
            ids = torch.randint(1, 50, sizes, device=device)
            mask = torch.ones(sizes, dtype=torch.bool, device=device)
            mask[0, -1] = False
            segments = torch.arange(sizes[-1], device=device).expand(sizes) % 2
            return Text(ids, mask, segments, mask)
        case "tokens":
            mask = torch.ones(sizes[:2], dtype=torch.bool, device=device)
            mask[0, -1] = False
            return Tokens(torch.randn(sizes, device=device, dtype=dtype), mask)
        case "regions":
            mask = torch.ones(sizes[:2], dtype=torch.bool, device=device)
            mask[0, -1] = False
            boxes = torch.tensor([0.1, 0.2, 0.5, 0.9], device=device).expand(
                *sizes[:2], 4
            )
            return Regions(torch.randn(sizes, device=device, dtype=dtype), boxes, mask)
        case "mask":
            mask = torch.zeros(sizes, dtype=torch.bool, device=device)
            mask[:, 0] = True
            return mask
        case "index":
            return torch.arange(sizes[0], device=device)
    return torch.randn(sizes, device=device, dtype=dtype)


def _build(name: str, device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    with torch.device(device):
        return MODULES.load(name)(**SMALL[name])


def _call(
    name: str,
    module: nn.Module,
    options: dict[str, Any],
    dtype: torch.dtype,
    device: str = "cpu",
) -> Any:
    torch.manual_seed(1)
    ports = MODULES.declaration(name).inputs
    return module(
        **{p: _value(port, SMALL[name], dtype, device) for p, port in ports.items()},
        **options,
    )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    if isinstance(value, (Text, Tokens, Sequences)):
        return [value[0]]
    return [value]


# those of this floor; importing mplug2 registers more, which are tested there
NAMES = [
    name for name in MODULES.names() if MODULES.target(name).startswith("modules.")
]
CALLS = [(name, options) for name in NAMES for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize("name", NAMES)
def test_the_declaration_read_from_source_is_the_live_one(name: str) -> None:
    read, live = MODULES.declaration(name), Declaration.of(MODULES.load(name))
    assert (read.inputs, read.outputs, read.off) == (
        live.inputs,
        live.outputs,
        live.off,
    )
    assert list(read.arguments) == list(live.arguments)
    assert {n: p.default for n, p in read.arguments.items()} == {
        n: p.default for n, p in live.arguments.items()
    }
    assert list(read.options) == list(live.options)


@pytest.mark.parametrize("name", OPERATIONS.names())
def test_operations_declare_what_they_take(name: str) -> None:
    read, live = OPERATIONS.declaration(name), Declaration.of(OPERATIONS.load(name))
    assert (read.inputs, read.outputs, read.off) == (
        live.inputs,
        live.outputs,
        live.off,
    )
    assert list(read.options) == list(live.options)
    assert read.doc.endswith(".") and len(read.doc) > 10


@pytest.mark.parametrize(("name", "options"), CALLS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_outputs_are_as_declared(
    name: str, options: dict[str, Any], device: str
) -> None:
    declaration = MODULES.declaration(name)
    value = _call(name, _build(name, device).eval(), options, torch.float32, device)
    outputs = {"": value} if declaration.nameless else value
    required = {key for key, port in declaration.outputs.items() if not port.optional}
    assert required <= outputs.keys() <= declaration.outputs.keys()
    for key in outputs:
        port = declaration.outputs[key]
        assert isinstance(outputs[key], Tokens) == (port.kind == "tokens")
        tensor = _tensors(outputs[key])[0]
        assert tensor.ndim == len(port.axes)
        inputs = {
            a for p in declaration.inputs.values() for a in p.axes if isinstance(a, str)
        }
        for axis, size in zip(port.axes, tensor.shape, strict=True):
            if axis in inputs or axis in SMALL[name]:
                assert size == _sizes(Port(port.kind, (axis,)), SMALL[name])[0], axis


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    module = _build(name)
    if not list(module.parameters()):
        pytest.skip("has no weights")
    for options in OPTIONS.get(name, [{}]):
        value = _call(name, module, options, torch.float32)
        torch.stack(
            [t.square().mean() * (i + 1) for i, t in enumerate(_tensors(value))]
        ).sum().backward()
    without = [n for n, p in module.named_parameters() if p.grad is None]
    assert not without


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trips(name: str) -> None:
    module, other = _build(name).eval(), MODULES.load(name)(**SMALL[name]).eval()
    other.load_state_dict(module.state_dict())
    for options in OPTIONS.get(name, [{}]):
        first = _tensors(_call(name, module, options, torch.float32))
        torch.testing.assert_close(
            first, _tensors(_call(name, other, options, torch.float32))
        )


@pytest.mark.parametrize(("name", "options"), CALLS)
def test_half_precision_runs(name: str, options: dict[str, Any]) -> None:
    module = _build(name).eval()
    whole = _tensors(_call(name, module, options, torch.float32))
    value = _call(name, module.bfloat16(), options, torch.bfloat16)
    half = _tensors(value)
    for a, b in zip(whole, half, strict=True):
        if a.is_floating_point():
            torch.testing.assert_close(a, b.float(), atol=0.2, rtol=0.1)
        else:
            assert torch.equal(a, b)
    declaration = MODULES.declaration(name)
    keys = [""] if declaration.nameless else list(value)
    kinds = [declaration.outputs[key].kind for key in keys]
    for kind, b in zip(kinds, half, strict=True):
        assert b.dtype == torch.bfloat16 or kind in FULL_PRECISION


def test_every_module_has_a_small_example() -> None:
    assert set(SMALL) == set(NAMES)
