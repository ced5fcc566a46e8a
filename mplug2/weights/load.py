"""Putting weights into a network: all that fits, each key accounted for, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from mplug2.weights.families.mplug2 import Move, Roles, plan_moves
from mplug2.weights.report import LoadReport, Status
from mplug2.weights.shape_fixes import fit
from registry import UserError


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by their own keys, and where each goes in a network: to any number of places, or nowhere.

    ``fresh``: patterns of weights that such a checkpoint never holds, with the reason; they stay as drawn.
    ``twins``: keys whose values go to the momentum copies.
    """

    origin: str
    tensors: Mapping[str, Tensor]
    moves: Iterable[Move]
    fresh: Mapping[str, str] = field(default_factory=dict)
    twins: Collection[str] = ()


def put(
    net: nn.Module,
    checkpoint: Checkpoint,
    wanted: Collection[str] | None = None,
    shadow: Mapping[str, Tensor] | None = None,
) -> LoadReport:
    """Load a checkpoint into the modules named in ``wanted`` (all, if None) and say what became of each key.

    UserError with the table of what does not fit if a tensor has another shape, or if a module is only
    partly there; then nothing is loaded.
    """
    report = LoadReport(checkpoint.origin)
    targets = {"": dict(net.state_dict()), "m": dict(shadow or {})}
    chosen: dict[tuple[str, str], Tensor] = {}
    for move in checkpoint.moves:
        key, kind = move.source, "m" if move.source in checkpoint.twins else ""
        home = targets[kind]
        if not move.target:
            report.add("dropped", key, reason=move.reason)
        elif wanted is not None and (module := move.target.split(".")[0]) not in wanted:
            report.add("dropped", key, move.target, f"init does not ask it for {module}")
        elif kind and not home:
            report.add("dropped", key, reason="a momentum copy, and this network keeps none")
        elif move.target not in home:
            reason = (
                "a momentum copy that no ema(...) reads" if kind else "this network's module is not so deep"
            )
            report.add("dropped" if kind else "misfit", key, move.target, reason)
        else:
            fitted, note = fit(move.target, checkpoint.tensors[key], home[move.target])
            if fitted is None:
                report.add("misfit", key, move.target, note)
                continue
            # a tied weight is stored under two names; the later name wins, as in the released loader
            status: Status = "tied" if (kind, move.target) in chosen else "resized" if note else "loaded"
            report.add(status, key, move.target, note, momentum=bool(kind))
            chosen[kind, move.target] = fitted
    _note_missing(report, net, chosen, wanted, checkpoint.fresh)
    _commit(report, chosen, targets)
    return report


def load_official(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    roles: Roles,
    wanted: Collection[str] | None = None,
    origin: str = "checkpoint",
    shadow: Mapping[str, Tensor] | None = None,
) -> LoadReport:
    """Load a released mPLUG-2 state dict; ``_m`` keys go to the momentum copies where ``shadow`` holds
    them."""
    # the momentum twin of `text_encoder.x` is called `text_encoder_m.x`
    twins = {_without_m(key): key for key in tensors if _is_twin(key)}
    moves = plan_moves([key for key in tensors if not _is_twin(key)], roles)
    moves += [replace(move, source=twins[move.source]) for move in plan_moves(list(twins), roles)]
    return put(net, Checkpoint(origin, tensors, moves, twins=set(twins.values())), wanted, shadow)


def load_own(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    wanted: Collection[str] | None = None,
    origin: str = "weights",
) -> LoadReport:
    """Load weights that carry this network's own names."""
    home = net.state_dict()

    def move(name: str) -> Move:
        if name not in home:
            return Move(name, reason="no module of this network has it")
        module, _, inside = name.partition(".")
        if inside in getattr(net.get_submodule(module), "begins_anew", ()):
            return Move(name, reason="of the run that wrote it: it begins anew")
        return Move(name, name)

    moves = [move(name) for name in tensors]
    return put(net, Checkpoint(origin, tensors, moves), wanted)


def _is_twin(key: str) -> bool:
    return key.split(".")[0].endswith("_m")


def _without_m(key: str) -> str:
    part, dot, rest = key.partition(".")
    return part.removesuffix("_m") + dot + rest


def _note_missing(
    report: LoadReport,
    net: nn.Module,
    chosen: Mapping[tuple[str, str], Tensor],
    wanted: Collection[str] | None,
    fresh: Mapping[str, str],
) -> None:
    """A module that is wholly absent keeps its fresh weights (missing); one that is partly there does not
    fit, but for what such a checkpoint never holds."""
    there = {target.split(".")[0] for kind, target in chosen if not kind}
    named = {row.target for row in report.of("misfit")}
    for name in net.state_dict():
        module = name.split(".")[0]
        if ("", name) in chosen or name in named or (wanted is not None and module not in wanted):
            continue
        reason = next((why for pattern, why in fresh.items() if fnmatchcase(name, pattern)), None)
        if module not in there:
            report.add("missing", target=name, reason=f"no weights of {module} in the file: it keeps its own")
        elif reason is not None:
            report.add("missing", target=name, reason=reason)
        else:
            report.add("misfit", target=name, reason="not in the file")


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
