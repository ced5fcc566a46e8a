"""The parts of a network that leave mplug2: modules that take and return plain tensors.

A network that writes text has two: its encoder, and one step of its decoder with the keys and values of
earlier words. Any other network has a part for each goal of vectors, or one for the goal of its evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from modules.attention import KeysValues
from modules.decoder import DecoderCache, TextDecoder
from modules.kinds import half
from modules.streams import Text, Tokens, full_mask
from mplug2.network import Goal, Network
from registry import ModuleRef, Ref, StreamType, UserError

VECTOR_GOALS = ("embed_vision", "embed_text")
_FIRST_SIZE = 2  # of the named axes in an example: 0 and 1 would be taken for constants
_MASKED = "_mask"


@dataclass(frozen=True)
class Port:
    """One tensor of a part: the name of each axis that may have any size, or its size."""

    name: str
    dtype: torch.dtype
    axes: tuple[str | int, ...]


@dataclass(frozen=True)
class Part:
    """A module with tensors as its inputs and outputs; ``examples`` has one tensor for each input."""

    name: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict)

    def examples(self, more: int = 0, seed: int = 0) -> tuple[Tensor, ...]:
        """Return random inputs; all named axes are ``more`` longer than in the first example."""
        generator = torch.Generator().manual_seed(seed)
        made = []
        for port in self.inputs:
            shape = []
            for axis in port.axes:
                shape.append(axis if isinstance(axis, int) else self.sizes[axis] + more)
            if port.dtype == torch.bool:
                made.append(torch.ones(shape, dtype=torch.bool))
            elif port.dtype == torch.int64:
                # Row numbers and token ids: the first rows and words exist in every network.
                made.append(torch.randint(0, _FIRST_SIZE, shape, generator=generator))
            else:
                made.append(torch.randn(shape, generator=generator))
        return tuple(made)


def parts_of(net: Network) -> list[Part]:
    """Return what is exported of a network; UserError for inputs that have no form outside of mplug2."""
    goal = net.spec.eval["goal"]
    for step in net.plan(goal).steps if goal in net.spec.goals else ():
        decoder = step.binding.ports.get("decoder")
        memory = step.binding.ports.get("memory")
        if isinstance(decoder, ModuleRef) and isinstance(memory, Ref):
            module = net.get_module(decoder.name)
            if isinstance(module, TextDecoder):
                return _writing_parts(net, module, memory.name)
    goals = [name for name in VECTOR_GOALS if name in net.spec.goals] or [goal]
    parts = []
    for name in goals:
        inputs, sizes = _ports(net, name)
        module = GoalPart(net, name, inputs)
        parts.append(Part(name, module, inputs, module.output_names(), sizes))
    return parts


class GoalPart(nn.Module):
    """The outputs of a goal, as tensors."""

    def __init__(self, net: Network, goal: Goal, ports: Sequence[Port]) -> None:
        super().__init__()
        self.net, self.goal, self.ports = net, goal, ports

    def outputs(self, tensors: Sequence[Tensor]) -> dict[str, Any]:
        """Return the streams of the goal by their names."""
        batch: dict[str, Any] = {}
        by_name = dict(zip((port.name for port in self.ports), tensors, strict=True))
        for name, tensor in by_name.items():
            if f"{name}{_MASKED}" in by_name:
                batch[name] = Text(tensor, by_name[f"{name}{_MASKED}"])
            elif not (name.endswith(_MASKED) and name.removesuffix(_MASKED) in by_name):
                batch[name] = tensor
        outputs: dict[str, Any] = self.net(batch, self.goal)
        return outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return all tensors of all outputs."""
        flat: list[Tensor] = []
        for value in self.outputs(tensors).values():
            if isinstance(value, Tokens):
                flat += [value.values, full_mask(value)]
            else:
                flat.append(value)
        return tuple(flat)

    def output_names(self) -> tuple[str, ...]:
        """Return the name of each tensor; that of a padding mask ends in ``_mask``."""
        names = []
        outputs = self.net.plan(self.goal).outputs
        for name, ref in outputs.items():
            declared = self.net.types[ref.name]
            value_class = half(declared.kind).value_class
            if value_class not in (Tensor, Tokens):
                raise UserError(
                    f"{self.net.spec.path}: to export, goal '{self.goal}' must give tensors or hidden states "
                    f"(got {name}: {declared}). Choose another goal: eval.goal=NAME"
                )
            names.append(name)
            if value_class is Tokens:
                names.append(f"{name}{_MASKED}")
        return tuple(names)


