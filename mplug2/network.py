"""A composed network: it runs the equations of a spec over its modules."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.kinds import half
from modules.losses.reduction import LossSum
from modules.packing import refuse_packed
from modules.streams import to_device
from mplug2.averaging import AveragedNetwork
from mplug2.batch_inputs import check_classes, check_inputs, in_words
from mplug2.loss_counts import counted_losses
from mplug2.observing import Observer, observed_submodules
from registry import (
    OPERATIONS,
    ModuleRef,
    Plan,
    Ref,
    Spec,
    SpecError,
    Step,
    StreamType,
    UserError,
    plan,
    plan_streams,
)
from registry.errors import require
from registry.language.ramp import value_at

Goal = str | tuple[str, ...]  # the name of a goal, or the names of streams to compute


class Network(AveragedNetwork):
    """The modules of a spec under their names there, and the equations that join them.

    ``net(batch, goal)`` takes a mapping of input streams (or of any later streams: the plan starts from what
    it is given) and returns the goal's outputs. State-dict keys begin with the spec's module names.
    """

    def __init__(
        self,
        spec: Spec,
        types: Mapping[str, StreamType],
        parts: Mapping[str, nn.Module],
    ) -> None:
        super().__init__(spec)
        self.types = dict(types)
        # Not by attribute: a spec may call a module `train` or `modules`, which nn.Module has taken.
        self._modules.update(parts)
        self._plans: dict[tuple[Goal, frozenset[str]], Plan] = {}
        self._operations: dict[str, Callable[..., Any]] = {}
        for equation in spec.flow.values():
            # A flow line calls a module of the spec or a registered operation.
            if equation.callee not in parts:
                self._operations[equation.callee] = OPERATIONS.load(equation.callee)
        # What losses divide by, while a trainer sets it.
        self._counts: dict[str, Tensor] = {}

    def get_module(self, name: str) -> nn.Module:
        """Return the module that the spec calls ``name``."""
        module = self._modules.get(name)
        if module is None:
            raise UserError(
                f"no module '{name}' in {self.spec.path} ({', '.join(self.spec.modules)})"
            )
        return module

    def attach_data(self, source: Any, decode: Callable[[Sequence[int]], str]) -> None:
        """Call ``attach_data(source, decode)`` on modules that define it: rewards need the references."""
        for part in self.children():
            if attach := getattr(part, "attach_data", None):
                attach(source, decode)

    def extra_state(self) -> dict[str, Any]:
        """Return what modules store in addition to weights (``extra_state``), as plain data by module;
        often empty."""
        states = {}
        for name, module in self.named_children():
            if get_state := getattr(module, "extra_state", None):
                state = get_state()
                if state is not None:
                    states[name] = state
        return states

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` gave."""
        for name, module_state in state.items():
            self.get_module(name).load_extra_state(module_state)  # type: ignore[operator]

    def move(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the streams of a batch on the network's device."""
        check_classes(batch, self.types)
        device = self.device
        # Each kind moves its own values: texts and tokens are tuples of tensors.
        moved: dict[str, Any] = {}
        for name, value in batch.items():
            declared = self.types.get(name)
            move = to_device if declared is None else half(declared.kind).to_device
            moved[name] = move(value, device)
        return moved

    def plan(self, goal: Goal, given: frozenset[str] = frozenset()) -> Plan:
        """Return the steps of a goal that starts from the streams ``given``; kept for the next call."""
        require(goal, (str, tuple), "goal")
        # A plan depends on the goal and on what the batch supplies, not on values.
        if (goal, given) not in self._plans:
            if isinstance(goal, str):
                steps = plan(self.spec, goal, given)
            else:
                steps = plan_streams(self.spec, goal, given)
            self._plans[goal, given] = steps
        return self._plans[goal, given]

    def forward(
        self,
        batch: Mapping[str, Any],
        goal: Goal = "train",
        observe: Observer | None = None,
    ) -> dict[str, Any]:
        """Return the outputs of ``goal``; a loss is a scalar, the mean over the batch of all ranks.

        ``goal``: the name of a goal, or a tuple of streams that are computed and returned by their names.
        ``observe(name, value)`` is called with every stream that is computed (``ema(name)`` for a momentum
        copy), and with the output of every submodule by its path, such as ``vision.blocks.3``. UserError if
        the batch lacks an input, has one of another size, or holds something that is not a stream.
        """
        batch = self._by_stream(batch)
        steps = self._steps(batch, goal)
        check_inputs(batch, self.spec.inputs, self.types)
        # By name and by whether an averaged copy computed the value; inputs have no copy.
        values: dict[tuple[str, bool], Any] = {}
        for name in batch:
            values[name, False] = self._cast(name, batch[name])
        # Hooks cost time on every call, so they exist only while there is an observer.
        with observed_submodules(self, observe):
            for step in steps.steps:
                value = self._run(steps, step, values)
                values[step.key] = value
                if observe is not None:
                    observe(f"ema({step.name})" if step.shadow else step.name, value)
        outputs = {}
        for name, ref in steps.outputs.items():
            outputs[name] = _field(values[steps.key(ref)], ref)
        return outputs

    def count_losses(
        self, batch: Mapping[str, Any], goal: Goal = "train"
    ) -> dict[str, Tensor]:
        """Return what the losses of ``goal`` divide by in this batch, by stream, before any forward pass.

        A loss whose count depends on the output of a module is left out: it is averaged over micro-batches.
        """
        batch = self._by_stream(batch)
        steps = self._steps(batch, goal)
        check_inputs(batch, self.spec.inputs, self.types)
        # Losses whose counts need a module's output are not among them.
        losses, needed = counted_losses(
            steps, self.spec, self._operations, self._options
        )
        # Not cast as in `forward`: only operations run here, no module with weights.
        values: dict[tuple[str, bool], Any] = {}
        for name in batch:
            values[name, False] = batch[name]
        counts = {}
        with torch.no_grad():
            for step in steps.steps:
                if step.key in needed:
                    values[step.key] = self._run(steps, step, values)
            for loss in losses:
                streams = {}
                for port, ref in loss.ports.items():
                    streams[port] = self._fill(steps, loss.step, values, ref)
                counts[loss.step.name] = loss.count(**streams, **loss.options)
        return counts

    @contextlib.contextmanager
    def loss_counts(self, counts: Mapping[str, Tensor]) -> Iterator[None]:
        """While open, the losses named in ``counts`` divide by these numbers and not by the batch's own."""
        self._counts = dict(counts)
        try:
            yield
        finally:
            # Also after an error: the next batch must not divide by old counts.
            self._counts = {}

    def _by_stream(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a batch by the names of streams: that of a call means the stream that the call returns."""
        require(batch, Mapping, "a batch")
        aliases = self.spec.expansion.aliases
        # Not a set operation on the keys: torch.compile breaks the graph at those.
        # The usual case: no name to translate.
        if not any(name in aliases for name in batch):
            return batch
        renamed = {}
        for name, value in batch.items():
            ref = self.spec.stream(name)
            renamed[name if ref.field is not None else ref.stream] = value
        return renamed

    def _steps(self, batch: Mapping[str, Any], goal: Goal) -> Plan:
        """Return the plan of a goal that starts from what the batch holds."""
        given = frozenset(name for name in batch if name in self.spec.flow)
        for name in batch:
            if name not in given and name not in self.spec.inputs:
                raise UserError(
                    f"a batch must hold inputs or streams of {self.spec.path}, but holds '{name}'"
                )
        steps = self.plan(goal, given)
        # A missing input is reported by its name, before the first module runs.
        steps.require(batch)
        return steps

    def _scalar(self, step: Step, value: Any) -> Any:
        """Return a value with its losses, sums with their counts, made scalars."""
        if isinstance(value, LossSum):
            count = self._counts.get(step.name)
            if count is None:
                return value.mean()
            return value.divide(count.to(value.total.device))
        if isinstance(value, dict):
            return {name: self._scalar(step, part) for name, part in value.items()}
        return value

    def _cast(self, name: str, value: Any) -> Any:
        """Return an input in the precision that its kind asks for; any other stream unchanged."""
        declared = self.spec.inputs.get(name)
        return (
            value if declared is None else half(declared.kind).cast(value, self.dtype)
        )

    def _run(
        self, steps: Plan, step: Step, values: Mapping[tuple[str, bool], Any]
    ) -> Any:
        positional, ports = self._arguments(steps, step, values)
        options = self._options(step)
        # Optional outputs cost time: a module computes those that the flow reads.
        if step.declaration.requests:
            options["requested"] = step.requested
        call = self._called(step.equation.callee, step.shadow)
        try:
            # A module that does not keep packed texts apart would mix them.
            refuse_packed(call, (*positional, *ports.values()))
            if not step.shadow:
                return self._scalar(step, call(*positional, **ports, **options))
            with torch.no_grad(), self.in_full_precision():
                return self._scalar(step, call(*positional, **ports, **options))
        except SpecError:
            raise
        except (UserError, ValueError, IndexError) as error:
            # What a module finds out from its values alone: the mistake is in the spec or the data.
            raise SpecError.at(
                step.equation.place, f"{step.equation.callee}: {in_words(error)}"
            ) from error
        except Exception as error:
            # Exceptions have notes from Python 3.11 on.
            if sys.version_info >= (3, 11):
                error.add_note(f"while computing `{step.name}` ({step.equation.place})")
            # For callers that report the location.
            vars(error)["step"] = step
            raise

    def _arguments(
        self, steps: Plan, step: Step, values: Mapping[tuple[str, bool], Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return the streams of a call by position, and the others by port.

        A variadic port takes its streams by position, and so do the ports before it.
        """
        ports = {}
        variadic: list[Any] = []
        for name, what in step.binding.ports.items():
            value = self._fill(steps, step, values, what)
            if step.declaration.inputs[name].variadic:
                variadic = value
            else:
                ports[name] = value
        positional = []
        for name in step.before_variadic:
            positional.append(ports.pop(name, None))
        return [*positional, *variadic], ports

    def _options(self, step: Step) -> dict[str, Any]:
        """Return the options of a call; ramps have their last value outside of a run."""
        options = {}
        for name, value in step.binding.options.items():
            options[name] = value_at(value, self.position)
        return options

    # A method, for a closure that calls itself would keep all streams until the garbage collector runs.
    def _fill(
        self,
        steps: Plan,
        step: Step,
        values: Mapping[tuple[str, bool], Any],
        filling: Ref | ModuleRef | tuple[Ref | ModuleRef, ...],
    ) -> Any:
        if isinstance(filling, tuple):
            return tuple(self._fill(steps, step, values, part) for part in filling)
        if isinstance(filling, ModuleRef):
            return self._called(filling.name, step.shadow)
        return _field(values[steps.key(filling, step.shadow)], filling)

    def _called(self, name: str, shadow: bool) -> Callable[..., Any]:
        if name not in self._modules:
            return self._operations[name]
        return self.averaged_module(name) if shadow else self.get_module(name)

    def extra_repr(self) -> str:
        """The goals, for ``print(net)``."""
        return f"goals: {', '.join(self.spec.goals)}"


def _field(value: Any, ref: Ref) -> Any:
    """Return the output of a step's value that a stream names; SpecError if the module did not return it."""
    if ref.field is None:
        # The nameless output next to those that were requested.
        return value.get("", value) if isinstance(value, dict) else value
    if isinstance(value, dict) and ref.field in value:
        return value[ref.field]
    if not isinstance(value, dict) and hasattr(value, ref.field):
        return getattr(value, ref.field)
    message = f"'{ref.name}' is read, but its module did not return the optional output '{ref.field}'"
    raise SpecError.at(ref.place, message, "read it only where the module computes it")
