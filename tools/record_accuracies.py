"""The part of `record.py` that trains and tests every task with several seeds."""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from record_runs import (
    Clock,
    CommandFailed,
    OutOfTime,
    make_shapes,
    open_record,
    run_mplug2,
    write_record,
)

ACCURACY_SETTINGS = ("data.workers=1",)
METRIC_TOLERANCE = 0.005  # medians of metrics may always differ by this much


@dataclass(frozen=True)
class Task:
    """A spec that is trained and tested."""

    spec: str
    minutes: float  # of training and test, measured roughly: long jobs start first
    starts_from: str = ""  # name of the spec whose trained weights it starts from
    trains: bool = True  # False: the weights of `starts_from` are tested unchanged


TASKS = (
    Task("configs_video/VideoQA_shapes_tiny.yaml", 13),
    Task("configs_video/VideoCaption_shapes_tiny.yaml", 6),
    Task(
        "configs_video/VideoCaption_shapes_tiny_scst.yaml",
        2.5,
        "VideoCaption_shapes_tiny",
    ),
    Task(
        "configs_video/VideoRetrieval_shapes_tiny.yaml", 12, "VideoCaption_shapes_tiny"
    ),
    Task("configs_video/VideoEntailment_shapes_tiny.yaml", 5),
    Task("configs_image/vqa_shapes_tiny.yaml", 2.5),
    Task(
        "configs_image/vqa_shapes_tiny_rank.yaml", 0.3, "vqa_shapes_tiny", trains=False
    ),
    Task("configs_image/caption_shapes_tiny.yaml", 3.5),
    Task("configs_image/caption_shapes_tiny_scst.yaml", 4, "caption_shapes_tiny"),
    Task("configs_image/retrieval_shapes_tiny.yaml", 3),
    Task("configs_image/grounding_shapes_tiny.yaml", 3),
    Task("configs_image/pairs_shapes_tiny.yaml", 3),
    Task("configs_image/entailment_shapes_tiny.yaml", 2),
)
TASK_OF = {Path(task.spec).stem: task for task in TASKS}


@dataclass(frozen=True)
class Job:
    """One task with one seed."""

    task: str
    seed: int

    @property
    def name(self) -> str:
        """Return the name of the run folder."""
        return f"{self.task}_seed{self.seed}"

    @property
    def needs(self) -> Job | None:
        """Return the job whose weights this one starts from."""
        first = TASK_OF[self.task].starts_from
        return Job(first, self.seed) if first else None

    @property
    def minutes_to_end(self) -> float:
        """Return the time of this job and of the longest chain of jobs that wait for it."""
        later = [
            Job(name, self.seed)
            for name, task in TASK_OF.items()
            if task.starts_from == self.task
        ]
        return TASK_OF[self.task].minutes + max(
            (job.minutes_to_end for job in later), default=0.0
        )


@dataclass(frozen=True)
class Accuracies:
    """Trains and tests jobs in a folder of runs."""

    runs: Path
    settings: tuple[str, ...]
    clock: Clock

    def weights(self, job: Job) -> Path | None:
        """Return the best checkpoint of a finished training, or None."""
        folder = self.runs / job.name
        if not (folder / "trained").is_file():
            return None
        return folder / "best" if (folder / "best").exists() else folder / "last"

    def measure(self, job: Job) -> dict[str, Any]:
        """Train a job unless it has been trained, test it, and return its metrics."""
        started, task, folder = (
            time.monotonic(),
            TASK_OF[job.task],
            self.runs / job.name,
        )
        settings = [
            *self.settings,
            f"train.seed={job.seed}",
            f"train.output_dir={folder}",
        ]
        start = self.weights(job.needs) if job.needs else None
        if task.trains and self.weights(job) is None:
            init = ["--init", f"*=checkpoint:{start}"] if start else []
            run_mplug2(
                ["train", task.spec, "--resume", *init, *settings],
                folder / "train.txt",
                self.clock,
            )
            (folder / "trained").touch()
        checkpoint = self.weights(job) if task.trains else start
        predictions = folder / "test.jsonl"
        arguments = [
            "eval",
            task.spec,
            "--checkpoint",
            str(checkpoint),
            "--out",
            str(predictions),
            *settings,
        ]
        text = run_mplug2(arguments, folder / "test.txt", self.clock)
        seconds = round(time.monotonic() - started, 1)
        return {**printed_metrics(text), **recall_at_1(predictions), "seconds": seconds}


def printed_metrics(text: str) -> dict[str, float]:
    """Return the metrics that `mplug2 eval` printed, such as `accuracy: 0.8363 on 1607 samples of test`."""
    found = re.findall(
        r"^(\w+): (-?[\d.]+)(?: on \d+ samples of \w+)?$", text, flags=re.MULTILINE
    )
    return {name: float(value) for name, value in found}


