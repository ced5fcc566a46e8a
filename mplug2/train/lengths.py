"""How long a run is: the number of its iterations, from epochs, samples or steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mplug2.train.iteration import Iteration
from mplug2.train.run_state import RunState
from registry import UserError
from registry.training import Length, length_of


def total_steps(
    state: RunState, iteration: Iteration, settings: Mapping[str, Any]
) -> int:
    """Return the iterations of a complete run: those that are done, and those that are left."""
    total = state.step + _iterations_left(
        length_of(settings["epochs"]), state, iteration
    )
    if settings["samples"] is not None:
        left = _iterations_left(
            Length("samples", settings["samples"]), state, iteration
        )
        total = min(total, state.step + left)
    return min(total, settings["max_steps"] or total)


def _iterations_left(length: Length, state: RunState, iteration: Iteration) -> int:
    if length.unit == "steps":
        return max(0, math.ceil(length.number) - state.step)
    batch = length.of or iteration.plan.main_batch
    uses = iteration.uses(batch)
    if not uses:
        raise UserError(
            f"a length in {length.unit} of batch '{batch}' needs a step that reads it"
        )
    steps = _steps_left(length, state.loaders[batch], iteration.loaders[batch])
    # A batch that is drawn by chance comes `uses` times an iteration, on average.
    return math.ceil(steps / uses)


def _steps_left(length: Length, position: Mapping[str, int], loader: Any) -> int:
    """Return the optimizer steps that a loader gives until a number of epochs or samples is reached."""
    epoch, samples, epoch_samples = (
        position["epoch"],
        position["samples"],
        position["samples_per_epoch"],
    )
    epochs = length.number if length.unit == "epochs" else length.number / epoch_samples
    steps = 0.0
    while epoch < epochs:
        steps_in_epoch = loader.steps_per_epoch() or loader.steps_in(epoch)
        fraction = min(epochs - epoch, 1.0) - samples / epoch_samples
        # The last step of an epoch may be smaller: 0.1 of an epoch in steps of 0.25 is one step.
        steps += math.ceil(max(fraction, 0.0) * steps_in_epoch - 1e-9)
        epoch, samples = epoch + 1, 0
    return int(steps)