class EncoderPart(GoalPart):
    """The encoder of a network that writes: the keys and values of its memory for each decoder layer."""

    def __init__(
        self, net: Network, decoder: TextDecoder, memory: str, ports: Sequence[Port]
    ) -> None:
        super().__init__(net, (memory,), ports)
        self.decoder, self.memory = decoder, memory

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return keys and values [layers samples heads memory size], and a mask [samples memory]."""
        memory: Tokens = self.outputs(tensors)[self.memory]
        cache = self.decoder.init_cache(memory)
        return (*_stacked(cache.cross_attention_cache), full_mask(memory))


class StepPart(nn.Module):
    """One step of a decoder: a word of each row is read, and the next one is scored."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        ids: Tensor,
        memory_keys: Tensor,
        memory_values: Tensor,
        memory_mask: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [rows vocab], and the keys and values [layers rows heads words size] with the new word.

        ``ids`` [rows]. ``keys`` and ``values`` are those of the step before, with no words at first.
        """
        cross = _layers(memory_keys, memory_values)
        words = _layers(keys, values)
        mask = memory_mask[:, None, None, :]
        state = DecoderCache(cross, mask, words, keys.shape[3])
        logits = self.decoder.decode(ids[:, None, None], state)[:, 0, -1]
        return (logits, *_stacked(state.self_attention_cache))


def _writing_parts(net: Network, decoder: TextDecoder, memory: str) -> list[Part]:
    inputs, sizes = _ports(net, (memory,))
    keys = ("memory_keys", "memory_values", "memory_mask")
    encoder = Part(
        "encoder", EncoderPart(net, decoder, memory, inputs), inputs, keys, sizes
    )
    with torch.no_grad():
        example, _, _ = encoder.module(*encoder.examples())
    layers, _, heads, _, size = example.shape
    real = example.dtype
    shared = (layers, "rows", heads, "memory", size)
    written = (layers, "rows", heads, "words", size)
    step_inputs = (
        Port("ids", torch.int64, ("rows",)),
        Port("memory_keys", real, shared),
        Port("memory_values", real, shared),
        Port("memory_mask", torch.bool, ("rows", "memory")),
        Port("keys", real, written),
        Port("values", real, written),
    )
    step_sizes = {"rows": 2, "memory": 5, "words": 3}
    outputs = ("logits", "next_keys", "next_values")
    step = Part("decoder_step", StepPart(decoder), step_inputs, outputs, step_sizes)
    return [encoder, step]


def _ports(net: Network, goal: Goal) -> tuple[tuple[Port, ...], dict[str, int]]:
    """Return the tensors that a goal reads, and a size for each of their named axes."""
    ports: list[Port] = []
    sizes: dict[str, int] = {}
    for name in net.plan(goal).inputs:
        declared = net.types[name]
        axes = tuple(declared.axes)
        for axis in axes:
            if isinstance(axis, str):
                sizes.setdefault(axis, _FIRST_SIZE + len(sizes))
        if half(declared.kind).value_class is Text:
            ports.append(Port(name, torch.int64, axes))
            ports.append(Port(f"{name}{_MASKED}", torch.bool, axes))
        elif half(declared.kind).value_class is Tensor:
            ports.append(Port(name, _dtype(declared), axes))
        else:
            raise UserError(
                f"{net.spec.path}: input '{name}' cannot be exported, since it is not a text or a tensor "
                f"(got {declared})"
            )
    return tuple(ports), sizes


def _dtype(declared: StreamType) -> torch.dtype:
    blank = half(declared.kind).blank([1 for _ in declared.axes], "cpu")
    dtype: torch.dtype = blank.dtype
    return dtype


def _stacked(cache: Sequence[KeysValues]) -> tuple[Tensor, Tensor]:
    keys, values = [], []
    for layer in cache:
        keys.append(layer.keys)
        values.append(layer.values)
    return torch.stack(keys), torch.stack(values)


def _layers(keys: Tensor, values: Tensor) -> list[KeysValues]:
    return [KeysValues(keys[number], values[number]) for number in range(keys.shape[0])]
