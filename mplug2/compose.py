"""From a spec to a network: check, build, initialise, tie, freeze."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from mplug2.network import Network
from mplug2.weights.sources import initialise
from registry import MODULES, Problem, Spec, SpecError, check, read_spec


def compose(
    spec: Spec | str | os.PathLike[str],
    overrides: Sequence[str] = (),
    device: torch.device | str = "cpu",
    initial: bool = True,
) -> Network:
    """The network that ``spec`` (read or a path) describes, on ``device``; SpecError if it is no valid spec.

    Weights are drawn from torch's generator, then replaced as ``init:`` says unless ``initial`` is False (for
    a network whose weights are loaded next) or the device is ``meta``.
    """
    if not isinstance(spec, Spec):
        spec = read_spec(spec, overrides)
    elif overrides:
        raise ValueError("overrides apply to a spec that is read from a file")
    report = check(spec)
    report.raise_if_bad()
    net = Network(spec, report.types, _build(spec, device))
    _tie(net)
    if initial and torch.device(device).type != "meta":
        initialise(net)
    _freeze(net)
    net.start_shadow()
    return net


def _build(spec: Spec, device: torch.device | str) -> dict[str, nn.Module]:
    parts: dict[str, nn.Module] = {}
    problems = []
    for name, entry in spec.modules.items():
        try:
            with torch.device(device):
                parts[name] = MODULES.load(entry.use)(**entry.arguments)
        except ValueError as error:  # what only the module itself knows of its arguments
            problems.append(Problem(entry.place, f"{name}: {error}"))
    if problems:
        raise SpecError(problems)
    return parts


def matching(name: str, pattern: str) -> bool:
    """Whether a parameter called ``name`` is meant by ``pattern``: a prefix of whole words, or a wildcard."""
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def _freeze(net: Network) -> None:
    for i, pattern in enumerate(net.spec.freeze):
        found = [parameter for name, parameter in net.named_parameters() if matching(name, pattern)]
        if not found:
            place = net.spec.place("freeze", i)
            raise SpecError(
                [Problem(place, f"freeze pattern '{pattern}' must match a parameter, but matches none")]
            )
        for parameter in found:
            parameter.requires_grad_(False)


def _tie(net: Network) -> None:
    """Make each weight on the left the very same parameter as the one on the right."""
    for left, right in net.spec.tie.items():
        place = net.spec.place("tie", left)
        ends = []
        for name in (left, right):
            owner, _, attribute = name.rpartition(".")
            try:
                ends.append((net.get_submodule(owner), attribute, net.get_parameter(name)))
            except AttributeError:
                raise SpecError(
                    [Problem(place, f"tie must name two weights, but '{name}' is none")]
                ) from None
        (module, attribute, old), (_, _, new) = ends
        if old.shape != new.shape:
            shapes = f"{left} is {[*old.shape]} and {right} is {[*new.shape]}"
            message = f"tied weights must have one shape, but {shapes}"
            raise SpecError([Problem(place, message)])
        setattr(module, attribute, new)
