"""Measure the evaluation of retrieval for growing numbers of items and candidates: CPU time and memory."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from modules.streams import Tokens
from mplug2.build.compose import compose
from mplug2.eval.evaluation import run_goals
from mplug2.eval.evaluators.retrieval import Retrieval
from mplug2.eval.retrieval.gallery import SHOWN
from registry import UserError, parse_spec

BATCH, WIDTH, VECTOR, PATCHES, WORDS = 50, 64, 256, 17, 8
SPEC = f"""
inputs: {{seen: tokens B {PATCHES} {WIDTH}, read: tokens B L {WIDTH}}}
modules:
  to_v: {{use: feature_head, width_in: {WIDTH}, width: {VECTOR}}}
  to_t: {{use: feature_head, width_in: {WIDTH}, width: {VECTOR}}}
  image: {{use: project, width_in: {WIDTH}, width: {WIDTH}}}
  text: {{use: text_encoder, width: {WIDTH}, depth: 1, heads: 2}}
  fusion: {{use: fusion, width: {WIDTH}, depth: 1, heads: 2}}
  match: {{use: class_head, width: {WIDTH}, classes: 2, depth: 1}}
flow:
  visual: image(seen)
  asked: text(read)
  v: to_v(visual)
  t: to_t(asked)
  one: fusion(text=asked, vision=visual)
  score: match(one.text)
goals:
  embed_vision: {{v: v, visual: visual}}
  embed_text: {{t: t, asked: asked}}
  rerank: {{score: score}}
"""


class Case(NamedTuple):
    """``items`` images with a caption each, of which each finds ``k`` that are re-ranked."""

    items: int
    k: int


@dataclass(frozen=True)
class Figure:
    """CPU seconds of each part, and bytes: held for all items, and the process's peak above those."""

    embed: float
    compare: float
    rerank: float
    held: int
    above: int

    @property
    def total(self) -> float:
        """Seconds of the complete evaluation."""
        return self.embed + self.compare + self.rerank


def bench(
    cases: Sequence[Case],
    rounds: int = 2,
    on_progress: Callable[[str], None] = lambda label: None,
) -> dict[Case, list[Figure]]:
    """Measure every case ``rounds`` times, alternately, each time in a new process; UserError if it
    fails."""
    figures: dict[Case, list[Figure]] = {}
    for turn in range(rounds):
        for case in dict.fromkeys(cases):
            on_progress(
                f"round {turn + 1} of {rounds}: {case.items} items, k = {case.k}"
            )
            command = [sys.executable, "-m", "mplug2.bench.retrieval"]
            command += [str(case.items), str(case.k)]
            # In a new process: a peak of memory does not come down again.
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise UserError(
                    f"{case.items} items, k = {case.k} failed:\n{done.stderr.strip()[-2000:]}"
                )
            figures.setdefault(case, []).append(
                Figure(**json.loads(done.stdout.splitlines()[-1]))
            )
    return figures


