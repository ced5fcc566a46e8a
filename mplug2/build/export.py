"""Export of a network: ONNX, torch.export or safetensors files that load without mplug2."""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from mplug2.build.export_parts import Part, parts_of
from mplug2.network import Network
from mplug2.weights.store import WEIGHTS, save_weights
from registry import UserError
from registry.goal_source import goal_arguments

Target = Literal["onnx", "torch-export", "safetensors"]
SUFFIXES: dict[Target, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
DESCRIPTION = "export.json"
TOLERANCE = 1e-4  # of outputs
INSTALL = "pip install mplug2[export]"
Runner = Callable[[Sequence[Tensor]], list[Tensor]]


def export(net: Network, target: Target, folder: Path) -> list[Part]:
    """Write the parts of a network into ``folder``, with a description of their tensors; return the parts.

    Each file is loaded again and compared on an example of other sizes. UserError if ``folder`` is not empty,
    if a package is missing, if the network cannot be exported, or if outputs differ by more than `TOLERANCE`.
    """
    if target == "onnx":
        _require_onnx()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out must be a new or empty folder (got {folder})")
    folder.mkdir(parents=True, exist_ok=True)
    net.eval()
    parts = parts_of(net)
    if target == "safetensors":
        save_weights(net, folder / WEIGHTS)
    else:
        for part in parts:
            file = folder / f"{part.name}{SUFFIXES[target]}"
            _write(part, target, file)
            _compare(part, load_part(file), file)
    text = json.dumps(_description(net, parts), indent=1) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")
    return parts


def load_part(file: Path) -> Runner:
    """Return a function that runs an exported file, by onnxruntime or torch."""
    if file.suffix == SUFFIXES["torch-export"]:
        module = torch.export.load(file).module()
        return lambda tensors: list(module(*tensors))
    _require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # As torch, whose threads the caller has set.
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(str(file), options, providers=providers)
    names = [each.name for each in session.get_inputs()]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        # Inputs that no output depends on are not in the file.
        arrays = {}
        for name, tensor in zip(names, tensors, strict=True):
            arrays[name] = tensor.numpy()
        return [torch.from_numpy(array) for array in session.run(None, arrays)]

    return run


def latency(part: Part, file: Path, rounds: int = 20) -> tuple[float, float]:
    """Return the median milliseconds of CPU time of one call: in mplug2, and of the exported file."""
    example = part.examples()
    exported = load_part(file)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: part.module(*example),
        lambda: exported(example),
    )
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        # Alternately, so that both see the same machine; the first calls prepare memory.
        for number in range(rounds + 2):
            for call, measured in zip(calls, times, strict=True):
                start = time.process_time()
                call()
                if number > 1:
                    measured.append(1000 * (time.process_time() - start))
    return statistics.median(times[0]), statistics.median(times[1])


def _write(part: Part, target: Target, file: Path) -> None:
    shapes = []
    for port in part.inputs:
        dynamic = {}
        for number, axis in enumerate(port.axes):
            if isinstance(axis, str):
                dynamic[number] = torch.export.Dim.DYNAMIC
        shapes.append(dynamic)
    with torch.no_grad(), warnings.catch_warnings():
        # Deprecations of one part of torch's exporter by another.
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(
                part.module.eval(),
                part.examples(),
                dynamic_shapes=(tuple(shapes),)
                if _is_variadic(part)
                else tuple(shapes),
                strict=False,
            )
            if target == "torch-export":
                torch.export.save(program, file)
                return
            names = [port.name for port in part.inputs]
            written = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=names,
                output_names=list(part.outputs),
            )
            assert written is not None
            written.save(str(file))
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UserError(
                f"{part.name} cannot be exported to {target} ({type(error).__name__}: {reason})"
            ) from error


def _is_variadic(part: Part) -> bool:
    return part.name != "decoder_step"


def _compare(part: Part, run: Runner, file: Path) -> None:
    """Raise UserError unless a file gives the outputs of its part on an example of other sizes."""
    for more in (0, 1):
        example = part.examples(more, seed=more)
        with torch.no_grad():
            expected = part.module(*example)
        found = run(example)
        for name, ours, theirs in zip(part.outputs, expected, found, strict=True):
            if ours.shape != theirs.shape:
                raise UserError(
                    f"{file}: {name} must have the shape {list(ours.shape)} (got {list(theirs.shape)})"
                )
            gap = (ours.float() - theirs.float()).abs().max().item()
            if not gap <= TOLERANCE:
                raise UserError(
                    f"{file}: {name} must equal that of mplug2 to {TOLERANCE:g} (differs by {gap:g})"
                )


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"ONNX needs the packages onnx, onnxscript and onnxruntime ({error.name} is missing). "
            f"Run `{INSTALL}`"
        ) from None


def _description(net: Network, parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a user of the files must know: tensors, and how pixels and texts are prepared."""
    arguments = goal_arguments(net.spec, net.spec.eval["goal"])
    described: dict[str, Any] = {}
    for part in parts:
        inputs = []
        for port in part.inputs:
            dtype = str(port.dtype).removeprefix("torch.")
            inputs.append({"name": port.name, "dtype": dtype, "axes": list(port.axes)})
        described[part.name] = {"inputs": inputs, "outputs": list(part.outputs)}
    prepared = {}
    for key in ("image_mean", "image_std", "tokenizer"):
        if arguments.get(key) is not None:
            prepared[key] = arguments[key]
    return {"spec": net.spec.name, "parts": described, "data": prepared}