def recall_at_1(predictions: Path) -> dict[str, float]:
    """Return the recall at 1 in both directions from the predictions of a retrieval task, else nothing."""
    ranks: dict[str, list[bool]] = {}
    for line in predictions.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "query" in row and "rank" in row:
            ranks.setdefault(f"R@1 of {row['query']} queries", []).append(
                row["rank"] == 1
            )
    return {name: sum(hits) / len(hits) for name, hits in ranks.items()}


def record_accuracies(options: argparse.Namespace) -> int:
    """Measure all tasks with all seeds, several at a time, and print a summary; return the exit code."""
    clock = Clock(time.monotonic() + options.limit_seconds)
    make_shapes()
    settings = (*ACCURACY_SETTINGS, *options.overrides)
    record = open_record(options.out, "accuracies", settings)
    write_record(options.out, record)
    results: dict[str, dict[str, Any]] = record["results"]
    runs = options.runs or options.out.with_name(f"{options.out.stem}_runs")
    accuracies = Accuracies(runs.resolve(), settings, clock)
    missing = [
        Job(task, seed)
        for task in TASK_OF
        for seed in options.seeds
        if str(seed) not in results.get(task, {})
    ]
    # A record may have come from elsewhere without the weights: those that are needed are trained again.
    again = {
        job.needs
        for job in missing
        if job.needs and accuracies.weights(job.needs) is None
    }
    jobs = sorted({*missing, *again}, key=lambda job: (-job.minutes_to_end, job.name))

    def finish(job: Job, metrics: dict[str, Any]) -> None:
        results.setdefault(job.task, {})[str(job.seed)] = metrics
        write_record(options.out, record)

    complete = run_jobs(jobs, options.jobs, accuracies, finish)
    print_summary(results)
    return 0 if complete else 1


def run_jobs(
    jobs: Sequence[Job],
    parallel: int,
    accuracies: Accuracies,
    finish: Callable[[Job, dict[str, Any]], None],
) -> bool:
    """Run jobs in the order given, each after the job it needs; return whether all succeeded in time."""
    waiting, running, succeeded = list(jobs), dict[Future[dict[str, Any]], Job](), 0
    with ThreadPoolExecutor(parallel) as pool:
        while True:
            ready = [
                job
                for job in waiting
                if job.needs is None or accuracies.weights(job.needs)
            ]
            for job in (
                ready[: parallel - len(running)] if accuracies.clock.left() > 0 else []
            ):
                waiting.remove(job)
                running[pool.submit(accuracies.measure, job)] = job
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    metrics = future.result()
                except OutOfTime:
                    print(f"{job.name}: stopped by the time limit", flush=True)
                except CommandFailed as error:
                    print(f"{job.name}: FAILED, {error}", flush=True)
                else:
                    succeeded += 1
                    finish(job, metrics)
                    print(
                        f"{job.name}: {metrics}, {accuracies.clock.left():.0f} s left",
                        flush=True,
                    )
    for job in waiting:
        print(f"{job.name}: not started", flush=True)
    return succeeded == len(jobs)


def metric_table(results: Mapping[str, Any]) -> dict[tuple[str, str], list[float]]:
    """Return the values over the seeds of every spec and metric."""
    table: dict[tuple[str, str], list[float]] = {}
    for spec, by_seed in sorted(results.items()):
        for seed in sorted(by_seed, key=int):
            for name, value in by_seed[seed].items():
                if name != "seconds":
                    table.setdefault((spec, name), []).append(value)
    return table


def print_summary(results: Mapping[str, Any]) -> None:
    """Print the values of every metric for each seed, their median, and their spread."""
    print(f"{'spec':32} {'metric':24} {'median':>8} {'spread':>8}  values by seed")
    for (spec, name), values in metric_table(results).items():
        listed = " ".join(f"{value:.4f}" for value in values)
        spread = max(values) - min(values)
        print(f"{spec:32} {name:24} {median(values):8.4f} {spread:8.4f}  {listed}")


def compare_accuracies(before: Mapping[str, Any], after: Mapping[str, Any]) -> int:
    """Print how medians differ; return 1 if they differ by more than the spread over the seeds."""
    first, second = metric_table(before), metric_table(after)
    different = 0
    print(f"{'spec':32} {'metric':24} {'before':>8} {'after':>8} {'spread':>8}")
    for spec, name in sorted({*first, *second}):
        old, new = (
            first.get((spec, name), [math.nan]),
            second.get((spec, name), [math.nan]),
        )
        spread = max(max(old) - min(old), max(new) - min(new))
        within = abs(median(old) - median(new)) <= max(
            spread, METRIC_TOLERANCE
        )  # False for a missing one
        different += not within
        verdict = (
            "equal" if old == new else "within the spread" if within else "DIFFERENT"
        )
        print(
            f"{spec:32} {name:24} {median(old):8.4f} {median(new):8.4f} {spread:8.4f}  {verdict}"
        )
    return 1 if different else 0
