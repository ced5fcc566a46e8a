"""Low-rank adapters of a network: which layers get one, what is frozen and stored, and how they merge."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import nn

from modules.adapters import AdaptedLinear, adapt_linear, merge_linear
from mplug2.freezing import END, Freezer
from registry import Problem, UserError
from registry.language.adapting import adapter_of
from registry.language.patterns import suggestion, unmatched

if TYPE_CHECKING:
    from mplug2.network import Network

TOLERANCE = 1e-5  # of the output of a merged layer, relative to its largest value


def adapt(net: Network, filled: Collection[str] = ()) -> list[Problem]:
    """Give the linear layers that `adapt` matches their adapters, and freeze the parameters that it matches.

    ``filled``: names of the weights that `init` gave. Those of them that are frozen for the complete run are
    not stored in checkpoints, because `init` gives them again. Returns every problem of the section.
    """
    spec = net.spec
    before = dict(net.named_parameters(remove_duplicate=False))
    layers = {}
    for name, part in net.named_modules():
        if isinstance(part, nn.Linear):
            layers[name] = part
    problems = []
    for pattern, value in spec.adapt.items():
        # An exception may also keep other parameters in training, such as an embedding.
        names = list(before) if value is False else list(layers)
        if unmatched([pattern], names):
            what = "parameter" if value is False else "linear layer"
            message = f"adapt pattern '{pattern}' must match a {what}, but matches none"
            place = spec.key_place("adapt", pattern)
            problems.append(Problem(place, message, suggestion(pattern, names)))
    averaged = set() if net.ema is None else set(net.ema.modules)
    for name, layer in layers.items():
        adapter = adapter_of(spec.adapt, name)
        if adapter is None:
            continue
        problem = _refusal(name, layer, before, averaged)
        if problem is None:
            is_dora = adapter.kind == "dora"
            try:
                adapt_linear(layer, adapter.rank, adapter.alpha, magnitude=is_dora)
            except ValueError as error:
                problem = str(error)
        if problem is not None:
            hint = f"exempt it: `adapt: {{{name}: false}}`"
            message = f"'{name}' cannot be adapted: {problem}"
            problems.append(Problem(spec.place("adapt"), message, hint))
    if not problems:
        _freeze(net, before, filled)
    return problems


def _refusal(
    name: str,
    layer: nn.Linear,
    parameters: dict[str, nn.Parameter],
    averaged: Collection[str],
) -> str | None:
    """Return why a layer cannot have an adapter."""
    if name.partition(".")[0] in averaged:
        return "`ema(...)` keeps a copy of its module"
    weight = layer._parameters.get("weight")
    names = [other for other, parameter in parameters.items() if parameter is weight]
    if weight is None or len(names) > 1:
        others = ", ".join(other for other in names if other != f"{name}.weight")
        return f"its weight is tied to {others or 'another one'}"
    return None


def _freeze(
    net: Network, before: dict[str, nn.Parameter], filled: Collection[str]
) -> None:
    """Freeze what `adapt` matches; adapters train, also in modules that `freeze` matches."""
    matched = {name for name in before if adapter_of(net.spec.adapt, name) is not None}
    adapters = set(dict(net.named_parameters(remove_duplicate=False))) - set(before)
    freezer = Freezer(net, net.spec.freeze, frozen=matched, trained=adapters)
    vars(net)["freezer"] = freezer
    frozen = set(freezer.parameters(END))
    for parameter in frozen:
        parameter.requires_grad_(False)
    # A checkpoint holds what `init` cannot give again.
    left_out = set()
    for name, parameter in before.items():
        if parameter in frozen and name in filled:
            left_out.add(name)
    vars(net)["supplied"] = frozenset(left_out)
    net.train(net.training)


def merge(net: Network) -> int:
    """Add all adapters to the weights of their layers, and return how many there were.

    Each merged layer is compared with the adapted one on random rows. UserError if one differs, as for
    weights that are too coarse (16 bit) or not finite.
    """
    # Collected first: merging replaces the layers that are iterated over.
    layers = {}
    for name, part in net.named_modules():
        if isinstance(part, AdaptedLinear):
            layers[name] = part
    generator = torch.Generator().manual_seed(0)
    for name, layer in layers.items():
        rows = torch.randn(8, layer.in_features, generator=generator).to(layer.weight)
        with torch.no_grad():
            adapted = layer(rows)
            merge_linear(layer)
            merged = layer(rows)
        largest = adapted.abs().max().clamp_min(1e-12)
        difference = float((adapted - merged).abs().max() / largest)
        # Not `>`, which NaN would pass.
        if not difference <= TOLERANCE:
            raise UserError(
                f"'{name}' cannot be merged: the outputs of the adapted and the merged layer differ by "
                f"{difference:.1e} of the largest (at most {TOLERANCE:.0e}). Merge float32 weights"
            )
    vars(net)["supplied"] = frozenset()
    return len(layers)
