"""The optimizer steps of an iteration: which batches each one reads, and for which goals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modules.streams import detach
from mplug2.train.run_state import RunState
from registry import Spec, UserError
from registry.training import StepSpec, TrainingPlan


@dataclass
class Part:
    """One goal of an optimizer step, with the micro-batches of this rank that feed it.

    ``streams`` holds, for each micro-batch, what earlier steps of the iteration computed on these samples;
    ``reuse`` names those that are handed in, ``keep`` the outputs to store for later steps, with their
    streams.
    """

    batch: str
    goal: str
    micro_batches: Sequence[Any]
    streams: list[dict[str, Any]]
    reuse: tuple[str, ...] = ()
    keep: tuple[tuple[str, str], ...] = ()

    def inputs(self, index: int) -> dict[str, Any]:
        """Return the inputs of a micro-batch, with the reused streams in place of their computation."""
        inputs = dict(self.micro_batches[index].inputs)
        for stream in self.reuse:
            inputs[stream] = self.streams[index][stream]
        return inputs

    def store(self, index: int, outputs: Mapping[str, Any]) -> None:
        """Keep the outputs of a micro-batch that later steps reuse, without their gradients."""
        for output, stream in self.keep:
            self.streams[index][stream] = detach(outputs[output])


@dataclass
class OptimizerStep:
    """One optimizer step: the parts whose gradients are added, and the streams whose gradients are cached."""

    parts: list[Part]
    cache_gradients: tuple[str, ...] = ()


class Iteration:
    """Draws the batches of every optimizer step of a run.

    Which batch a step draws follows from (seed, iteration, step): it is the same on all ranks, and after a
    resume.
    """

    def __init__(
        self, spec: Spec, plan: TrainingPlan, loaders: Mapping[str, Any], seed: int
    ) -> None:
        self.spec, self.plan, self.loaders, self.seed = spec, plan, loaders, seed
        self._batches: dict[str, Iterator[Any]] = {}
        self.seconds_waited = 0.0  # for the loaders, since the start

    def steps(self, state: RunState) -> Iterator[OptimizerStep]:
        """Yield the optimizer steps of the next iteration one after another.

        A step must be finished before the next one is asked for, which may reuse its streams.
        """
        drawn: dict[str, Part] = {}  # the latest part of each batch in this iteration
        for index, step in enumerate(self.plan.iteration):
            until = step.until
            # A step may be part of the first iterations only.
            if until is not None:
                done = state.progress(until, self.plan.main_batch)
                if done >= until.number:
                    continue
            parts = []
            for name in self._chosen(step, index, state.step):
                # A batch that is named again has the samples that it had before.
                earlier = drawn.get(name) if step.batch is not None else None
                drawn[name] = self._part(name, index, step, earlier)
                parts.append(drawn[name])
            yield OptimizerStep(parts, step.cache_gradients)

    def positions(self) -> dict[str, dict[str, int]]:
        """Return the positions of all loaders."""
        return {name: loader.state_dict() for name, loader in self.loaders.items()}

    def uses(self, batch: str) -> float:
        """Return how often an iteration draws new samples of a batch, on average."""
        count, named = 0.0, False
        for step in self.plan.iteration:
            if step.draw:
                count += step.draw.get(batch, 0.0) / sum(step.draw.values())
            elif batch in step.all:
                count += 1
            elif step.batch == batch and not named:
                count += 1
                named = True
        return count

    def _chosen(self, step: StepSpec, index: int, iteration: int) -> Sequence[str]:
        """Return the batches that a step uses in an iteration."""
        if not step.draw:
            return step.batches
        weights = np.array(list(step.draw.values()))
        # From numbers that all ranks share, so that all of them draw the same batch.
        rng = np.random.default_rng([self.seed, iteration, index])
        number = int(rng.choice(len(weights), p=weights / weights.sum()))
        return [list(step.draw)[number]]

    def _part(
        self, name: str, index: int, step: StepSpec, earlier: Part | None
    ) -> Part:
        if earlier is None:
            # A batch that is drawn for the first time in this iteration.
            micro_batches: Sequence[Any] = self._next_micro_batches(name)
            streams: list[dict[str, Any]] = [{} for _ in micro_batches]
        else:
            micro_batches, streams = earlier.micro_batches, earlier.streams
        reuse = tuple(self._stream(name, index, output) for output in step.reuse)
        goal = self._goal(name, step)
        # Only what a later step reads is kept: streams hold memory until the end of the iteration.
        later_reuse: set[str] = set()
        for later in self.plan.iteration[index + 1 :]:
            if name in later.batches:
                later_reuse.update(later.reuse)
        keep = []
        for output, ref in self.spec.goals.get(goal, {}).items():
            if output in later_reuse:
                keep.append((output, ref.stream))
        return Part(name, goal, micro_batches, streams, reuse, tuple(keep))

    def _stream(self, name: str, index: int, output: str) -> str:
        """Return the stream behind an output that an earlier step of the same batch gives."""
        # Of several earlier steps the latest one counts.
        for step in reversed(self.plan.iteration[:index]):
            if name not in step.batches:
                continue
            outputs = self.spec.goals[self._goal(name, step)]
            if output in outputs:
                return outputs[output].stream
        raise UserError(
            f"no earlier step of the iteration gives '{output}' for batch '{name}'"
        )

    def _goal(self, name: str, step: StepSpec) -> str:
        return step.goal or self.plan.batches[name].goal

    def _next_micro_batches(self, name: str) -> list[Any]:
        """Return this rank's micro-batches of the next optimizer step of a batch."""
        if name not in self._batches:
            self._batches[name] = iter(self.loaders[name])
        micro_batches = []
        begin = time.monotonic()
        for batch in self._batches[name]:
            micro_batches.append(batch)
            if batch.final:
                self.seconds_waited += time.monotonic() - begin
                return micro_batches
        raise UserError(
            f"the loader of batch '{name}' ended, but a loader for training must be endless"
        )
