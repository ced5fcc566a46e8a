"""Muon for matrices between hidden layers, AdamW for all other parameters, as one optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from registry.language.patterns import is_selected

# Embeddings learn by rows, which Muon would mix.
BY_ADAMW = [
    "*word.weight",
    "*position*",
    "*kind.weight",
    "*latents",
    "*kernel",
    "*head*",
]


class MuonWithAdamW(torch.optim.Optimizer):
    """Groups with ``use_muon`` are stepped by ``torch.optim.Muon``, the others by ``torch.optim.AdamW``.

    Muon orthogonalizes the momentum of a matrix (Jordan et al., 2024,
    https://kellerjordan.github.io/posts/muon).
    """

    def __init__(
        self,
        by_muon: list[dict[str, Any]],
        by_adamw: list[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        """Make one optimizer of two lists of groups; ``options`` are the arguments of each, by its name."""
        self._parts: dict[bool, torch.optim.Optimizer] = {}
        groups: list[dict[str, Any]] = []
        if by_muon:
            self._parts[True] = torch.optim.Muon(by_muon, **options["muon"])
            groups += self._parts[True].param_groups
        if by_adamw:
            self._parts[False] = torch.optim.AdamW(by_adamw, **options["adamw"])
            groups += self._parts[False].param_groups
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for use_muon, part in self._parts.items():
            part.param_groups = [
                group for group in self.param_groups if group["use_muon"] == use_muon
            ]
            part.state = self.state
            part.step()


def muon(
    groups: list[dict[str, Any]],
    settings: Mapping[str, Any],
    *,
    momentum: float = 0.95,
    nesterov: bool = True,
    ns_steps: int = 5,
    adjust_lr_fn: str | None = "match_rms_adamw",
    adamw: list[str] | None = None,
) -> MuonWithAdamW:
    """Return Muon over the matrices between hidden layers, and AdamW over the rest.

    ``adamw`` are patterns of matrices that AdamW steps all the same. The default is the embeddings of this
    project's modules, and everything with `head` in its name; add the layers that end your network.
    With ``adjust_lr_fn='match_rms_adamw'`` both use the learning rate of AdamW.
    """
    patterns = BY_ADAMW if adamw is None else adamw
    by_muon: list[dict[str, Any]] = []
    by_adamw: list[dict[str, Any]] = []
    for group in groups:
        matrices, others = _split(group, patterns)
        if matrices["params"]:
            by_muon.append(matrices)
        if others["params"]:
            by_adamw.append(others)
    beta1, beta2 = settings["betas"]
    options = {
        "muon": {
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        },
        "adamw": {"betas": (float(beta1), float(beta2)), "eps": float(settings["eps"])},
    }
    return MuonWithAdamW(by_muon, by_adamw, options)


def _split(
    group: dict[str, Any], patterns: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the part of a group that Muon steps, and the part that AdamW steps."""
    parts = []
    for use_muon, suffix in ((True, "muon"), (False, "adamw")):
        name = f"{group['name']}, {suffix}"
        parts.append(
            {
                **group,
                "name": name,
                "use_muon": use_muon,
                "params": [],
                "param_names": [],
            }
        )
    matrices, others = parts
    for name, parameter in zip(group["param_names"], group["params"], strict=True):
        is_hidden = parameter.ndim == 2 and not is_selected(patterns, name)
        part = matrices if is_hidden else others
        part["params"].append(parameter)
        part["param_names"].append(name)
    return matrices, others
