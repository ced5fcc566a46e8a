"""Shipped specs, made so small that a test can run them."""

from __future__ import annotations

import re
from pathlib import Path

import mplug2  # noqa: F401  (fills the registries)
from registry import MODULES, Spec, read_spec

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "width": 32,
    "depth": 2,
    "heads": 2,
    "patch": 8,
    "size": 16,
    "frames": 3,
    "latents": 4,
    # 101 and 102 begin and end a text, 345 to 681 are coordinates
    "vocab_size": 690,
    "max_positions": 24,
    "width_in": 32,
}
TEACHER = (
    (
        "flow.loss=lm_loss(logits, target=answer, weight=answer_weight, question_index=question_index, "
        "teacher=ema(logits), alpha=0.4)"
    ),
    "momentum.decay=0.9",
)


def writes_answers(file: Path) -> bool:
    """Whether a spec has the streams that `TEACHER` names."""
    return {"logits", "answer", "generated"} <= {*(spec := read_spec(file)).inputs, *spec.flow}


def small(file: Path, *overrides: str) -> Spec:
    """Return a spec with the sizes of all modules cut down, and its searches short."""
    spec = read_spec(file, overrides)
    settings = [
        f"modules.{name}.{argument}={SIZES[argument]}"
        for name, entry in spec.modules.items()
        for argument in MODULES.declaration(entry.use).arguments
        if argument in SIZES
    ]
    for name, equation in spec.flow.items():
        short = re.sub(
            r"min_length=\d+", "min_length=1", re.sub(r"max_length=\d+", "max_length=3", equation.text)
        )
        if short != equation.text:
            settings.append(f"flow.{name}={short}")
    return read_spec(file, [*overrides, *settings])


def _networks() -> list[Path]:
    """The shipped specs of which no two join the same modules in the same way."""
    found: dict[str, Path] = {}
    for file in sorted(ROOT.glob("configs_*/*.yaml")):
        spec = read_spec(file)
        uses = {name: entry.use for name, entry in spec.modules.items()}
        # options are left out: min_length=4, weights=[1.0, 1.0], route='vision'
        flow = [re.sub(r", *\w+=['\[\d][^),]*", "", line.text) for line in spec.flow.values()]
        found.setdefault(repr((spec.resolved()["inputs"], uses, sorted(flow))), file)
    return list(found.values())


SHIPPED = _networks()
