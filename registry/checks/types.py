"""Check stage 3, second half: kinds and sizes of all streams, solved over the flow in both directions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from registry.checks.advice import converters, join_hint, projection
from registry.checks.sizes import Size, unify
from registry.errors import Place, Problem
from registry.language.binding import bind
from registry.language.declaration import Declaration
from registry.language.equation import Equation, ModuleRef, Ref
from registry.language.ports import Axis, Port, StreamType
from registry.language.spec import Spec
from registry.planner import declaration_of
from registry.registries import Catalogue


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

    def solved(self) -> StreamType:
        return StreamType(self.kind, tuple(size.axis for size in self.sizes))


@dataclass(frozen=True)
class _Meeting:
    """Two letters without a size at one axis of a port: they may still turn out to have one, or two."""

    wanted: Size
    size: Size
    port: Port
    letters: Callable[[], Problem]
    mismatch: Callable[[], Problem]


@dataclass(frozen=True)
class Misfit:
    """A stream that does not fit its port, and the kinds that the port takes."""

    problem: Problem
    kinds: tuple[str, ...]


def check_axes(
    spec: Spec, names: Catalogue, order: Iterable[str]
) -> tuple[list[Misfit], dict[str, StreamType]]:
    """Return what does not fit, and the solved type of every stream, fields as `both.vision`."""
    solver = _Solver(spec, names)
    for name in order:
        solver.equation(spec.flow[name])
    return solver.finish(), {name: stream.solved() for name, stream in solver.streams.items()}


class _Solver:
    def __init__(self, spec: Spec, names: Catalogue) -> None:
        self.spec, self.names = spec, names
        self.misfits: list[Misfit] = []
        self.streams: dict[str, _Stream] = {}
        self.later: list[_Meeting] = []
        self.clashes: dict[frozenset[Place | str], Misfit] = {}
        letters: dict[str, Size] = {}
        for name, declared in spec.inputs.items():
            place = spec.place("inputs", name)
            sizes = [
                Size(str(axis), value=axis, origin=place)
                if isinstance(axis, int)
                else letters.setdefault(axis, Size(axis, letter=axis))
                for axis in declared.axes
            ]
            self.streams[name] = _Stream(declared.kind, tuple(sizes))

    def finish(self) -> list[Misfit]:
        apart = [Misfit(one.letters(), one.port.kinds) for one in self.settled()]
        return [*self.misfits, *self.clashes.values(), *apart]

    def settled(self) -> list[_Meeting]:
        """Hand sizes that later lines set on to the letters that met before; return what is left apart."""
        left = self.later
        while True:
            before, left = left, []
            for one in before:
                clash = unify(one.wanted, one.size)
                if clash == "letters":
                    left.append(one)
                elif clash == "sizes":
                    settings = (one.wanted.root().origin, one.size.root().origin)
                    self.clash(settings, Misfit(one.mismatch(), one.port.kinds))
            if len(left) == len(before):
                return left

    def clash(self, settings: Iterable[Place | str], misfit: Misfit) -> None:
        """Keep one problem, the first of the file, for two settings that clash in any number of calls."""
        key = frozenset(settings)
        if "" in key:  # a size that no setting made
            self.misfits.append(misfit)
        elif key not in self.clashes or misfit.problem.place.line < self.clashes[key].problem.place.line:
            self.clashes[key] = misfit

    def equation(self, equation: Equation) -> None:
        """Fit what a line reads to its ports, and add what it computes."""
        declaration = declaration_of(self.spec, equation, self.names)
        binding, _ = bind(equation, declaration)
        scope = _Scope(equation.callee)
        for filled, argument in binding.arguments():
            if isinstance(argument, Ref):
                self.fit(scope, declaration, equation.callee, filled, argument)
            else:
                self.handed(argument, binding.ports)
        letters = {axis for port in declaration.inputs.values() for axis in port.axes}
        for name, port in declaration.outputs.items():
            stream = f"{equation.name}.{name}" if name else equation.name
            sizes = []
            for axis in port.axes:
                size = self.size(scope, declaration, equation.callee, axis)
                if not size.root().letter and size.root().value is None and isinstance(axis, str):
                    shown = f"{equation.name}.{axis}"
                    size.root().name = shown
                    if axis[:1].isupper() and axis not in letters:
                        size.root().letter = shown
                sizes.append(size)
            self.streams[stream] = _Stream(port.kind, tuple(sizes))

    def size(self, scope: _Scope, declaration: Declaration, callee: str, axis: Axis) -> Size:
        """Return the axis that a name in a declaration stands for, in one call."""
        if isinstance(axis, int):
            return Size(str(axis), value=axis)
        if axis == "_":
            return Size("_")
        if axis not in scope.sizes:
            scope.sizes[axis] = self.argument(declaration, callee, axis) or Size(axis)
        return scope.sizes[axis]

    def argument(self, declaration: Declaration, callee: str, axis: str) -> Size | None:
        """Return the size that a constructor argument of that name sets, in the spec or by default."""
        parameter, module = declaration.arguments.get(axis), self.spec.modules.get(callee)
        if parameter is None or module is None:
            return None
        if axis in module.arguments:
            value = module.arguments[axis]
            origin: Place | str = module.places[axis]
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

    def fit(self, scope: _Scope, declaration: Declaration, callee: str, name: str, ref: Ref) -> None:
        """Fit one stream to one port."""
        stream, port = self.streams.get(ref.name), declaration.inputs[name]
        if stream is None:  # in a circle
            return
        wants = f"port '{name}' of {callee}"
        if stream.kind not in port.kinds:
            message = f"wrong kind: {wants} takes {port}, but stream '{ref.name}' is {stream.solved()}"
            hint = converters(self.spec, self.names, stream.kind, port.kinds, ref)
            self.misfits.append(Misfit(Problem(ref.place, message, hint), port.kinds))
            return
        if len(stream.sizes) != len(port.axes):
            message = f"wrong axes: {wants} takes {port}, but stream '{ref.name}' is {stream.solved()}"
            self.misfits.append(Misfit(Problem(ref.place, message), port.kinds))
            return
        for at, (axis, size) in enumerate(zip(port.axes, stream.sizes, strict=True)):
            wanted = self.size(scope, declaration, callee, axis)
            clash = unify(wanted, size)
            mismatch = partial(self.mismatch, scope, port, name, at, ref, wanted, size)
            if clash == "sizes":
                self.clash((wanted.root().origin, size.root().origin), Misfit(mismatch(), port.kinds))
            elif clash == "letters":
                tell = self.letters(scope, port, name, at, ref, wanted, size)
                self.later.append(_Meeting(wanted, size, port, tell, mismatch))
            elif isinstance(axis, str):
                scope.first.setdefault(axis, (name, ref))

    def mismatch(
        self, scope: _Scope, port: Port, name: str, at: int, ref: Ref, wanted: Size, size: Size
    ) -> Problem:
        """Return the problem of two different sizes."""
        axis = port.axes[at]
        called = axis if isinstance(axis, str) else "size"
        must = f"port '{name}' of {scope.callee} must be {called} {wanted.axis}{wanted.set_at(ref.place)}"
        where = f" on axis {at + 1}" if isinstance(axis, int) else ""
        message = f"{called} mismatch: {must}{where}, but stream '{ref.name}' has {size.axis} there"
        hint = ""
        if at == len(port.axes) - 1:
            hint = projection(self.names, scope.callee, name, ref, port.kinds, size.axis, wanted.axis)
        return Problem(ref.place, message + size.set_at(ref.place), hint)

    def letters(
        self, scope: _Scope, port: Port, name: str, at: int, ref: Ref, wanted: Size, size: Size
    ) -> Callable[[], Problem]:
        """Return the problem of two axes that are not the same one, told when all sizes are known."""
        axis = port.axes[at]
        other, first = scope.first.get(str(axis), (name, ref))

        def problem() -> Problem:
            shares = f"port '{name}' of {scope.callee} must have axis {wanted.axis}"
            shares += (
                f", as port '{other}' has (stream '{first.name}')" if other != name or first != ref else ""
            )
            message = f"axis mismatch: {shares}, but stream '{ref.name}' has {size.axis} there"
            hint = join_hint(self.spec, self.names, scope.callee, (name, ref, size), (other, first, wanted))
            return Problem(ref.place, message, hint if at == 0 else "")

        return problem
