"""Which parameter learns at which rate, which decays, and by which optimizer."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import nn

from modules.torchvision_guard import ensure_torchvision
from mplug2.build.patterns import DEFAULT
from mplug2.train.layer_decay import layer_scales
from registry import OPTIMIZERS
from registry.errors import UserError
from registry.language.patterns import most_specific, select, suggestion, unmatched
from registry.language.schema import TRAIN
from registry.registries import closest_name

TIMM = "timm:"


def group_names(
    names: Sequence[str], lr: float | Mapping[str, float]
) -> dict[str, str]:
    """Return the pattern of `train.lr` that each parameter learns by; the most specific that matches decides.

    ``lr`` is one number for all (then everything is in the group ``default``), or
    ``{default: 2e-5, vision: 2e-6}``. A parameter that nothing matches is left out. A pattern that matches no
    parameter raises UserError.
    """
    if not isinstance(lr, Mapping):
        return dict.fromkeys(names, DEFAULT)
    patterns = [pattern for pattern in lr if pattern != DEFAULT]
    for pattern in unmatched(patterns, names):
        _raise_unmatched("train.lr", pattern, names)
    groups = {}
    for name in names:
        deciding = most_specific(patterns, name)
        if deciding is not None:
            groups[name] = deciding
        elif DEFAULT in lr:
            groups[name] = DEFAULT
    return groups


def parameter_groups(
    net: nn.Module, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the optimizer's groups, one for each pattern of `train.lr`, each factor of `train.layer_decay`,
    and with or without weight decay.

    A group has ``name``, ``params``, ``param_names``, ``lr`` and ``weight_decay``. ``settings`` is the spec's
    `train` section: ``lr``, ``layer_decay``, ``weight_decay``, ``no_decay``. Each trainable parameter is in
    exactly one group.
    Raises UserError if a parameter is in no group, if a pattern matches nothing, or if nothing is trainable.
    """
    trainable = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            trainable[name] = parameter
    if not trainable:
        raise UserError(
            "freeze: the network has no parameter to train. Freeze fewer modules"
        )
    # Patterns may match frozen parameters, too: a rate may stay in the spec while its module is frozen.
    everything = [name for name, _ in net.named_parameters()]
    patterns = group_names(everything, settings["lr"])
    # Biases and norms by default, as usual.
    exempt = _without_decay(everything, settings["no_decay"])
    scales = layer_scales(everything, settings.get("layer_decay") or {})
    groups: dict[tuple[str, bool, float], dict[str, Any]] = {}
    for name, parameter in trainable.items():
        if name not in patterns:
            raise UserError(
                f"train.lr: parameter {name!r} is in no group. Add `default: 2e-5`, or a pattern for it"
            )
        # torch's optimizers have one rate and one decay for a group.
        key = (patterns[name], name not in exempt, scales.get(name, 1.0))
        if key not in groups:
            groups[key] = _empty_group(*key, settings)
        groups[key]["params"].append(parameter)
        groups[key]["param_names"].append(name)
    return list(groups.values())


def _empty_group(
    pattern: str, decays: bool, scale: float, settings: Mapping[str, Any]
) -> dict[str, Any]:
    lr = settings["lr"]
    name = pattern if scale == 1 else f"{pattern} x {scale:.4g}"
    return {
        "name": name if decays else f"{name}, no decay",
        "params": [],
        "param_names": [],
        "lr": scale * float(lr[pattern] if isinstance(lr, Mapping) else lr),
        "weight_decay": float(settings["weight_decay"]) if decays else 0.0,
    }


