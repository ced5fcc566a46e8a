"""A dry run on the meta device: shapes, parameters, FLOPs and kept activations of a spec, without any
weight."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from modules import recompute
from modules.kinds import half
from mplug2.build.compose import compose
from mplug2.build.patterns import unmatched_rates
from mplug2.build.repeated_ops import RepeatedOps
from mplug2.network import Network
from registry import (
    KINDS,
    Plan,
    Problem,
    Spec,
    SpecError,
    Step,
    StreamType,
    UserError,
    declaration_of,
)
from registry.language.ramp import UNITS, has_ramp

# Sizes of free axes by letter. Any other is 1, or the `blank_length` of its kind if it is not the first.
SIZES = {"L": 16}


@dataclass(frozen=True)
class StreamRow:
    """One stream: how it is computed, what it holds, which goals need it."""

    name: str
    call: str
    shape: str
    goals: tuple[str, ...]


@dataclass(frozen=True)
class ModuleRow:
    """One module: its parameters, how many of them are trained, in how many equations it is used."""

    name: str
    use: str
    parameters: int
    trainable: int
    shared: int


@dataclass(frozen=True)
class GoalRow:
    """The cost of one goal for one sample: FLOPs forward, and bytes kept for the backward pass."""

    goal: str
    flops: int
    activations: int


@dataclass(frozen=True)
class InferredRow:
    """One argument that the spec leaves out: its value, and where that is set."""

    argument: str
    value: object
    origin: str


@dataclass(frozen=True)
class Summary:
    """What a spec builds."""

    streams: list[StreamRow]
    modules: list[ModuleRow]
    goals: list[GoalRow]
    inferred: list[InferredRow] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All parameters; a tied weight counts once."""
        return sum(row.parameters for row in self.modules)

    @property
    def trainable(self) -> int:
        """The parameters that are trained."""
        return sum(row.trainable for row in self.modules)


def dry_run(
    spec: Spec | str | os.PathLike[str], overrides: Sequence[str] = ()
) -> Summary:
    """Build ``spec`` on the meta device and run each goal once; SpecError where what comes out is not as
    declared."""
    net = _built(spec, overrides)
    batch = _blank_batch(net)
    used: dict[str, list[str]] = {}
    goals = []
    # Shared by all goals, which compute the same layers.
    with RepeatedOps():
        for goal in net.spec.goals:
            plan = net.plan(goal)
            # A step may run twice, with the weights and with their average.
            step_names = dict.fromkeys(step.name for step in plan.steps)
            for name in (*plan.inputs, *step_names):
                used.setdefault(name, []).append(goal)
            goals.append(_cost(net, _inputs_of(net, goal, batch), goal))
        _try_first_values(net, batch)
    streams = []
    for name, by_goals in used.items():
        is_input = name in net.spec.inputs
        call = "input" if is_input else net.spec.flow[name].text
        streams.append(StreamRow(name, call, _shape(net, name), tuple(by_goals)))
    return Summary(streams, _modules(net), goals, _inferred(net.spec))


def check_streams(spec: Spec) -> None:
    """Build ``spec`` on the meta device and run each goal once, as `dry_run` does; SpecError where what comes
    out is not as declared.

    Nothing is counted and nothing described: half of `dry_run`'s time.
    """
    net = _built(spec)
    batch = _blank_batch(net)
    with RepeatedOps():
        for goal in net.spec.goals:
            _dry_forward(net, _inputs_of(net, goal, batch), goal)
        _try_first_values(net, batch)


def _built(
    spec: Spec | str | os.PathLike[str], overrides: Sequence[str] = ()
) -> Network:
    """Return the network on the meta device; SpecError for patterns that match no weight."""
    net = compose(spec, overrides, device="meta", initial=False)
    if problems := unmatched_rates(net):
        raise SpecError(problems)
    return net


def _blank_batch(net: Network) -> dict[str, Any]:
    """Return a value without content for each input."""
    sizes = _sizes(net)
    return {name: _blank(net.types[name], sizes) for name in net.spec.inputs}


def _inputs_of(net: Network, goal: str, batch: dict[str, Any]) -> dict[str, Any]:
    """Return those of the blank inputs that a goal reads."""
    return {name: batch[name] for name in net.plan(goal).inputs}


def _try_first_values(net: Network, batch: dict[str, Any]) -> None:
    """Run the goals that have ramps at the start of a run; SpecError if a first value is out of range."""
    for goal in net.spec.goals:
        options: list[Any] = []
        for step in net.plan(goal).steps:
            options += step.binding.options.values()
        # Outside of a run ramps have their last values, which `dry_run` has tried.
        if any(map(has_ramp, options)):
            with net.training_at(dict.fromkeys(UNITS, 0)):
                _dry_forward(net, _inputs_of(net, goal, batch), goal)


def _inferred(spec: Spec) -> list[InferredRow]:
    """Return a row for each argument that follows from the wiring or the data."""
    rows = []
    for name, origin in spec.inferred.items():
        module, _, argument = name.partition(".")
        rows.append(InferredRow(name, spec.modules[module].arguments[argument], origin))
    return rows


