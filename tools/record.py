#!/usr/bin/env python3
"""Record what training produces, so that a refactoring can be compared with the code before it.

python tools/record.py losses --out before.json         20 steps of every shapes spec: losses and checksums
python tools/record.py accuracies --out before.json     full training of every task: the test metrics
python tools/record.py compare before.json after.json   exit code 1 where the two differ

Everything runs through the command line of mplug2, in subprocesses on the CPU with one thread each.
Specs are trained on the shapes world in data/shapes, which is generated if it does not exist.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from record_accuracies import compare_accuracies, record_accuracies
from record_runs import (
    ROOT,
    Clock,
    CommandFailed,
    make_shapes,
    open_record,
    read_results,
    run_mplug2,
    write_record,
)
from safetensors.numpy import load_file

# `losses`: settings of every run, and further settings of single specs.
LOSS_SETTINGS = (
    "train.max_steps=20",
    "train.log_every=1",
    "train.seed=0",
    "train.best_metric=",
    "data.val=",
    "data.workers=0",
)
LOSS_SETTINGS_OF = {
    "caption_shapes_tiny_scst": ("modules.reward.workers=0",),
    "VideoCaption_shapes_tiny_scst": ("modules.reward.workers=0",),
}
LOSS_TOLERANCE = 1e-5  # absolute or relative
SUM_TOLERANCE = (
    1e-12  # relative, of sums that do not depend on the names of the parameters
)


def record_losses(out: Path, specs: Sequence[Path], jobs: int) -> int:
    """Train every spec for 20 steps, and write losses and checksums; return the exit code."""
    make_shapes()
    record = open_record(out, "losses", LOSS_SETTINGS)
    waiting = [spec for spec in specs if name_of(spec) not in record["results"]]
    failures = 0
    with ThreadPoolExecutor(jobs) as pool:
        futures = {spec: pool.submit(losses_of, spec) for spec in waiting}
        for spec, future in futures.items():
            try:
                result = future.result()
            except CommandFailed as error:
                failures += 1
                print(f"{name_of(spec)}: FAILED, {error}", flush=True)
                continue
            record["results"][name_of(spec)] = result
            write_record(out, record)
            last_loss = result["losses"][-1]
            print(
                f"{name_of(spec)}: last loss {last_loss:.6f}, {result['seconds']:.0f} s",
                flush=True,
            )
    return 1 if failures else 0


def name_of(spec: Path) -> str:
    """Return the name of a spec in a record: specs of different folders may share a file name."""
    return f"{spec.parent.name}/{spec.stem}"


def losses_of(spec: Path) -> dict[str, Any]:
    """Train one spec for 20 steps, and return its losses and the checksums of its parameters."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="record_") as folder:
        out = Path(folder) / "run"
        settings = [
            *LOSS_SETTINGS,
            *LOSS_SETTINGS_OF.get(spec.stem, ()),
            f"train.output_dir={out}",
        ]
        run_mplug2(
            ["train", str(spec), *settings], Path(folder) / "log.txt", Clock(math.inf)
        )
        rows = [
            json.loads(line)
            for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        losses = [row["loss"] for row in rows if "loss" in row]
        checksums = checksums_of(out / "last" / "weights.safetensors")
    return {
        "losses": losses,
        **checksums,
        "seconds": round(time.monotonic() - started, 1),
    }


def checksums_of(path: Path) -> dict[str, Any]:
    """Return a checksum of names and bytes, and sums over all floating values that do not depend on names."""
    tensors = load_file(path)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    floating = [
        tensor
        for tensor in tensors.values()
        if np.issubdtype(tensor.dtype, np.floating)
    ]
    values = [tensor.astype(np.float64) for tensor in floating]
    return {
        "sha256": digest.hexdigest(),
        "sum": math.fsum(float(value.sum()) for value in values),
        "sum_of_squares": math.fsum(float(np.square(value).sum()) for value in values),
        "parameters": sum(value.size for value in values),
    }


def compare_losses(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print how losses and parameters differ; return 1 if a loss differs by more than the tolerance."""
    different = 0
    print(f"{'spec':32} {'largest relative difference':>28}  {'losses':10} parameters")
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            different += 1
            print(
                f"{name:32} {'':>28}  missing in the {'first' if name not in before else 'second'} record"
            )
            continue
        first, second = before[name], after[name]
        losses = list(zip(first["losses"], second["losses"], strict=False))
        relative = max(
            (abs(a - b) / max(abs(a), abs(b), 1e-30) for a, b in losses), default=0.0
        )
        close = [
            math.isclose(a, b, rel_tol=LOSS_TOLERANCE, abs_tol=LOSS_TOLERANCE)
            for a, b in losses
        ]
        same = all(close) and len(first["losses"]) == len(second["losses"])
        different += not same
        verdict = (
            "equal"
            if first["losses"] == second["losses"]
            else "close"
            if same
            else "DIFFERENT"
        )
        print(
            f"{name:32} {relative:28.2e}  {verdict:10} {compare_parameters(first, second)}"
        )
    return 1 if different else 0


def compare_parameters(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return whether parameters are equal, equal except for their names, or different."""
    if first["sha256"] == second["sha256"]:
        return "equal"
    same_sums = all(
        math.isclose(first[key], second[key], rel_tol=SUM_TOLERANCE)
        for key in ("sum", "sum_of_squares", "parameters")
    )
    return "equal values, other names" if same_sums else "different"


def parse_arguments() -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    losses = commands.add_parser(
        "losses", help="20 training steps of every shapes spec"
    )
    losses.add_argument(
        "specs", nargs="*", type=Path, help="specs; all shapes specs unless given"
    )
    accuracies = commands.add_parser(
        "accuracies", help="training and test of every task"
    )
    accuracies.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    accuracies.add_argument(
        "--limit-seconds", type=float, default=math.inf, help="stop after this time"
    )
    accuracies.add_argument(
        "--overrides", nargs="+", default=[], help="settings on top of the recipes"
    )
    accuracies.add_argument(
        "--runs", type=Path, help="folder of the runs; FILE_runs unless given"
    )
    for command in (losses, accuracies):
        command.add_argument(
            "--out", type=Path, required=True, help="record to write, or to continue"
        )
        command.add_argument("--jobs", type=int, default=1, help="runs at a time")
    compare = commands.add_parser(
        "compare", help="compare two records of the same kind"
    )
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    return parser.parse_args()


def main() -> int:
    """Run a command, and return its exit code."""
    options = parse_arguments()
    if options.command == "losses":
        specs = [path.resolve() for path in options.specs] or sorted(
            ROOT.glob("configs_*/*_shapes_tiny*.yaml")
        )
        return record_losses(options.out, specs, options.jobs)
    if options.command == "accuracies":
        return record_accuracies(options)
    (kind, before), (other_kind, after) = (
        read_results(options.before),
        read_results(options.after),
    )
    if kind != other_kind:
        raise SystemExit(
            f"{options.before} holds {kind}, but {options.after} holds {other_kind}"
        )
    return (
        compare_losses(before, after)
        if kind == "losses"
        else compare_accuracies(before, after)
    )


if __name__ == "__main__":
    sys.exit(main())
