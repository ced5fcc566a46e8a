"""Putting weights into a network: all that fits, each key accounted for, or nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mplug2.weights.official import Move, Roles, plan_moves
from mplug2.weights.report import LoadReport, Status
from registry import UserError


def resize_positions(
    position: Float[Tensor, "one old width"], tokens: int
) -> Float[Tensor, "one tokens width"]:
    """Positional embeddings for another square grid: class row kept, the rest interpolated bilinearly.

    Released rule (align_corners off); ValueError where either grid is not square.
    """
    cls, grid = position[:, :1], position[:, 1:]
    old, new = math.isqrt(grid.shape[1]), math.isqrt(tokens - 1)
    if old * old != grid.shape[1] or new * new != tokens - 1:
        raise ValueError(f"grids must be square, but hold {grid.shape[1]} and {tokens - 1} patches")
    # (1, old * old, width) -> (1, width, old, old) -> (1, new * new, width)
    image = grid.transpose(1, 2).unflatten(2, (old, old))
    image = F.interpolate(image, size=(new, new), mode="bilinear", align_corners=False)
    return torch.cat([cls, image.flatten(2).transpose(1, 2)], dim=1)


def fit(name: str, value: Tensor, target: Tensor) -> tuple[Tensor | None, str]:
    """``value`` in the shape of ``target`` and, where it was resized, how; (None, why) if it cannot fit."""
    if value.shape == target.shape:
        return value, ""
    if name.endswith(".kernel") and value.ndim == 5 and value.numel() == target.numel():
        return value.flatten(1).T, ""  # depthwise conv (channels, 1, 3, 1, 1) -> (3, channels)
    if name.endswith("stem.position"):
        value = value.reshape(1, -1, value.shape[-1])
        if value.shape == target.shape:
            return value, ""
        if value.shape[-1] == target.shape[-1]:
            resized = resize_positions(value.float(), target.shape[1])
            return resized, f"{value.shape[1]} positions to {target.shape[1]}"
    if [n for n in value.shape if n != 1] == [n for n in target.shape if n != 1]:
        return value.reshape(target.shape), ""
    return None, f"file has {list(value.shape)}, network has {list(target.shape)}"


def load_official(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    roles: Roles,
    wanted: str = "*",
    origin: str = "checkpoint",
    shadow: Mapping[str, Tensor] | None = None,
) -> LoadReport:
    """Load a released mPLUG-2 state dict into the modules whose names match ``wanted``.

    ``_m`` keys go to the momentum copies where ``shadow`` holds them. UserError with the table of what does
    not fit if a tensor has another shape, or if a module is only partly there; then nothing is loaded.
    """
    report = LoadReport(origin)
    # the momentum twin of `text_encoder.x` is called `text_encoder_m.x`
    twins = {key: _without_m(key) for key in tensors if _is_twin(key)}
    plain = [key for key in tensors if key not in twins]
    moves = {move.source: move for move in plan_moves(plain, roles)}
    moves |= _twin_moves(twins, roles)
    targets = {"": dict(net.state_dict()), "m": dict(shadow or {})}
    chosen: dict[tuple[str, str], Tensor] = {}
    for key, value in tensors.items():
        move, kind = moves[key], "m" if key in twins else ""
        home = targets[kind]
        if not move.target:
            report.add("dropped", key, reason=move.reason)
        elif not fnmatchcase(move.target.split(".")[0], wanted):
            report.add("dropped", key, move.target, f"init asks for {wanted} only")
        elif kind and not home:
            report.add("dropped", key, reason="a momentum copy, and this network keeps none")
        elif move.target not in home:
            reason = (
                "a momentum copy that no ema(...) reads" if kind else "this network's module is not so deep"
            )
            report.add("dropped" if kind else "misfit", key, move.target, reason)
        else:
            fitted, note = fit(move.target, value, home[move.target])
            if fitted is None:
                report.add("misfit", key, move.target, note)
                continue
            # a tied weight is stored under two names; the later name wins, as in the released loader
            status: Status = "tied" if (kind, move.target) in chosen else "resized" if note else "loaded"
            report.add(status, key, move.target, note)
            chosen[kind, move.target] = fitted
    _note_missing(report, net, chosen, wanted)
    _commit(report, chosen, targets)
    return report


def load_own(
    net: nn.Module, tensors: Mapping[str, Tensor], wanted: str = "*", origin: str = "weights"
) -> LoadReport:
    """Load weights that carry this network's own names into the modules whose names match ``wanted``.

    UserError, and nothing loaded, where a tensor has another shape or a module is only partly there.
    """
    report, home, chosen = LoadReport(origin), dict(net.state_dict()), {}
    for name, value in tensors.items():
        if not fnmatchcase(name.split(".")[0], wanted):
            report.add("dropped", name, reason=f"init asks for {wanted} only")
        elif name not in home:
            report.add("dropped", name, reason="no module of this network has it")
        elif (fitted := fit(name, value, home[name]))[0] is None:
            report.add("misfit", name, name, fitted[1])
        else:
            report.add("resized" if fitted[1] else "loaded", name, name, fitted[1])
            chosen["", name] = fitted[0]
    _note_missing(report, net, chosen, wanted)
    _commit(report, chosen, {"": home})
    return report


def _is_twin(key: str) -> bool:
    return key.split(".")[0].endswith("_m")


def _without_m(key: str) -> str:
    part, dot, rest = key.partition(".")
    return part.removesuffix("_m") + dot + rest


def _twin_moves(twins: Mapping[str, str], roles: Roles) -> dict[str, Move]:
    back = {plain: key for key, plain in twins.items()}
    return {back[move.source]: move for move in plan_moves(list(back), roles)}


def _note_missing(
    report: LoadReport, net: nn.Module, chosen: Mapping[tuple[str, str], Tensor], wanted: str
) -> None:
    """A module that is wholly absent keeps its fresh weights (missing); one that is partly there does not
    fit."""
    there = {target.split(".")[0] for kind, target in chosen if not kind}
    named = {row.target for row in report.of("misfit")}
    for name in net.state_dict():
        module = name.split(".")[0]
        if ("", name) in chosen or name in named or not fnmatchcase(module, wanted):
            continue
        if module in there:
            report.add("misfit", target=name, reason="not in the file")
        else:
            report.add("missing", target=name, reason=f"no weights of {module} in the file: it keeps its own")


def _commit(
    report: LoadReport,
    chosen: Mapping[tuple[str, str], Tensor],
    targets: Mapping[str, Mapping[str, Tensor]],
) -> None:
    misfits = report.of("misfit")
    if misfits or not report.of("loaded", "resized"):
        what = f"{len(misfits)} keys do not fit" if misfits else "no key fits"
        raise UserError(
            f"{report.origin}: {what} this network; nothing was loaded\n"
            + report.table(misfits or report.rows)
            + "\n    hint: compose the network that the checkpoint was made with, or load parts: "
            "`init: {vision: ...}`"
        )
    with torch.no_grad():
        for (kind, name), value in chosen.items():
            targets[kind][name].copy_(value)