def _shape(net: Network, name: str) -> str:
    """The type of a stream; of one with named fields, the fields' types."""
    equation = net.spec.flow.get(name)
    if equation is None:
        return str(net.types[name])
    shapes = []
    for part in declaration_of(net.spec, equation).outputs:
        # An optional output that nothing reads has no type.
        kind = net.types.get(f"{name}.{part}" if part else name)
        if kind is not None:
            shapes.append(f".{part} {kind}" if part else str(kind))
    return ", ".join(shapes)


def _sizes(net: Network) -> dict[str, int]:
    """Return one size for each letter of the inputs, whatever kinds it occurs in."""
    sizes: dict[str, int] = {}
    for name in net.spec.inputs:
        declared = net.types[name]
        for number, axis in enumerate(declared.axes):
            if isinstance(axis, str):
                default = KINDS[declared.kind].blank_length if number else 1
                sizes[axis] = max(SIZES.get(axis, default), sizes.get(axis, 1))
    return sizes


def _blank(declared: StreamType, sizes: Mapping[str, int]) -> Any:
    """Return a value without content, on the meta device, of a declared type."""
    shape = [axis if isinstance(axis, int) else sizes[axis] for axis in declared.axes]
    return half(declared.kind).blank(shape, "meta")


def _cost(net: Network, batch: dict[str, Any], goal: str) -> GoalRow:
    # By the identity of the memory: several saved tensors may be views of one, which counts once.
    kept: dict[int, int] = {}
    weights = {parameter.untyped_storage()._cdata for parameter in net.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            # Kept alive: the address of freed memory would be counted as another's.
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    recompute.on_saved_tensor = keep
    counter = FlopCounterMode(display=False)
    try:
        with counter, saved_tensors_hooks(keep, lambda tensor: tensor):
            outputs = _dry_forward(net, batch, goal)
    finally:
        recompute.on_saved_tensor = None
    # A goal without a loss is run without gradients, and then nothing is kept.
    num_bytes = sum(kept.values()) if "loss" in outputs else 0
    return GoalRow(goal, counter.get_total_flops(), num_bytes)


def _dry_forward(net: Network, batch: dict[str, Any], goal: str) -> dict[str, Any]:
    """Run a goal with a stand-in for every search, since nothing has a value, and compare every stream."""
    operations, run = net._operations, net._run

    def compared(
        steps: Plan, step: Step, values: Mapping[tuple[str, bool], Any]
    ) -> Any:
        value = run(steps, step, values)
        _compare(net, step, value)
        return value

    # A search stops at the end of a text, which tensors without values do not have.
    stand_ins = {}
    for name, operation in operations.items():
        stand_ins[name] = getattr(operation, "dry_run", operation)
    net._operations = stand_ins
    net.__dict__["_run"] = compared
    try:
        return net(batch, goal)
    except UserError:
        raise
    except Exception as error:
        raise SpecError([located(error, net.spec)]) from error
    finally:
        net._operations = operations
        del net.__dict__["_run"]


def located(error: Exception, spec: Spec) -> Problem:
    """What a module raised, as a problem of the line that called it."""
    step = getattr(error, "step", None)
    what = f"{type(error).__name__}: {[*str(error).strip().splitlines(), ''][0]}"
    if step is None:
        return Problem(spec.place("flow"), f"the network cannot be computed: {what}")
    return Problem(
        step.equation.place, f"stream '{step.name}' cannot be computed: {what}"
    )


def _compare(net: Network, step: Step, value: Any) -> None:
    """What comes out must be of the declared kind, and have the sizes that stage 3 derived."""
    outputs = step.declaration.outputs
    for name, port in outputs.items():
        is_mapping = isinstance(value, Mapping)
        stream = f"{step.name}.{name}" if name else step.name
        if port.optional and not (is_mapping and name in value and stream in net.types):
            # The line that reads it has the problem.
            continue
        output = value
        if name or (is_mapping and len(outputs) > 1):
            output = value.get(name) if is_mapping else getattr(value, name, None)
        declared = net.types[stream]
        description = _misfit(declared, output)
        if description is not None:
            message = (
                f"'{stream}' is declared as {declared}, but comes out as {description}"
            )
            raise SpecError([Problem(step.equation.place, message)])


def _misfit(declared: StreamType, value: Any) -> str | None:
    """Return a description of a value that does not have its declared type, or None."""
    torch_half = half(declared.kind)
    if value is None:
        return "nothing"
    if not isinstance(value, torch_half.value_class):
        return f"{type(value).__name__}, not {torch_half.value_class.__name__}"
    sizes = torch_half.shape(value)
    fits = len(sizes) == len(declared.axes)
    for axis, size in zip(declared.axes, sizes, strict=False):
        # A letter may have any size here: stage 3 has compared the letters.
        if isinstance(axis, int) and axis != size:
            fits = False
    return None if fits else torch_half.describe(value)


def _modules(net: Network) -> list[ModuleRow]:
    rows: list[ModuleRow] = []
    seen: set[int] = set()
    for name, entry in net.spec.modules.items():
        total = trained = 0
        for parameter in net.get_module(name).parameters():
            # A tied weight counts in the first module that has it.
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            total += parameter.numel()
            trained += parameter.numel() if parameter.requires_grad else 0
        uses = 0
        for equation in net.spec.flow.values():
            handed = [ref.name for ref in equation.modules()]
            uses += equation.callee == name or name in handed
        rows.append(ModuleRow(name, entry.use, total, trained, uses))
    return rows
