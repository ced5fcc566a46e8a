"""Check stage 3, second half: kinds and sizes of all streams, solved over the flow in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from registry.checks.advice import converters, join_hint, projection
from registry.checks.indices import IndexUse, unknown_targets, wrong_index
from registry.checks.inference import LOGITS, count_classes
from registry.checks.sizes import Size, unify
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
class _Meeting:
    """Two letters without a size at one axis of a port: they may still turn out to have one, or two."""

    wanted: Size
    size: Size
    kinds: tuple[str, ...]  # that the port takes
    letters: Callable[[], Problem]
    mismatch: Callable[[], Problem]


@dataclass(frozen=True)
class Misfit:
    """A stream that does not fit its port, and the kinds that the port takes."""

    problem: Problem
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Solution:
    """What stage 3 finds out: what does not fit, the type of every stream (fields as `both.vision`), and
    the sizes of arguments that the spec leaves out, by module and argument; `waiting` are the arguments
    among them that data could settle."""

    misfits: list[Misfit]
    types: dict[str, StreamType]
    sizes: dict[tuple[str, str], Size]
    waiting: frozenset[tuple[str, str]]


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
        self.misfits: list[Misfit] = []
        self.streams: dict[str, _Stream] = {}
        self.later: list[_Meeting] = []
        self.clashes: dict[frozenset[Location | str], Misfit] = {}
        self.letters_of_inputs: dict[str, Size] = {}
        self.selections: dict[
            tuple[str, str, str], Size
        ] = {}  # by operation, axis and stream
        self.waiting: frozenset[tuple[str, str]] = frozenset()
        self.sizes: dict[
            tuple[str, str], Size
        ] = {}  # of arguments that the spec leaves out
        unknown = unknown_targets(spec)
        for name, declared in spec.inputs.items():
            sizes = tuple(self.input_axis(name, axis) for axis in declared.axes)
            target = _open_target(declared.kind)
            if name in unknown:
                self.misfits.append(
                    Misfit(unknown[name], ())
                )  # open: the mistake is reported once
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
        logits = {
            name: stream for name, stream in self.streams.items() if stream.kind == LOGITS
        }
        last_axes = {
            name: stream.sizes[-1] for name, stream in logits.items() if stream.sizes
        }
        self.waiting = count_classes(self.spec, self.names, self.sizes, last_axes)
        apart = [Misfit(meeting.letters(), meeting.kinds) for meeting in self.settled()]
        return [*self.misfits, *self.clashes.values(), *apart]

    def settled(self) -> list[_Meeting]:
        """Hand sizes that later lines set on to the letters that met before; return what is left apart."""
        left = self.later
        while True:
            before, left = left, []
            for meeting in before:
                clash = unify(meeting.wanted, meeting.size)
                if clash == "letters":
                    left.append(meeting)
                elif clash == "sizes":
                    settings = (meeting.wanted.root().origin, meeting.size.root().origin)
                    self.clash(settings, Misfit(meeting.mismatch(), meeting.kinds))
            if len(left) == len(before):
                return left

    def clash(self, settings: Iterable[Location | str], misfit: Misfit) -> None:
        """Keep one problem, the first of the file, for two settings that clash in any number of calls."""
        key = frozenset(settings)
        if "" in key:  # a size that no setting made
            self.misfits.append(misfit)
        elif (
            key not in self.clashes
            or misfit.problem.place.line < self.clashes[key].problem.place.line
        ):
            self.clashes[key] = misfit

    def equation(self, equation: Equation) -> None:
        """Fit what a line reads to its ports, and add what it computes."""
        declaration = declaration_of(self.spec, equation, self.names)
        binding, _ = bind(equation, declaration)
        scope = _Scope(equation.callee)
        # indices last: then the other ports have settled the rows
        arguments = sorted(
            binding.arguments(),
            key=lambda pair: declaration.inputs[pair[0]].target is not None,
        )
        for filled, argument in arguments:
            if isinstance(argument, Ref):
                self.fit(scope, declaration, equation.callee, filled, argument)
            else:
                self.handed(argument, binding.ports)
        for axis, port_name in followed_axes(declaration.outputs).items():
            filling = binding.ports.get(port_name)
            if isinstance(filling, Ref):
                scope.sizes[axis] = self.followed(equation, axis, filling)
        absent = absent_outputs(self.spec, equation, declaration)
        for name, port in declaration.outputs.items():
            if name in absent:
                continue
            stream = f"{equation.name}.{name}" if name else equation.name
            self.streams[stream] = self.output(scope, declaration, equation, port)

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
        input_names = {
            axis for filled in declaration.inputs.values() for axis in filled.names
        }
        sizes: dict[Axis, Size] = {}
        for axis in port.names:
            size = self.size(scope, declaration, equation.callee, axis)
            sizes[axis] = size
            root = size.root()
            if not root.letter and root.value is None and isinstance(axis, str):
                root.name = f"{equation.name}.{axis}"
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
        if axis == "_":
            return Size("_")
        if axis not in scope.sizes:
            scope.sizes[axis] = self.argument(declaration, callee, axis) or Size(axis)
        return scope.sizes[axis]

    def argument(self, declaration: Declaration, callee: str, axis: str) -> Size | None:
        """Return the size that a constructor argument of that name sets, in the spec or by default.

        One that is left out is open, and the same in all calls of the module.
        """
        parameter, module = declaration.arguments.get(axis), self.spec.modules.get(callee)
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

    def handed(self, module: ModuleRef, ports: Mapping[str, object]) -> None:
        """Fit streams also to a module that an operation is handed, where it has a port of that name."""
        entry = self.spec.modules[module.name]
        declaration = self.names.modules.declaration(entry.use)
        scope = _Scope(module.name)
        for port, argument in ports.items():
            if isinstance(argument, Ref) and port in declaration.inputs:
                self.fit(scope, declaration, module.name, port, argument)

    def fit(
        self, scope: _Scope, declaration: Declaration, callee: str, name: str, ref: Ref
    ) -> None:
        """Fit one stream to one port."""
        stream, port = self.streams.get(ref.name), declaration.inputs[name]
        if stream is None:  # in a cycle
            return
        wants = f"port '{name}' of {callee}"
        if stream.kind not in port.kinds:
            message = f"wrong kind: {wants} takes {port}, but stream '{ref.name}' is {stream.solved()}"
            hint = converters(self.spec, self.names, stream.kind, port.kinds, ref)
            self.misfits.append(Misfit(Problem(ref.place, message, hint), port.kinds))
            return
        fitting = port.fitting(stream.kind, len(stream.sizes))
        if fitting is None:
            message = f"wrong axes: {wants} takes {port}, but stream '{ref.name}' is {stream.solved()}"
            self.misfits.append(Misfit(Problem(ref.place, message), port.kinds))
            return
        self.fit_axes(scope, declaration, name, fitting, ref)

    def fit_axes(
        self, scope: _Scope, declaration: Declaration, name: str, port: Port, ref: Ref
    ) -> None:
        """Fit the axes of a stream to those of the one type of a port that takes its kind."""
        stream = self.streams[ref.name]
        for at, (axis, size) in enumerate(zip(port.axes, stream.sizes, strict=True)):
            wanted = self.size(scope, declaration, scope.callee, axis)
            clash = unify(wanted, size)
            mismatch = partial(self.mismatch, scope, port, name, at, ref, wanted, size)
            if clash == "sizes":
                self.clash(
                    (wanted.root().origin, size.root().origin),
                    Misfit(mismatch(), port.kinds),
                )
            elif clash == "letters":
                tell = self.letters(scope, port, name, at, ref, wanted, size)
                self.later.append(_Meeting(wanted, size, port.kinds, tell, mismatch))
            elif isinstance(axis, str):
                scope.first.setdefault(axis, (name, ref))
        if port.target is not None:
            self.point(scope, declaration, name, port, ref)

    def point(
        self, scope: _Scope, declaration: Declaration, name: str, port: Port, ref: Ref
    ) -> None:
        """Fit the axis that an index counts to the rows that its port wants counted."""
        stream = self.streams[ref.name]
        assert port.target is not None and stream.target is not None
        wanted, counted = (
            self.size(scope, declaration, scope.callee, port.target),
            stream.target,
        )
        use = IndexUse(scope.callee, name, ref, wanted, scope.first.get(str(port.target)))

        def problem() -> Problem:
            return wrong_index(self.spec, self.solved(), use, counted)

        kinds = port.kinds
        if use.rows is not None and use.rows[0] in declaration.inputs:
            kinds += declaration.inputs[
                use.rows[0]
            ].kinds  # either of the two may be the wrong one
        clash = unify(wanted, counted)
        if clash == "sizes":
            self.misfits.append(Misfit(problem(), kinds))
        elif clash == "letters":
            self.later.append(_Meeting(wanted, counted, kinds, problem, problem))

    def mismatch(
        self,
        scope: _Scope,
        port: Port,
        name: str,
        at: int,
        ref: Ref,
        wanted: Size,
        size: Size,
    ) -> Problem:
        """Return the problem of two different sizes."""
        axis = port.axes[at]
        called = axis if isinstance(axis, str) else "size"
        must = f"port '{name}' of {scope.callee} must be {called} {wanted.axis}{wanted.set_at(ref.place)}"
        where = f" on axis {at + 1}" if isinstance(axis, int) else ""
        message = f"{called} mismatch: {must}{where}, but stream '{ref.name}' has {size.axis} there"
        hint = ""
        if at == len(port.axes) - 1:
            hint = projection(
                self.names, scope.callee, name, ref, port.kinds, size.axis, wanted.axis
            )
        return Problem(ref.place, message + size.set_at(ref.place), hint)

    def letters(
        self,
        scope: _Scope,
        port: Port,
        name: str,
        at: int,
        ref: Ref,
        wanted: Size,
        size: Size,
    ) -> Callable[[], Problem]:
        """Return the problem of two axes that are not the same one, reported when all sizes are known."""
        axis = port.axes[at]
        other, first = scope.first.get(str(axis), (name, ref))

        def problem() -> Problem:
            shares = f"port '{name}' of {scope.callee} must have axis {wanted.axis}"
            shares += (
                f", as port '{other}' has (stream '{first.name}')"
                if other != name or first != ref
                else ""
            )
            message = (
                f"axis mismatch: {shares}, but stream '{ref.name}' has {size.axis} there"
            )
            hint = join_hint(
                self.spec,
                self.names,
                scope.callee,
                (name, ref, size),
                (other, first, wanted),
            )
            return Problem(ref.place, message, hint if at == 0 else "")

        return problem