def _without_decay(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the names without weight decay; UserError if a pattern matches nothing."""
    # The default may match nothing in a small network.
    if patterns != TRAIN["no_decay"].default:
        for pattern in unmatched(patterns, names):
            _raise_unmatched("train.no_decay", pattern, names)
    return select(patterns, names)


def build_optimizer(
    net: nn.Module, settings: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Return the optimizer that `train.optimizer` names, over ``parameter_groups``.

    Its attribute ``elementwise`` declares whether ZeRO may split parameters over ranks.
    """
    groups = parameter_groups(net, settings)
    name, options = optimizer_options(settings["optimizer"])
    # The option of a spec comes before what the factory declares.
    is_elementwise = options.pop("elementwise", None)
    factory = optimizer_factory(name)
    if is_elementwise is None:
        is_elementwise = bool(getattr(factory, "elementwise", False))
    try:
        optimizer: torch.optim.Optimizer = factory(groups, settings, **options)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"train.optimizer: {name!r} cannot be built ({error}). Check its options"
        ) from error
    optimizer.elementwise = is_elementwise  # type: ignore[attr-defined]
    _check_coverage(net, optimizer, name)
    return optimizer


def optimizer_options(value: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of `train.optimizer`, a name or ``{name: ..., option: value}``."""
    if isinstance(value, str):
        return value, {}
    # A copy: the settings of the spec stay as they were read.
    options = dict(value)
    return str(options.pop("name")), options


def optimizer_factory(name: str) -> Callable[..., torch.optim.Optimizer]:
    """Return the factory of a registered name, of ``timm:NAME``, or of ``package.module:Class``."""
    if name.startswith(TIMM):
        return _timm_factory(name.removeprefix(TIMM))
    module, colon, attribute = name.partition(":")
    if not colon:
        factory: Callable[..., torch.optim.Optimizer] = OPTIMIZERS.load(name)
        return factory
    try:
        constructor = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"train.optimizer: {name!r} cannot be imported ({error})"
        ) from error

    # A spec must not be able to call anything else that Python can import.
    if not (
        isinstance(constructor, type) and issubclass(constructor, torch.optim.Optimizer)
    ):
        raise UserError(
            f"train.optimizer: {name!r} must be a class of optimizers (a subclass of "
            f"torch.optim.Optimizer), but is {type(constructor).__name__} {attribute!r}"
        )

    def build(
        groups: list[dict[str, Any]], settings: Mapping[str, Any], **options: Any
    ) -> Any:
        return constructor(groups, **options)

    if hasattr(constructor, "elementwise"):
        build.elementwise = constructor.elementwise  # type: ignore[attr-defined]
    return build


def _timm_factory(name: str) -> Callable[..., torch.optim.Optimizer]:
    ensure_torchvision()
    from timm.optim import create_optimizer_v2, list_optimizers

    choices = list_optimizers()
    if name.lower() not in choices:
        suggestion = closest_name(name.lower(), choices)
        hint = (
            f"Did you mean '{suggestion}'?"
            if suggestion
            else f"It has {', '.join(choices)}"
        )
        raise UserError(
            f"train.optimizer: timm has no optimizer (got '{name}'). {hint}"
        )

    def build(
        groups: list[dict[str, Any]], settings: Mapping[str, Any], **options: Any
    ) -> Any:
        # The groups already separate what decays: timm must not split them again.
        return create_optimizer_v2(
            groups, opt=name, filter_bias_and_bn=False, **options
        )

    return build


def _check_coverage(
    net: nn.Module, optimizer: torch.optim.Optimizer, name: str
) -> None:
    """Raise UserError unless the optimizer holds each trainable parameter exactly once."""
    held: Counter[int] = Counter()
    for group in optimizer.param_groups:
        held.update(id(parameter) for parameter in group["params"])
    for parameter_name, parameter in net.named_parameters():
        count = held[id(parameter)]
        if parameter.requires_grad and count != 1:
            raise UserError(
                f"train.optimizer: {name!r} must hold each parameter once (got {parameter_name!r} {count} "
                "times). Its factory must keep all parameters of its groups"
            )


def _raise_unmatched(key: str, pattern: str, names: Sequence[str]) -> NoReturn:
    modules = dict.fromkeys(name.split(".")[0] for name in names)
    hint = suggestion(pattern, names) or f"the modules are {', '.join(modules)}"
    raise UserError(
        f"{key}: pattern {pattern!r} must match a parameter, but matches none; {hint}"
    )
