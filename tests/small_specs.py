"""Shipped specs, made so small that a test can run them."""

from __future__ import annotations

from pathlib import Path

import mplug2  # noqa: F401  (fills the registries)
from registry import MODULES, Spec, read_spec

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted(ROOT.glob("configs_*/*.yaml"))
SIZES = {
    "width": 32,
    "depth": 2,
    "heads": 2,
    "patch": 8,
    "size": 16,
    "frames": 3,
    "latents": 4,
    # 101 and 102 begin and end a text
    "vocab": 110,
    "positions": 16,
    "width_in": 32,
}
TEACHER = (
    "flow.loss=lm_loss(logits, target=answer, weight=vote, owner=owner, teacher=ema(logits), alpha=0.4)",
    "momentum.decay=0.9",
)


def writes_answers(file: Path) -> bool:
    """Whether a spec has the streams that `TEACHER` names."""
    return {"logits", "answer", "guess"} <= {*(spec := read_spec(file)).inputs, *spec.flow}


def small(file: Path, *overrides: str) -> Spec:
    """Return a spec with the sizes of all modules cut down."""
    spec = read_spec(file, overrides)
    settings = [
        f"modules.{name}.{argument}={SIZES[argument]}"
        for name, entry in spec.modules.items()
        for argument in MODULES.declaration(entry.use).arguments
        if argument in SIZES
    ]
    return read_spec(file, [*overrides, *settings])