def lines(figures: dict[Case, list[Figure]]) -> list[list[str]]:
    """Rows for a table, the medians over rounds: items, k, seconds by part, ms an item, us a pair, MB."""
    rows = []
    for case, rounds in figures.items():
        embed = median(figure.embed for figure in rounds)
        compare = median(figure.compare for figure in rounds)
        rerank = median(figure.rerank for figure in rounds)
        held = median(figure.held for figure in rounds)
        above = median(figure.above for figure in rounds)
        total = embed + compare + rerank
        rows.append(
            [
                f"{case.items:,}",
                str(case.k),
                f"{embed:.2f}",
                f"{compare:.2f}",
                f"{rerank:.2f}",
                f"{total:.2f}",
                f"{total / case.items * 1e3:.2f}",
                f"{rerank / (2 * case.items * case.k) * 1e6:.0f}",
                f"{held / 1e6:.0f}",
                f"{above / 1e6:.0f}",
            ]
        )
    return rows


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return b of the power law y = a * x ** b that fits points best, by least squares of logarithms."""
    # The slope of a straight line through the logarithms.
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(y) for _, y in points]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = variance = 0.0
    for x, y in zip(xs, ys, strict=True):
        covariance += (x - middle_x) * (y - middle_y)
        variance += (x - middle_x) ** 2
    return covariance / variance


def growth(figures: dict[Case, list[Figure]]) -> list[str]:
    """Sentences: how seconds grow with the items at one k, and with k at one number of items."""
    sentences = []
    for axis, name in ((0, "items"), (1, "k")):
        other = 1 - axis
        for fixed in dict.fromkeys(case[other] for case in figures):
            cases = [case for case in figures if case[other] == fixed]
            if len(cases) < 2:
                continue
            totals, reranks = [], []
            for case in cases:
                total = median(figure.total for figure in figures[case])
                rerank = median(figure.rerank for figure in figures[case])
                totals.append((case[axis], total))
                reranks.append((case[axis], rerank))
            at = f"{Case._fields[other]} = {fixed:,}"
            sentences.append(
                f"seconds grow as {name} ^ {exponent(totals):.2f}, those of re-ranking as "
                f"{name} ^ {exponent(reranks):.2f} (at {at})"
            )
    return sentences


@dataclass(frozen=True)
class _Batch:
    inputs: dict[str, Any]
    records: list[dict[str, Any]]


def _batches(items: int) -> Iterator[_Batch]:
    draw = torch.Generator().manual_seed(0)
    for start in range(0, items, BATCH):
        count = min(BATCH, items - start)
        # (count, tokens, width) of images, then of captions
        seen = torch.randn(count, PATCHES, WIDTH, generator=draw)
        read = torch.randn(count, WORDS, WIDTH, generator=draw)
        records: list[dict[str, Any]] = []
        for number in range(start, start + count):
            record = {"question_id": number, "image": f"{number}.jpg"}
            records.append({**record, "references": [str(number)]})
        yield _Batch({"seen": Tokens(seen), "read": Tokens(read)}, records)


def _worker(case: Case) -> Figure:
    torch.manual_seed(0)
    text = SPEC + f"eval: {{metrics: [recall], rerank: {case.k}}}\n"
    net = compose(parse_spec(text, "bench.yaml")).eval()
    times: dict[tuple[str, bool], float] = {}

    def on_progress(done: int, total: int, unit: str) -> None:
        times.setdefault((unit, done > 0), time.process_time())
        times[unit, True] = time.process_time()

    def retrieve(items: int) -> int:
        evaluator = Retrieval(
            net=net, rerank=case.k, rerank_batch=256, on_progress=on_progress
        )
        run_goals(
            net, net.move, evaluator, _batches(items), -(-items // BATCH), on_progress
        )
        return len(evaluator.compute()[1])

    with torch.no_grad():
        # What is set up once counts for neither part.
        retrieve(2 * BATCH)
        times.clear()
        before = _reset_peak()
        start = time.process_time()
        rows = retrieve(case.items)
    assert rows == 2 * case.items
    end = time.process_time()
    found = (
        2 * max(case.k, SHOWN) * (4 + 4)
    )  # number and similarity, in both directions
    held = case.items * ((PATCHES + WORDS) * WIDTH * 2 + 2 * VECTOR * 4 + found)
    embedded = times["batches", True]
    asked, scored = times["pairs", False], times["pairs", True]
    # Comparing comes before re-ranking (the candidates) and after it (the ranks).
    return Figure(
        embed=embedded - start,
        compare=asked - embedded + end - scored,
        rerank=scored - asked,
        held=held,
        above=_peak() - before - held,
    )


def _reset_peak() -> int:
    """Forget the peak of memory so far where the system can, and return what is in use."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    _, _, after = status.read_text().partition("VmHWM:")
    return int(after.split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(asdict(_worker(Case(*map(int, sys.argv[1:3]))))))
