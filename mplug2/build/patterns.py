"""Patterns of parameters against the parameters that there are: what is tied, frozen, learns how fast."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import nn

from registry import Place, Problem
from registry.checks.ties import roots
from registry.language.schema import TRAIN
from registry.registries import nearest

if TYPE_CHECKING:
    from mplug2.network import Network


def matching(name: str, pattern: str) -> bool:
    """Whether a parameter called ``name`` is meant by ``pattern``: a prefix of whole words, or a wildcard."""
    return name == pattern or name.startswith(pattern + ".") or fnmatchcase(name, pattern)


def tie(net: Network) -> list[Problem]:
    """Make each weight on the left of ``tie:`` the very same parameter as the one its chain ends in."""
    problems = []
    for left, end in roots(net.spec.tie).items():
        right = net.spec.tie[left]
        missing = [name for name in (left, right) if _weight(net, name) is None]
        for name in missing:
            place = net.spec.key_place("tie", left) if name == left else net.spec.place("tie", left)
            message = f"tie must name two weights, but '{name}' is none"
            problems.append(Problem(place, message, _near(name, _names(net))))
        old, new = _weight(net, left), _weight(net, end)
        if missing or old is None or new is None:  # the end of a chain is told where it is named
            continue
        if old.shape != new.shape:
            shapes = f"{left} is {[*old.shape]} and {end} is {[*new.shape]}"
            message = f"tied weights must have one shape, but {shapes}"
            problems.append(Problem(net.spec.key_place("tie", left), message))
            continue
        module, _, path = left.partition(".")
        owner, _, attribute = path.rpartition(".")
        setattr(net.part(module).get_submodule(owner), attribute, new)
    return problems


def freeze(net: Network) -> list[Problem]:
    """Take the gradients from all parameters that a pattern of ``freeze:`` means."""
    problems = []
    for i, pattern in enumerate(net.spec.freeze):
        found = [parameter for name, parameter in net.named_parameters() if matching(name, pattern)]
        if not found:
            problems.append(_unmatched(net.spec.place("freeze", i), "freeze pattern", pattern, _names(net)))
        for parameter in found:
            parameter.requires_grad_(False)
    return problems


def unmatched_rates(net: Network) -> list[Problem]:
    """The patterns of ``train.lr`` and ``train.no_decay`` that match no parameter; one without a rate."""
    spec, names = net.spec, _names(net)
    problems = []
    if isinstance(lr := spec.train["lr"], dict):
        problems = [
            _unmatched(spec.key_place("train", "lr", pattern), "lr pattern", pattern, names)
            for pattern in lr
            if pattern != "default" and not any(matching(name, pattern) for name in names)
        ]
        bare = [name for name in names if not any(matching(name, one) for one in lr)]
        if bare and "default" not in lr:
            message = f"train.lr must give every parameter a rate, but '{bare[0]}' has none"
            problems.append(Problem(spec.place("train", "lr"), message, "add `default: 2e-5`"))
    # the default may well find nothing in a small network
    if spec.train["no_decay"] != TRAIN["no_decay"].default:
        problems += [
            _unmatched(spec.place("train", "no_decay", i), "no_decay pattern", pattern, names)
            for i, pattern in enumerate(spec.train["no_decay"])
            if not any(matching(name, pattern.removeprefix("!")) for name in names)
        ]
    return problems


def _names(net: Network) -> list[str]:
    return [name for name, _ in net.named_parameters()]


def _weight(net: Network, name: str) -> nn.Parameter | None:
    module, _, path = name.partition(".")
    try:
        return net.part(module).get_parameter(path)  # by `part`: a module may be called `train`
    except (AttributeError, KeyError):
        return None


def _unmatched(place: Place, what: str, pattern: str, names: Iterable[str]) -> Problem:
    message = f"{what} '{pattern}' must match a parameter, but matches none"
    return Problem(place, message, _near(pattern, names))


def _near(pattern: str, names: Iterable[str]) -> str:
    """A name, or the beginning of one, that was probably meant; else what there is in that module."""
    names = list(names)
    words = [".".join(name.split(".")[:length]) for name in names for length in range(1, name.count(".") + 2)]
    if near := nearest(pattern, dict.fromkeys(words)):
        return f"did you mean '{near}'?"
    module = pattern.split(".")[0]
    inside = dict.fromkeys(".".join(name.split(".")[:2]) for name in names if name.startswith(f"{module}."))
    return f"in '{module}' there are {', '.join(inside)}" if inside else ""
