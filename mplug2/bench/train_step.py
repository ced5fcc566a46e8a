"""Time and peak memory of one training step, one process for each variant, variants alternately."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch

from modules.streams import Text
from mplug2.build.compose import compose
from mplug2.network import Network
from registry import UserError

QUESTION_WORDS, ANSWER_WORDS = 16, 4
MISTAKE = 2  # exit code of a process whose user made one


@dataclass(frozen=True)
class Variant:
    """One way to run the step: clips a batch, questions a clip, and the spec with its overrides."""

    name: str
    spec: str
    overrides: tuple[str, ...]
    clips: int
    questions: int


@dataclass(frozen=True)
class Figure:
    """What was measured: seconds of forward and backward, peak bytes of those, and of AdamW's step, too."""

    seconds: float
    peak: int
    peak_with_optimiser: int
    questions: int
    shadow: bool


def variants(
    spec: str, overrides: Sequence[str], clips: int, questions: int
) -> list[Variant]:
    """The plain step, the same with gradient checkpointing, and with ``questions`` grouped by clip."""
    plain = (*overrides, "modules.vision.recompute=none")
    saving = tuple(
        f"modules.{m}.recompute=all"
        for m in ("vision", "text", "universal", "fusion", "decoder")
    )
    return [
        Variant("one question a clip", spec, plain, clips, 1),
        Variant("the same, recompute", spec, (*overrides, *saving), clips, 1),
        Variant(f"{questions} questions a clip", spec, plain, clips, questions),
    ]


def measure(variant: Variant, steps: int) -> Figure:
    """Run ``steps`` steps in a new process; raise UserError with its message if it fails."""
    command = [
        sys.executable,
        "-m",
        "mplug2.bench.train_step",
        json.dumps(asdict(variant)),
        str(steps),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == MISTAKE:
        raise UserError(done.stderr.strip())
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[
            -1
        ]
        raise UserError(f"the step '{variant.name}' of {variant.spec} failed: {last}")
    return Figure(**json.loads(done.stdout.splitlines()[-1]))


def bench(
    spec: str,
    overrides: Sequence[str] = (),
    clips: int = 2,
    questions: int = 6,
    steps: int = 2,
    rounds: int = 2,
) -> dict[str, list[Figure]]:
    """Measure every variant ``rounds`` times, alternately, so that a machine that becomes slower affects
    all of them."""
    figures: dict[str, list[Figure]] = {}
    for _ in range(rounds):
        for variant in variants(spec, overrides, clips, questions):
            figures.setdefault(variant.name, []).append(measure(variant, steps))
    return figures


def lines(figures: dict[str, list[Figure]]) -> list[tuple[str, str, str, str, str]]:
    """Rows for a table: variant, seconds a step, questions a second, peak memory without and with AdamW."""
    rows = []
    for name, found in figures.items():
        seconds = median(f.seconds for f in found)
        peak, both = (
            max(getattr(f, key) for f in found) / 1e9
            for key in ("peak", "peak_with_optimiser")
        )
        teacher = " (with teacher)" if found[0].shadow else ""
        rate = found[0].questions / seconds
        rows.append(
            (
                name + teacher,
                f"{seconds:.2f}",
                f"{rate:.3f}",
                f"{peak:.2f}",
                f"{both:.2f}",
            )
        )
    return rows


def _batch(net: Network, clips: int, questions: int) -> dict[str, Any]:
    """Random clips and questions of usual lengths, one answer each."""
    count = clips * questions

    def text(length: int) -> Text:
        ids = torch.randint(103, 1000, (count, length))
        ids[:, 0] = 101
        return Text(ids, torch.ones_like(ids, dtype=torch.bool))

    size = [clips, *net.types["video"].axes[1:]]
    return {
        "video": torch.randn(*size),  # type: ignore[arg-type]
        "question": text(QUESTION_WORDS),
        "video_index": torch.arange(clips).repeat_interleave(questions),
        "answer": text(ANSWER_WORDS),
        "question_index": torch.arange(count),
        "answer_weight": torch.ones(count),
    }


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _worker(variant: Variant, steps: int) -> Figure:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = compose(variant.spec, variant.overrides, initial=False).to(device).train()
    if lacking := {"video", "question", "answer"} - set(net.spec.inputs):
        raise UserError(
            f"{variant.spec}: to be timed, a spec must ask about videos and have the inputs video, question "
            f"and answer, but lacks {', '.join(sorted(lacking))}"
        )
    batch = _batch(net, variant.clips, variant.questions)
    times = []
    for _ in range(steps):
        net.zero_grad(set_to_none=True)
        start = time.perf_counter()
        net(batch)["loss"].backward()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    peak = _peak()
    # The optimizer comes last, because its state outlives the step: the peak of the next step is this one and
    # its state
    optimiser = torch.optim.AdamW(net.parameters(), foreach=False)
    optimiser.step()
    net.zero_grad(set_to_none=True)
    net(batch)["loss"].backward()
    optimiser.step()
    return Figure(
        min(times),
        peak,
        _peak(),
        variant.clips * variant.questions,
        net.ema is not None,
    )


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    try:
        figure = _worker(
            Variant(**{**given, "overrides": tuple(given["overrides"])}),
            int(sys.argv[2]),
        )
    except UserError as mistake:
        print(mistake, file=sys.stderr)
        sys.exit(MISTAKE)
    print(json.dumps(asdict(figure)))
