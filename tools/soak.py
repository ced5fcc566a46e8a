"""Hours of training, killing, resuming and evaluating on growing clips, with the memory watched.

python tools/soak.py --hours 1 --out runs/soak

Each cycle resumes one training of the smallest video network on generated clips, ends it with the next of
SIGKILL, SIGTERM, SIGHUP and SIGINT, and then, in this process, evaluates its newest checkpoint and asks it
about clips of 16 to 1,024 frames. `OUT/soak.jsonl` gets a line for each cycle. At the end the slope of the
memory of this process is printed with its noise. Exit code 1: the memory grows, a saved step was lost, or a
resume failed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mplug2
from mplug2.data.shapes.write import encode, make_shapes
from mplug2.eval.run import evaluate_checkpoint
from registry import Spec

ROOT = Path(__file__).resolve().parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CLIPS = (16, 64, 256, 1024)  # frames
SAVE_EVERY = 10  # steps
WARM_UP = 0.25  # the part of the cycles whose memory is left out: imports and caches grow at first
SETTLED = 20.0  # MB over a run: growth below it is noise of the allocator
SPEC = "configs_video/VideoQA_shapes_tiny.yaml"
QUESTION = "which way does the square move?"


@dataclass(frozen=True)
class Cycle:
    """What one cycle did; memory in MB, ``step`` is that of the newest checkpoint."""

    seconds: float
    signal: str
    step: int
    trainer_memory: float
    memory: float
    accuracy: float
    answers: int


@dataclass(frozen=True)
class Trend:
    """The slope of numbers over time by least squares, in MB an hour, and what is left over."""

    slope: float
    noise: float  # standard deviation of the residuals, MB
    hours: float

    @property
    def grows(self) -> bool:
        """Whether the growth over the run is more than noise."""
        growth = self.slope * self.hours
        return growth > SETTLED and growth > 3 * self.noise


def trend_of(cycles: Sequence[Cycle]) -> Trend:
    """Return the trend of the memory of this process after warming up."""
    used = cycles[int(len(cycles) * WARM_UP) :]
    hours = np.array([cycle.seconds for cycle in used]) / 3600
    memory = np.array([cycle.memory for cycle in used])
    if len(used) < 3 or np.ptp(hours) == 0:
        return Trend(0.0, 0.0, 0.0)
    slope, start = np.polyfit(hours, memory, 1)
    noise = float(np.std(memory - (slope * hours + start)))
    return Trend(float(slope), noise, float(np.ptp(hours)))


def lost_steps(cycles: Sequence[Cycle]) -> list[str]:
    """Return a sentence for each cycle whose newest checkpoint is older than that of the cycle before."""
    lost = []
    for before, after in itertools.pairwise(cycles):
        if after.step < before.step:
            lost.append(
                f"step {after.step} after {after.signal}, but {before.step} was saved before"
            )
    return lost


def memory_of(pid: int | str) -> float:
    """Return the resident memory of a process in MB; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.split("\n") if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def settings_of(out: Path) -> list[str]:
    """Return the overrides of the spec: data below ``out``, and a run that never ends by itself."""
    data = out / "data"
    paths = {
        f"data.{split}.path": data / f"qa_{split}.jsonl"
        for split in ("train", "val", "test")
    }
    values: dict[str, Any] = {
        **paths,
        "data.media": data / "videos",
        "data.tokenizer": data / "vocab.txt",
        "data.workers": 1,
        "train.output_dir": out / "run",
        "train.epochs": 1_000_000,
        "train.eval_every": 1_000_000,
        "train.save_every": f"{{steps: {SAVE_EVERY}}}",
    }
    return [f"{name}={value}" for name, value in values.items()]


def train_and_kill(
    settings: Sequence[str], out: Path, kill: signal.Signals, seconds: float
) -> float:
    """Resume the training, end it by a signal after some seconds, and return its memory before that.

    Raises RuntimeError if it ended by itself.
    """
    # An evaluation in this process sets the variables of a launcher, which a training must not inherit.
    environment = {
        name: value for name, value in os.environ.items() if name not in LAUNCHER
    }
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mplug2", "train", SPEC, *settings, "--resume"]
    with (out / "train.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            memory = memory_of(process.pid)
            process.send_signal(kill)
            process.wait(timeout=120)
            return memory
    raise RuntimeError(
        f"the training ended by itself with exit code {process.returncode}: {out / 'train.log'}"
    )


def evaluate(
    spec: Spec,
    checkpoint: Path,
    clips: Sequence[Path],
    out: Path,
    settings: Sequence[str],
) -> Any:
    """Return the accuracy of a checkpoint on the test split, and the number of clips it answers about."""
    accuracy = evaluate_checkpoint(spec, checkpoint)[""].metrics["accuracy"]
    pipe = mplug2.pipeline(ROOT / SPEC, checkpoint, settings)
    answers = [pipe(clip, question=QUESTION) for clip in clips]
    return accuracy, len(answers)


def soak(hours: float, seconds: float, out: Path) -> list[Cycle]:
    """Run cycles for some hours, ``seconds`` of training each; write and return what they did."""
    out.mkdir(parents=True, exist_ok=True)
    make_shapes(out / "data", train=48, val=8, test=16, workers=1)
    clips = []
    for frames in CLIPS:
        clip = out / f"clip_{frames}.mp4"
        pixels = np.random.default_rng(frames).integers(
            0, 255, (1, 48, 48, 3), dtype=np.uint8
        )
        encode(clip, np.repeat(pixels, frames, axis=0))
        clips.append(clip)
    settings = settings_of(out)
    spec = mplug2.read_spec(ROOT / SPEC, settings)
    cycles: list[Cycle] = []
    started = time.monotonic()
    for kill in itertools.cycle(SIGNALS):
        if time.monotonic() - started > hours * 3600:
            return cycles
        trainer_memory = train_and_kill(settings, out, kill, seconds)
        last = (out / "run" / "last").resolve()
        if not last.is_dir():
            continue  # killed before its first checkpoint
        accuracy, answers = evaluate(spec, last, clips, out, settings)
        gc.collect()
        passed = time.monotonic() - started
        step = json.loads((last / "state.json").read_text())["step"]
        memory = memory_of("self")
        cycles.append(
            Cycle(passed, kill.name, step, trainer_memory, memory, accuracy, answers)
        )
        with (out / "soak.jsonl").open("a") as file:
            file.write(json.dumps(asdict(cycles[-1])) + "\n")
    return cycles


def main() -> int:
    """Read the command line, and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument(
        "--cycle", type=float, default=45.0, help="seconds of training in a cycle"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="a folder for data, run and results"
    )
    arguments = parser.parse_args()
    cycles = soak(arguments.hours, arguments.cycle, arguments.out.resolve())
    trend, lost = trend_of(cycles), lost_steps(cycles)
    steps = cycles[-1].step if cycles else 0
    print(
        f"{len(cycles)} cycles, {steps} steps, {sum(cycle.answers for cycle in cycles)} answers"
    )
    print(
        f"memory: {trend.slope:+.1f} MB an hour over {trend.hours:.2f} h, noise {trend.noise:.1f} MB"
    )
    for sentence in lost:
        print(f"lost: {sentence}")
    return 1 if lost or trend.grows or not cycles else 0


if __name__ == "__main__":
    sys.exit(main())
