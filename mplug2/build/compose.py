"""From a spec to a network: check, build, tie, freeze, initialise."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import torch
from torch import nn

from mplug2.build.apply_adapters import adapt
from mplug2.build.patterns import freeze, tie
from mplug2.build.undrawn import UndrawnWeights
from mplug2.network import Network
from mplug2.runtime.devices import usable_device
from mplug2.weights.sources import initialise
from registry import MODULES, Problem, Spec, SpecError, UserError, check, read_spec

# What a module, or torch, raises for arguments that only they can judge.
_REFUSALS = (ValueError, TypeError, RuntimeError, OverflowError, ZeroDivisionError)


def compose(
    spec: Spec | str | os.PathLike[str],
    overrides: Sequence[str] = (),
    device: torch.device | str = "cpu",
    initial: bool = True,
    drawn: bool = True,
) -> Network:
    """The network that ``spec`` (read or a path) describes, on ``device``; raise SpecError if the spec is not
    valid.

    Weights are drawn from torch's generator, then replaced by ``init:`` unless ``initial`` is False (for
    a network whose weights are loaded next) or the device is ``meta``. ``drawn=False``, with
    ``initial=False``: weights are not even drawn but arbitrary numbers, for a checkpoint that holds all. That
    of a spec with `adapt` does not hold what `init` gives: such a network is drawn and filled anyway.
    """
    if initial and not drawn:
        raise UserError(
            "weights that are not drawn must be loaded: pass initial=False with drawn=False"
        )
    device = usable_device(device)
    if not isinstance(spec, Spec):
        spec = read_spec(spec, overrides)
    elif overrides:
        raise UserError(
            "overrides apply to a spec that is read from a file: use spec.with_(...)"
        )
    if spec.adapt and not drawn:
        initial = drawn = True
    filled = initial and device.type != "meta"
    report = check(spec, files=filled)
    # With the arguments that the spec leaves out.
    spec = report.complete_spec()
    with contextlib.nullcontext() if drawn else UndrawnWeights():
        net = Network(spec, report.types, _build(spec, device))
    if problems := tie(net) + freeze(net):
        raise SpecError(problems)
    if filled:
        _load_pretrained(net)
    # Before `init`: released files hold momentum copies, too.
    net.init_ema()
    reports = initialise(net) if filled else []
    if spec.adapt:
        filled_names: set[str] = set()
        for weights_report in reports:
            filled_names.update(weights_report.filled())
        # After `init`: adapters go around layers that have their weights.
        if problems := adapt(net, filled_names):
            raise SpecError(problems)
    return net


def _load_pretrained(net: Network) -> None:
    """Let the modules with a method `load_pretrained` load weights; `init` may replace them."""
    problems = []
    for name, entry in net.spec.modules.items():
        load = getattr(net.get_module(name), "load_pretrained", None)
        if load is None:
            continue
        # All modules are tried, so that one message names every file that is missing.
        try:
            load()
        except UserError as error:
            place = entry.places.get("pretrained", entry.place)
            problems.append(Problem(place, f"{name}: {error}"))
    if problems:
        raise SpecError(problems)


def _build(spec: Spec, device: torch.device | str) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {}
    problems = []
    for name, entry in spec.modules.items():
        arguments = MODULES.declaration(entry.use).constructor_values(entry.arguments)
        try:
            with torch.device(device):
                parts[name] = MODULES.load(entry.use)(**arguments)
        except _REFUSALS as error:
            problems.append(
                Problem(entry.place, f"{name}: {str(error).splitlines()[0]}")
            )
    if problems:
        raise SpecError(problems)
    return parts
