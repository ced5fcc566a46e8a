"""Shipped specs, made so small that a test can run them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

import mplug2  # noqa: F401  (fills the registries)
from registry import MODULES, ModuleEntry, Spec, read_spec

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(ROOT.glob("configs_*/*.yaml"))  # all shipped specs
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
    return {"logits", "answer", "generated"} <= {
        *(spec := read_spec(file)).inputs,
        *spec.flow,
    }


def small(file: Path, *overrides: str) -> Spec:
    """Return a spec with the sizes of all modules and inputs cut down, and its searches short."""
    spec = read_spec(file, overrides)
    settings = [*_input_settings(spec), *_module_settings(spec)]
    for name, equation in spec.flow.items():
        short = re.sub(
            r"min_length=\d+",
            "min_length=1",
            re.sub(r"max_length=\d+", "max_length=3", equation.text),
        )
        if short != equation.text:
            settings.append(f"flow.{name}={short}")
    return read_spec(file, [*overrides, *settings])


def _input_settings(spec: Spec) -> Iterator[str]:
    """Yield the settings of images and videos whose size is written in the spec, and of labels of patches."""
    num_patches = _written_patch_counts(spec)
    for name, stream in spec.inputs.items():
        if stream.kind == "labels" and stream.axes[-1] in num_patches:
            yield f"inputs.{name}=labels {stream.axes[0]} {(SIZES['size'] // SIZES['patch']) ** 2}"
        if stream.kind not in ("image", "frames") or not isinstance(
            stream.axes[-1], int
        ):
            continue
        axes = [*stream.axes[:-2], SIZES["size"], SIZES["size"]]
        if stream.kind == "frames" and isinstance(axes[2], int):
            axes[2] = SIZES["frames"]
        yield f"inputs.{name}={stream.kind} {' '.join(map(str, axes))}"


def _written_patch_counts(spec: Spec) -> set[int]:
    """Return how many patches the encoders of a spec make of images whose size is written."""
    sizes = {
        stream.axes[-1]
        for stream in spec.inputs.values()
        if stream.kind in ("image", "frames")
    }
    patches = {_argument_values(entry).get("patch") for entry in spec.modules.values()}
    written = [size for size in sizes if isinstance(size, int)]
    return {(size // patch) ** 2 for patch in patches - {None} for size in written}


def _module_settings(spec: Spec) -> Iterator[str]:
    """Yield the settings of modules: what fitted together at full size still does."""
    values = {name: _argument_values(entry) for name, entry in spec.modules.items()}
    widths = {arguments.get("width") for arguments in values.values()} - {None}
    vocab_sizes = {arguments.get("vocab_size") for arguments in values.values()} - {
        None
    }
    input_widths = {stream.axes[-1] for stream in spec.inputs.values()}
    for name, arguments in values.items():
        for argument, value in arguments.items():
            size = SIZES.get(argument)
            if argument == "width_in" and value in input_widths:
                continue  # features that were made elsewhere
            if (
                argument in ("width", "width_in")
                and isinstance(value, int)
                and value / 2 in widths
            ):
                size = 2 * SIZES["width"]  # two vectors side by side
            elif argument == "classes" and value in vocab_sizes:
                size = SIZES["vocab_size"]
            elif argument == "early" and value:
                size = 1  # a layer of those that are left
            if size is not None:
                yield f"modules.{name}.{argument}={size}"


def _argument_values(entry: ModuleEntry) -> dict[str, Any]:
    """Return the arguments of a module, written or by default."""
    declared = MODULES.declaration(entry.use).arguments
    return {
        name: entry.arguments.get(name, argument.default)
        for name, argument in declared.items()
    }


@cache
def _shipped(file: Path) -> Spec:
    """Return a shipped spec; many test files choose among all of them when they are collected."""
    return read_spec(file)


def _networks() -> list[Path]:
    """The shipped specs of which no two join the same modules in the same way."""
    found: dict[str, Path] = {}
    # A tiny spec stands for those of published sizes that join the same modules.
    for file in sorted(FILES, key=lambda file: ("tiny" not in file.stem, file)):
        spec = _shipped(file)
        uses = {name: entry.use for name, entry in spec.modules.items()}
        # options are left out: min_length=4, weights=[1.0, 1.0], route='vision'
        flow = [
            re.sub(r", *\w+=['\[\d][^),]*", "", line.text)
            for line in spec.flow.values()
        ]
        found.setdefault(repr((spec.resolved()["inputs"], uses, sorted(flow))), file)
    return list(found.values())


def _words(file: Path) -> set[str]:
    """Return the modules, operations, losses and searches that a spec uses, and the kinds of its inputs."""
    spec = _shipped(file)
    words = {entry.use for entry in spec.modules.values()}
    words |= {stream.kind for stream in spec.inputs.values()}
    words |= {line.callee for line in spec.flow.values()} - set(spec.modules)
    return words


def representatives(files: Iterable[Path]) -> list[Path]:
    """Return as few of the specs as together use all that any of them uses, the tiny ones first."""
    words = {file: _words(file) for file in files}
    order = sorted(words, key=lambda file: ("tiny" not in file.stem, -len(words[file])))
    seen: set[str] = set()
    chosen = []
    for file in order:
        if not words[file] <= seen:
            chosen.append(file)
        seen |= words[file]
    return chosen


def spec_parameters(files: Iterable[Path]) -> list[ParameterSet]:
    """Return specs as parameters of a test: representatives are quick, all others are slow."""
    files = list(files)
    quick = set(representatives(files))
    parameters = []
    for file in files:
        marks = () if file in quick else pytest.mark.slow
        parameters.append(pytest.param(file, id=file.stem, marks=marks))
    return parameters


SHIPPED = _networks()
SHIPPED_PARAMETERS = spec_parameters(SHIPPED)
