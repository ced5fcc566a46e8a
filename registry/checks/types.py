"""Check stage 3, second half: kinds and sizes of all streams, solved over the flow in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from registry.checks.advice import converters
from registry.checks.axis_fit import AxisFit
from registry.checks.indices import IndexUse, unknown_targets, wrong_index
from registry.checks.inference import LOGITS, count_classes
from registry.checks.misfits import Meeting, Misfit, Misfits
from registry.checks.sizes import Size, unify
from registry.checks.text_sizes import settle_vocabularies
from registry.errors import Location, Problem
from registry.kinds import KINDS
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Equation, ModuleRef, Ref
from registry.language.ports import FOLLOWS, Axis, Port, StreamType, followed_axes
from registry.language.spec import Spec
from registry.planner import absent_outputs, declaration_of
from registry.registries import Registries


@dataclass
class _Scope:
    """The axes of one call by the names that its declaration gives them, and which port met each first."""

    callee: str
    sizes: dict[str, Size] = field(default_factory=dict)
    first: dict[str, tuple[str, Ref]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stream:
    kind: str
    sizes: tuple[Size, ...]
    target: Size | None = None  # whose rows an index counts

    def solved(self) -> StreamType:
        target = None if self.target is None else self.target.axis or None
        return StreamType(self.kind, tuple(size.axis for size in self.sizes), target)


@dataclass(frozen=True)
class Solution:
    """What stage 3 finds out: what does not fit, the type of every stream (fields as `both.vision`), and
    the sizes of arguments that the spec leaves out, by module and argument; `waiting` are the arguments
    among them that data could settle, with the reason why it does not."""

    misfits: list[Misfit]
    types: dict[str, StreamType]
    sizes: dict[tuple[str, str], Size]
    waiting: dict[tuple[str, str], str]


def check_axes(spec: Spec, names: Registries, order: Iterable[str]) -> Solution:
    """Return the solution of all kinds and sizes of a spec."""
    solver = _Solver(spec, names)
    for name in order:
        solver.equation(spec.flow[name])
    misfits = solver.finish()
    return Solution(misfits, solver.solved(), solver.sizes, solver.waiting)


def _open_target(kind: str) -> Size | None:
    """Return the target of an index without an arrow: its first use settles it."""
    first_kind = kind.split("|")[0]
    return Size("") if KINDS[first_kind].counts_rows else None


class _Solver:
    def __init__(self, spec: Spec, names: Registries) -> None:
        self.spec, self.names = spec, names
        self.misfits = Misfits()
        self.streams: dict[str, _Stream] = {}
        self.letters_of_inputs: dict[str, Size] = {}
        # The axes `M@mask` of outputs, by operation, axis and stream.
        self.selections: dict[tuple[str, str, str], Size] = {}
        # Sizes of arguments that the spec leaves out, by module and argument.
        self.sizes: dict[tuple[str, str], Size] = {}
        self.waiting: dict[tuple[str, str], str] = {}
        self.read_inputs()

    def read_inputs(self) -> None:
        """Add the streams of the inputs."""
        unknown = unknown_targets(self.spec)
        for name, declared in self.spec.inputs.items():
            sizes = tuple(self.input_axis(name, axis) for axis in declared.axes)
            target = _open_target(declared.kind)
            if name in unknown:
                # The target stays open, so that the mistake is reported once.
                self.misfits.add(Misfit(unknown[name], ()))
            elif declared.target is not None:
                target = self.input_axis(name, declared.target)
            self.streams[name] = _Stream(declared.kind, sizes, target)

    def input_axis(self, name: str, axis: Axis) -> Size:
        """Return the axis of an input; one letter is one axis in all inputs."""
        if isinstance(axis, int):
            return Size(str(axis), value=axis, origin=self.spec.place("inputs", name))
        return self.letters_of_inputs.setdefault(axis, Size(axis, letter=axis))

    def solved(self) -> dict[str, StreamType]:
        """Return the solved type of every stream."""
        return {name: stream.solved() for name, stream in self.streams.items()}

    def finish(self) -> list[Misfit]:
        """Return all misfits, when every line has been read."""
        # The last axis of logits is the number of classes, which a head may leave open.
        class_axes: dict[str, Size] = {}
        for name, stream in self.streams.items():
            if stream.kind == LOGITS and stream.sizes:
                class_axes[name] = stream.sizes[-1]
        # Before the letters are settled: a count of classes may be the size that settles them.
        self.waiting = count_classes(self.spec, self.names, self.sizes, class_axes)
        vocabularies = settle_vocabularies(self.spec, self.names, self.sizes)
        self.waiting |= vocabularies.waiting
        for problem in vocabularies.problems:
            self.misfits.add(Misfit(problem, ()))
        return self.misfits.finish()

    def equation(self, equation: Equation) -> None:
        """Fit what a line reads to its ports, and add what it computes."""
        declaration = declaration_of(self.spec, equation, self.names)
        binding, _ = bind(equation, declaration)
        scope = _Scope(equation.callee)
        # Indices last: then the other ports have settled the rows that they count.
        arguments = sorted(
            binding.arguments(),
            key=lambda pair: declaration.inputs[pair[0]].target is not None,
        )
        for port_name, argument in arguments:
            if isinstance(argument, Ref):
                self.fit(scope, declaration, equation.callee, port_name, argument)
            else:
                self.fit_module(argument, binding.ports)
        for axis, port_name in followed_axes(declaration.outputs).items():
            followed = binding.ports.get(port_name)
            if isinstance(followed, Ref):
                scope.sizes[axis] = self.followed(equation, axis, followed)
        absent = absent_outputs(self.spec, equation, declaration)
        for name, port in declaration.outputs.items():
            if name not in absent:
                stream_name = f"{equation.name}.{name}" if name else equation.name
                stream = self.output(scope, declaration, equation, port)
                self.streams[stream_name] = stream

    def followed(self, equation: Equation, axis: str, ref: Ref) -> Size:
        """Return the axis `M@mask`: one axis in all calls of an operation with the same stream there."""
        key = (equation.callee, axis, ref.name)
        if key not in self.selections:
            name = f"{equation.name}.{axis.partition(FOLLOWS)[0]}"
            self.selections[key] = Size(name, letter=name)
        return self.selections[key]

    def output(
        self, scope: _Scope, declaration: Declaration, equation: Equation, port: Port
    ) -> _Stream:
        """Return what a line computes at one output; an axis that no input has is a new letter."""
        input_names: set[Axis] = set()
        for input_port in declaration.inputs.values():
            input_names.update(input_port.names)
        sizes: dict[Axis, Size] = {}
        for axis in port.names:
            size = self.size(scope, declaration, equation.callee, axis)
            sizes[axis] = size
            root = size.root()
            if not root.letter and root.value is None and isinstance(axis, str):
                # Messages show the name of the stream that made the axis: `patches.N`.
                root.name = f"{equation.name}.{axis}"
                # Only a capital letter is a new axis; an unknown width takes on what it meets.
                if axis[:1].isupper() and axis not in input_names:
                    root.letter = root.name
        target = _open_target(port.kind) if port.target is None else sizes[port.target]
        return _Stream(port.kind, tuple(sizes[axis] for axis in port.axes), target)

    def size(
        self, scope: _Scope, declaration: Declaration, callee: str, axis: Axis
    ) -> Size:
        """Return the axis that a name in a declaration means in one call."""
        if isinstance(axis, int):
            return Size(str(axis), value=axis)
        if axis == "_":  # any size, a different one at each use
            return Size("_")
        if axis not in scope.sizes:
            scope.sizes[axis] = self.argument(declaration, callee, axis) or Size(axis)
        return scope.sizes[axis]

    def argument(self, declaration: Declaration, callee: str, axis: str) -> Size | None:
        """Return the size that a constructor argument of that name sets, in the spec or by default.

        An argument that is left out is open, and the same in all calls of the module.
        """
        parameter, module = (
            declaration.arguments.get(axis),
            self.spec.modules.get(callee),
        )
        if parameter is None or module is None:
            return None
        if axis not in module.arguments and parameter.required:
            return self.sizes.setdefault((callee, axis), Size(axis))
        if axis in module.arguments:
            value = module.arguments[axis]
            origin: Location | str = module.places[axis]
        else:
            value, origin = parameter.default, f"the default of '{module.use}'"
        if isinstance(value, int) and not isinstance(value, bool):
            return Size(axis, value=value, origin=origin)
        return None

    def fit_module(self, module: ModuleRef, ports: Mapping[str, object]) -> None:
        """Fit streams also to a module that an operation receives, where it has a port of that name."""
        entry = self.spec.modules[module.name]
        declaration = self.names.modules.declaration(entry.use)
        # The module names its axes itself: `width` there is its own argument.
        scope = _Scope(module.name)
        for port, argument in ports.items():
            if isinstance(argument, Ref) and port in declaration.inputs:
                self.fit(scope, declaration, module.name, port, argument)

    def fit(
        self, scope: _Scope, declaration: Declaration, callee: str, name: str, ref: Ref
    ) -> None:
        """Fit a stream to a port."""
        stream, port = self.streams.get(ref.name), declaration.inputs[name]
        if stream is None:  # in a cycle, which is reported as such
            return
        actual = f"stream '{ref.name}' is {stream.solved()}"
        if stream.kind not in port.kinds:
            message = (
                f"wrong kind: port '{name}' of {callee} takes {port}, but {actual}"
            )
            hint = converters(self.spec, self.names, stream.kind, port.kinds, ref)
            self.misfits.add(Misfit(Problem(ref.place, message, hint), port.kinds))
            return
        fitting = port.fitting(stream.kind, len(stream.sizes))
        if fitting is None:
            message = (
                f"wrong axes: port '{name}' of {callee} takes {port}, but {actual}"
            )
            self.misfits.add(Misfit(Problem(ref.place, message), port.kinds))
            return
        self.fit_axes(scope, declaration, name, fitting, ref)

    def fit_axes(
        self, scope: _Scope, declaration: Declaration, name: str, port: Port, ref: Ref
    ) -> None:
        """Fit the axes of a stream to those of the alternative of a port that takes its kind."""
        stream = self.streams[ref.name]
        axes = zip(port.axes, stream.sizes, strict=True)
        for index, (axis, size) in enumerate(axes):
            expected = self.size(scope, declaration, scope.callee, axis)
            result = unify(expected, size)
            if not result:
                if isinstance(axis, str):
                    scope.first.setdefault(axis, (name, ref))
                continue
            first = scope.first.get(str(axis), (name, ref))
            fit = AxisFit(
                self.spec,
                self.names,
                scope.callee,
                name,
                port,
                index,
                ref,
                expected,
                size,
                first,
            )
            if result == "sizes":
                origins = (expected.root().origin, size.root().origin)
                self.misfits.clash(origins, Misfit(fit.mismatch(), port.kinds))
            else:
                # A later line may set both letters to one size.
                self.misfits.meet(
                    Meeting(expected, size, port.kinds, fit.letters, fit.mismatch)
                )
        if port.target is not None:
            self.fit_target(scope, declaration, name, port, ref)

    def fit_target(
        self, scope: _Scope, declaration: Declaration, name: str, port: Port, ref: Ref
    ) -> None:
        """Fit the axis whose rows an index counts to the axis that its port expects."""
        stream = self.streams[ref.name]
        assert port.target is not None and stream.target is not None
        counted = stream.target
        expected = self.size(scope, declaration, scope.callee, port.target)
        rows = scope.first.get(str(port.target))
        use = IndexUse(scope.callee, name, ref, expected, rows)

        # Called when all sizes are known: the message shows them.
        def problem() -> Problem:
            return wrong_index(self.spec, self.solved(), use, counted)

        kinds = port.kinds
        if rows is not None and rows[0] in declaration.inputs:
            # Either may be the wrong stream: the index, or the one whose rows it picks.
            kinds += declaration.inputs[rows[0]].kinds
        result = unify(expected, counted)
        if result == "sizes":
            self.misfits.add(Misfit(problem(), kinds))
        elif result == "letters":
            self.misfits.meet(Meeting(expected, counted, kinds, problem, problem))
