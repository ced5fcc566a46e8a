"""Patterns of parameters against the parameters that there are: what is tied, frozen, learns how fast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import nn

from modules.tying import tie_transposed
from mplug2.freezing import END, Freezer
from registry import Location, Problem
from registry.checks.patterns import freeze_place
from registry.checks.ties import Root, read_target, roots
from registry.language.patterns import most_specific, suggestion, unmatched
from registry.language.schema import TRAIN

if TYPE_CHECKING:
    from mplug2.network import Network

DEFAULT = "default"  # the key of `train.lr` for parameters that no pattern matches


def tie(net: Network) -> list[Problem]:
    """Make each weight on the left of ``tie:`` the parameter that its chain ends in, or its transpose."""
    problems = []
    targets = roots(net.spec.tie)
    names = _names(net)
    # All weights, before any is replaced: an entry may name a weight that another one replaces.
    weights: dict[str, nn.Parameter | None] = {}
    for left, target in net.spec.tie.items():
        weights[left] = _weight(net, left)
        right = read_target(target).name
        weights[right] = _weight(net, right)
    for left, root in targets.items():
        right = read_target(net.spec.tie[left]).name
        missing = [name for name in (left, right) if weights[name] is None]
        for name in missing:
            place = net.spec.place("tie", left)
            if name == left:
                place = net.spec.key_place("tie", left)
            message = f"tie must name two weights, but '{name}' is not a weight"
            problems.append(Problem(place, message, suggestion(name, names)))
        old, new = weights[left], weights[root.name]
        # The end of a chain is reported where it is named.
        if missing or old is None or new is None:
            continue
        problem = _misfit(root, old, new)
        if problem is not None:
            problems.append(
                Problem(net.spec.key_place("tie", left), problem.format(left=left))
            )
        elif root.transposed:
            tie_transposed(*_owner(net, left), *_owner(net, root.name))
            net.transposed[left] = root.name
        else:
            setattr(*_owner(net, left), new)
    return problems


def _misfit(root: Root, old: nn.Parameter, new: nn.Parameter) -> str | None:
    """Return the message if a weight cannot be tied to its root; ``{left}`` is replaced by its name."""
    if not root.transposed:
        if old.shape == new.shape:
            return None
        shapes = f"{{left}} is {[*old.shape]} and {root.name} is {[*new.shape]}"
        hint = ""
        if old.T.shape == new.shape:
            hint = f"; write `{root.name}.T` for the transpose"
        return f"tied weights must have one shape, but {shapes}{hint}"
    if new.ndim != 2:
        return f"only a matrix can be transposed, but {root.name} is {[*new.shape]}"
    if old.shape == new.T.shape:
        return None
    shapes = f"{{left}} is {[*old.shape]} and {root.name}.T is {[*new.T.shape]}"
    return f"tied weights must have one shape, but {shapes}"


def _owner(net: Network, name: str) -> tuple[nn.Module, str]:
    """Return the module that holds a weight, and the weight's attribute there."""
    module, _, path = name.partition(".")
    owner, _, attribute = path.rpartition(".")
    return net.get_module(module).get_submodule(owner), attribute


def freeze(net: Network) -> list[Problem]:
    """Take the gradients from all parameters that the patterns of ``freeze:`` select for the complete run.

    What is frozen for some iterations keeps its gradients here: `Network.training_at` takes them.
    """
    spec = net.spec
    freezer = Freezer(net, spec.freeze)
    # Not by attribute: a spec may call a module `freezer`.
    vars(net)["freezer"] = freezer
    for parameter in freezer.parameters(END):
        parameter.requires_grad_(False)
    # Again, since frozen modules are in eval mode also while the network trains.
    net.train(net.training)
    # All names of tied weights: a pattern may select one by any of them.
    names = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    problems = []
    for pattern in unmatched(spec.freeze, names):
        problems.append(
            _problem(freeze_place(spec, pattern), "freeze pattern", pattern, names)
        )
    ends = freezer.ends
    total = len(list(net.parameters()))
    if ends and len(freezer.parameters(0)) == total:
        message = f"no parameter trains before iteration {ends[0]}: 'freeze' matches all of them"
        problems.append(
            Problem(spec.place("freeze"), message, "freeze fewer modules at first")
        )
    return problems


def unmatched_rates(net: Network) -> list[Problem]:
    """Return the patterns of ``lr`` and ``no_decay`` that match nothing, and a parameter without a rate."""
    spec, names = net.spec, _names(net)
    problems = []
    lr = spec.train["lr"]
    if isinstance(lr, dict):
        patterns = [pattern for pattern in lr if pattern != DEFAULT]
        for pattern in unmatched(patterns, names):
            place = spec.key_place("train", "lr", pattern)
            problems.append(_problem(place, "lr pattern", pattern, names))
        without = [name for name in names if most_specific(patterns, name) is None]
        if without and DEFAULT not in lr:
            message = f"train.lr must give every parameter a rate, but '{without[0]}' has none"
            problems.append(
                Problem(spec.place("train", "lr"), message, "add `default: 2e-5`")
            )
    # The default may match nothing in a small network.
    no_decay = spec.train["no_decay"]
    if no_decay != TRAIN["no_decay"].default:
        for pattern in unmatched(no_decay, names):
            place = spec.place("train", "no_decay", no_decay.index(pattern))
            problems.append(_problem(place, "no_decay pattern", pattern, names))
    return problems


def _names(net: Network) -> list[str]:
    return [name for name, _ in net.named_parameters()]


def _weight(net: Network, name: str) -> nn.Parameter | None:
    module, _, path = name.partition(".")
    try:
        # By `get_module`: a spec may call a module `train`.
        return net.get_module(module).get_parameter(path)
    except (AttributeError, KeyError):
        return None


def _problem(place: Location, what: str, pattern: str, names: Iterable[str]) -> Problem:
    message = f"{what} '{pattern}' must match a parameter, but matches none"
    return Problem(place, message, suggestion(pattern, names))
