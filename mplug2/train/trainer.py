"""The trainer: a run that is new or resumed, and that trains until it ends.

`Trainer.run` is the loop: draw, forward and backward, step, log, evaluate, save.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mplug2.eval.best import selected_value, smaller_is_better
from mplug2.eval.run import evaluate_all
from mplug2.runtime import distributed
from mplug2.runtime.interrupts import Interrupts
from mplug2.runtime.progress import ProgressReporter
from mplug2.runtime.rng import seed_everything
from mplug2.runtime.run_folder import CHECKPOINTS, run_folder
from mplug2.train import messages
from mplug2.train.background_saves import BackgroundSaves
from mplug2.train.checkpoint import (
    load_before_engine,
    load_into_engine,
    save_checkpoint,
)
from mplug2.train.checkpoint_state import resume_invariants, write_state
from mplug2.train.engines.base import StepResult, start_engine
from mplug2.train.gradients import accumulate_gradients
from mplug2.train.iteration import Iteration, OptimizerStep
from mplug2.train.lengths import total_steps
from mplug2.train.logs import RunLog
from mplug2.train.meter import Meter
from mplug2.train.optim import build_optimizer
from mplug2.train.ready import unknown_word_warnings
from mplug2.train.resume_changes import changed_settings
from mplug2.train.run_folder import open_run_folder, tidy_run_folder
from mplug2.train.run_lock import lost_run_folder
from mplug2.train.run_state import Result, RunState, is_due
from mplug2.train.saved_steps import step_folder
from mplug2.train.scalars import averaged_scalars, output_of
from mplug2.train.schedule import named_rates, ramp_values, schedule_of
from mplug2.train.skipped_samples import write_skipped
from registry import SpecError, UserError, write_spec
from registry.training import LOSS, length_of, plan_of_loaders, training_plan

Decode = Callable[[Sequence[int]], str]


class Trainer:
    """A run: a network with its engine, its loaders, its progress, and the folder that it writes to."""

    def __init__(
        self,
        net: Any,
        loaders: Mapping[str, Any],
        evaluation_loaders: Mapping[str, Any],
        decode: Decode,
        *,
        resume: bool = False,
        vocabularies: Mapping[str, Any] | None = None,
    ) -> None:
        self.net, self.spec, self.settings = net, net.spec, net.spec.train
        self.evaluation_loaders, self.decode = evaluation_loaders, decode
        self.vocabularies = (
            vocabularies or {}
        )  # as `describe_vocabularies` returns them
        plan = training_plan(self.spec)
        self.plan = plan if plan.iteration else plan_of_loaders(plan, loaders)
        self.main_batch = self.plan.main_batch
        self.iteration = Iteration(self.spec, self.plan, loaders, self.settings["seed"])
        optimizer = build_optimizer(net, self.settings)
        # The schedule overwrites `lr` in every iteration.
        self.peak_lrs = [group["lr"] for group in optimizer.param_groups]
        # An evaluation without a loader is of use outside of training only.
        self.evaluations = []
        for evaluation in self.plan.evaluations:
            if evaluation.name in evaluation_loaders:
                self.evaluations.append(evaluation)
        self.select = selected_value(self.spec, self.evaluations)
        # This loads the metrics: one that cannot run here (METEOR without Java) fails before training.
        self.smaller_is_better = smaller_is_better(self.evaluations)
        # The folder is made last, so that a refused run leaves none behind.
        self.saved, self.writer = open_run_folder(self.spec, resume)
        self.folder = run_folder(self.spec)
        # Before the engine replaces the parameters of the groups.
        self.invariants = resume_invariants(self.settings, optimizer)
        self.state = RunState()
        if self.saved:
            # Weights go into the network while it is complete: ZeRO 3 will split it over ranks.
            self.state = load_before_engine(self.saved, net, self.invariants)
        stored = dict(self.state.loaders)
        for name, position in stored.items():
            loaders[name].load_state_dict(position)
        self.state.loaders = self.iteration.positions()
        # Printed with the first lines: a resumed run may have other settings than its user expects.
        self.changes = changed_settings(self.saved, self.spec)
        self.changes += messages.changed_data(stored, self.state.loaders, loaders)
        # Needs the positions of the loaders: an epoch of batches by tokens has no fixed length.
        self.total = total_steps(self.state, self.iteration, self.settings)
        self.schedule = schedule_of(self.settings, self.total)
        self.engine = start_engine(net, optimizer, self.settings)
        # Other dropout on every rank; a resumed run restores the generators of its checkpoint below.
        seed_everything(self.settings["seed"], distributed.rank())
        if self.saved:
            load_into_engine(self.saved, self.engine)
        # The run may have no evaluation any more.
        self.state.eval_pending = self.state.eval_pending and bool(self.evaluations)
        self.skipped_in_a_row = 0
        self.saves = BackgroundSaves(enabled=self.settings["async_save"])
        self.saving: Path | None = None  # the checkpoint that `saves` writes
        self.meter = Meter(self.iteration, self.folder, self.settings["profile"])

    def run(self) -> Result:
        """Train to the end, or until a signal asks to stop; return the outcome."""
        # Only the first rank prints and logs.
        silent, started, stop = distributed.rank() != 0, time.monotonic(), False
        with (
            ProgressReporter(self.total, self.state.step, silent=silent) as self.report,
            RunLog(
                self.folder, self.state.step, self.settings, silent=silent
            ) as self.log,
            Interrupts() as interrupts,
            self.meter,
            self.saves,
        ):
            self.report.print_line(*self.opening())
            while (self.state.eval_pending or not self.is_over()) and not stop:
                # In the next turn, after the step was saved: an evaluation can fail.
                if self.state.eval_pending:
                    self.evaluate()
                    continue
                before = copy.deepcopy(self.state)
                self.meter.begin(self.state.step + 1)
                lrs = self.set_learning_rates()
                # Before the step, as released: the average is of the weights that this step starts from.
                self.net.update_ema(self.engine.consolidate)
                # Once for each iteration after which more parameters train.
                self.report.print_line(*messages.unfreezing(self.net, self.state.step))
                with self.net.training_at(self.state.position(self.main_batch)):
                    values, results = self.train_iteration()
                self.state.step += 1
                self.state.loaders = self.iteration.positions()
                seconds = self.meter.end(self.state.step)
                self.write_log(values, results, lrs, before, seconds)
                stop = self.any_rank_stops(interrupts.stop_requested)
                # The last step is saved and evaluated whatever the settings are.
                over = self.state.step == self.total
                self.state.eval_pending = bool(self.evaluations) and (
                    over or self.is_due("eval_every", before)
                )
                if over or stop or self.is_due("save_every", before):
                    self.save()
            self.finish_save()
        # A run without a step to do was saved before.
        assert self.saved is not None
        best, best_folder = self.state.best_step, None
        if best is not None:
            best_folder = step_folder(self.folder / CHECKPOINTS, best)
        interrupted = stop and (self.state.eval_pending or not self.is_over())
        metrics = self.state.metrics
        result = Result(
            self.folder, self.state.step, self.saved, best_folder, metrics, interrupted
        )
        seconds = time.monotonic() - started
        self.report.print_line(
            *messages.closing(result, self.state, self.total, seconds, self.select)
        )
        return result

    def is_over(self) -> bool:
        """Return whether all steps are done, or evaluations no longer improve (`train.early_stop`)."""
        return self.state.is_over(self.total, self.settings["early_stop"])

    def opening(self) -> list[str]:
        """Return the first lines that a run prints."""
        texts = messages.batch_texts(self.plan, self.iteration.loaders)
        lines = messages.opening(
            self.net, self.spec, self.folder, self.state, texts, self.total
        )
        lines += self.changes
        if not self.state.step:
            # At the start of a new run only: counting words takes seconds.
            lines += unknown_word_warnings(self.iteration.loaders)
        return lines if self.evaluations else [*lines, messages.NO_VALIDATION]

    def is_due(self, setting: str, before: RunState) -> bool:
        """Return whether something that happens every so often happens after this iteration."""
        return is_due(
            length_of(self.settings[setting]), before, self.state, self.main_batch
        )

    def set_learning_rates(self) -> list[float]:
        """Write the rates of this iteration into the optimizer, and return them."""
        lrs = [self.schedule.at(self.state.step, peak) for peak in self.peak_lrs]
        for group, lr in zip(self.engine.optimizer.param_groups, lrs, strict=True):
            group["lr"] = lr
        return lrs

    def train_iteration(self) -> tuple[dict[str, float], list[StepResult]]:
        """Take the optimizer steps of one iteration; return the scalars of their goals, and how they went."""
        values: dict[str, float] = {}
        results = []
        for step in self.iteration.steps(self.state):
            self.meter.count(step)
            local_values = accumulate_gradients(self.engine, self.net, step)
            scalars = averaged_scalars(local_values, self.plan)
            # Before the engine's step, which would carry NaN into the weights.
            self.check_finite(scalars, step)
            values |= scalars
            result = self.engine.step(self.settings["max_grad_norm"])
            results.append(result)
            self.skipped_in_a_row = 0 if result.taken else self.skipped_in_a_row + 1
            # A gradient that is not finite: usual in fp16 now and then, but not many times in a row.
            if not result.taken:
                self.state.skipped += 1
                write_skipped(self.folder, self.state.step + 1, step)
                self.report.print_line(messages.skipped(self.state))
            if self.skipped_in_a_row >= self.settings["max_skipped"]:
                raise UserError(
                    messages.stuck(self.skipped_in_a_row, self.state, self.saved)
                )
        return values, results

    def check_finite(self, values: Mapping[str, float], step: OptimizerStep) -> None:
        """Raise UserError if a loss of an optimizer step is not finite, and write down its samples."""
        for name, value in values.items():
            if output_of(name) == LOSS and not math.isfinite(value):
                write_skipped(self.folder, self.state.step + 1, step)
                raise UserError(messages.diverged(value, self.state, self.saved))

    def write_log(
        self,
        values: Mapping[str, float],
        results: Sequence[StepResult],
        lrs: Sequence[float],
        before: RunState,
        seconds: float,
    ) -> None:
        """Show the progress of an iteration, and log every few of them."""
        step, taken = self.state.step, all(result.taken for result in results)
        # The position before the iteration: its rates, ramps and epoch are those of its samples.
        epoch = before.epoch_of(self.main_batch)
        line = (
            step % self.settings["log_every"] == 0
            or step in (1, self.total)
            or not taken
        )
        self.report.step(step, messages.step_text(epoch, values, max(lrs)), line)
        if not line:
            return
        numbers: dict[str, float | None] = {"epoch": epoch, **values}
        numbers |= named_rates(self.settings["lr"], self.peak_lrs, lrs)
        numbers |= ramp_values(self.spec, before.position(self.main_batch))
        # None is not logged: no row has a norm that was not finite, or a count of no skipped steps.
        numbers["grad_norm"] = results[-1].grad_norm if results else None
        numbers["skipped"] = self.state.skipped or None
        self.log.write(step, **numbers, **self.meter.take(), seconds=seconds)

    def evaluate(self) -> None:
        """Run all evaluations, and remember this step if it is the best so far."""
        state, step = self.state, self.state.step
        values = evaluate_all(
            self.net,
            self.engine,
            self.evaluations,
            self.evaluation_loaders,
            self.decode,
            self.folder,
            step,
        )
        # Before this step may become the best one, to which a link must point only when it is complete.
        self.finish_save()
        state.metrics, state.eval_pending = values, False
        better = self.is_best(values)
        shown = "  ".join(f"{key} {value:.4f}" for key, value in values.items())
        self.report.print_line(
            f"step {step}  val  {shown}{'  (best so far)' if better else ''}"
        )
        self.log.write(step, **{f"val/{key}": value for key, value in values.items()})
        # The weights of this step are saved already: only the state of their checkpoint has changed.
        if self.saved == step_folder(self.folder / CHECKPOINTS, step):
            write_state(self.saved, self.net, state, self.invariants, self.writer)
            self.tidy_folder()
        elif better or self.is_over():
            self.save()
        self.report.print_line(
            *messages.stopped_early(state, self.total, self.select, self.is_over())
        )

    def is_best(self, values: Mapping[str, float]) -> bool:
        """Return whether an evaluation is the best so far, and remember it if so."""
        if self.select not in values:
            message = f"train.best_metric must be one of {', '.join(values)}, but is {self.select!r}"
            raise SpecError.at(self.spec.place("train", "best_metric"), message)
        smaller = self.select in self.smaller_is_better
        return self.state.record_best(values[self.select], smaller_is_better=smaller)

    def any_rank_stops(self, stop_requested: bool) -> bool:
        """Return whether a signal has reached a rank; raise the error of a save in the background."""
        done = self.saves.is_done
        # In one exchange: a signal, or an error, may have reached some ranks only so far.
        failed = done and self.saves.has_failed
        stops, failures = distributed.all_reduce_sum(stop_requested, failed)
        if done or failures:
            self.finish_save()
        return stops > 0

    def save(self) -> None:
        """Write a checkpoint of the state; UserError if the run folder is gone."""
        self.finish_save()
        distributed.raise_on_all_ranks(
            lost_run_folder(self.folder) if self.writer else None
        )
        # With its folder filled in, the spec inside a checkpoint is enough to resume from it.
        spec_text = write_spec(
            replace(self.spec, train={**self.settings, "output_dir": str(self.folder)})
        )
        parts = (self.net, self.engine, self.state, self.invariants, spec_text)
        background = self.saves if self.saves.enabled else None
        self.saving = save_checkpoint(
            self.folder / CHECKPOINTS,
            *parts,
            self.writer,
            self.vocabularies,
            background,
        )
        if not self.saves.enabled:
            self.finish_save()

    def finish_save(self) -> None:
        """Wait for the checkpoint that is being written, if any, and point `last` to it."""
        self.saves.wait()
        if self.saving is not None:
            self.saved, self.saving = self.saving, None
            self.tidy_folder()

    def tidy_folder(self) -> None:
        """Bring links and old checkpoints up to date, on the process that writes."""
        if self.writer:
            assert self.saved is not None
            tidy_run_folder(
                self.folder,
                self.saved,
                self.state.best_step,
                self.settings["keep_last"],
            )
