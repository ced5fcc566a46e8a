"""Which equations a goal needs, in order, and which of them run a second time for `ema(...)`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from registry.checks.ties import roots
from registry.errors import SpecError, UserError, require
from registry.language.binding import Binding, bind
from registry.language.declaration import REQUIRED, Declaration
from registry.language.equation import Equation, Ref
from registry.language.parts import with_parts
from registry.language.spec import Spec
from registry.registries import REGISTRIES, Registries


@dataclass(frozen=True)
class Step:
    """One run of an equation; a shadow step runs with averaged weights, without gradient.

    `binding` leaves out the ports that an `off` rule switches off. The result is kept under `key`.
    """

    equation: Equation
    binding: Binding
    declaration: Declaration
    shadow: bool = False
    # The named outputs that other steps, or the goal, read.
    requested: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The stream that the step computes."""
        return self.equation.name

    @property
    def key(self) -> tuple[str, bool]:
        """The stream and whether this is its shadow."""
        return self.equation.name, self.shadow

    @property
    def before_variadic(self) -> tuple[str, ...]:
        """The ports to be filled by position, since one that takes many streams is, and comes after them."""
        names = list(self.declaration.inputs)
        for name in self.binding.ports:
            if self.declaration.inputs[name].variadic:
                return tuple(names[: names.index(name)])
        return ()


@dataclass(frozen=True)
class Plan:
    """The steps of a goal in order, the inputs and given streams they start from, what the goal returns."""

    goal: str
    steps: list[Step]
    inputs: tuple[str, ...]
    given: tuple[str, ...]
    outputs: dict[str, Ref]
    shadowed: frozenset[str] = field(default_factory=frozenset)

    def key(self, ref: Ref, shadow: bool = False) -> tuple[str, bool]:
        """Return the key of the value that `ref` reads in a step that is a `shadow`, or is not."""
        # Within an average all is averaged; what no weights reach has one value for both.
        return ref.stream, (shadow or ref.ema) and ref.stream in self.shadowed

    def require(self, batch: Collection[str]) -> None:
        """Raise `UserError` with the names of the inputs that a batch lacks for this goal."""
        missing = [name for name in (*self.inputs, *self.given) if name not in batch]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            have = ", ".join(sorted(batch)) or "nothing"
            raise UserError(
                f"goal '{self.goal}' needs {names} in the batch, but it holds {have}"
            )


def steps_without_modules(plan: Plan, spec: Spec) -> frozenset[tuple[str, bool]]:
    """Return the keys of the steps that depend on inputs and operations alone, on no module's weights."""
    require(plan, Plan, "plan")
    require(spec, Spec, "spec")
    with_modules: set[tuple[str, bool]] = set()
    for step in plan.steps:
        depends = step.equation.callee in spec.modules
        for _, argument in step.binding.arguments():
            if isinstance(argument, Ref):
                depends = depends or plan.key(argument, step.shadow) in with_modules
            else:  # a module that an operation receives
                depends = True
        if depends:
            with_modules.add(step.key)
    return frozenset(step.key for step in plan.steps) - with_modules


def ancestors(plan: Plan, refs: Iterable[Ref]) -> frozenset[tuple[str, bool]]:
    """Return the keys of the steps that the values of some streams need."""
    require(plan, Plan, "plan")
    require(refs, Iterable, "refs")
    needed = {plan.key(ref) for ref in refs}
    # From the end: a step comes after all that it reads.
    for step in reversed(plan.steps):
        if step.key in needed:
            for _, filling in step.binding.arguments():
                if isinstance(filling, Ref):
                    needed.add(plan.key(filling, step.shadow))
    return frozenset(needed)


def declaration_of(
    spec: Spec, equation: Equation, names: Registries = REGISTRIES
) -> Declaration:
    """Return the declaration of what a line calls, a module or an operation, for this call.

    Ports that the call names are written out. Raises `UserError`.
    """
    require(spec, Spec, "spec")
    require(equation, Equation, "equation")
    module = spec.modules.get(equation.callee)
    if module is None:
        declaration = names.operations.declaration(equation.callee)
    else:
        declaration = names.modules.declaration(module.use)
    return with_parts(declaration, equation)


def active(spec: Spec, equation: Equation, declaration: Declaration) -> Binding:
    """Return an equation's binding without the ports that are switched off; raise `SpecError`."""
    binding, problems = bind(equation, declaration)
    if problems:
        raise SpecError(problems)
    return binding.without(switched_off(spec, equation, declaration, binding))


def switched_off(
    spec: Spec, equation: Equation, declaration: Declaration, binding: Binding
) -> frozenset[str]:
    """Return the ports whose option is false: in the line, else in the module's entry, else by default."""
    module = spec.modules.get(equation.callee)
    values = dict(module.arguments) if module is not None else {}
    values.update(binding.options)
    off: set[str] = set()
    for port, option in declaration.off.items():
        parameter = declaration.options.get(option) or declaration.arguments.get(option)
        default = None
        if parameter is not None and parameter.default is not REQUIRED:
            default = parameter.default
        if not values.get(option, default):
            off.add(port)
    return frozenset(off)


def plan(
    spec: Spec, goal: str, given: Collection[str] = (), names: Registries = REGISTRIES
) -> Plan:
    """Return the plan of a goal that starts from the inputs and from the `given` streams; raise `UserError`.

    A given stream is not computed, and neither is what only it needed; its shadow is the given value itself.
    """
    require(spec, Spec, "spec")
    require(goal, str, "goal")
    if goal not in spec.goals:
        listed = ", ".join(spec.goals) or "none"
        raise UserError(f"{spec.path}: there is no goal '{goal}'; goals: {listed}")
    return _Planner(spec, frozenset(given), names).plan(goal, spec.goals[goal])


def plan_streams(
    spec: Spec,
    streams: Iterable[str],
    given: Collection[str] = (),
    names: Registries = REGISTRIES,
) -> Plan:
    """Return the plan that computes some streams, by their names, like the outputs of a goal.

    The name of a call, or of a part that it returns, means the stream behind it.
    """
    require(spec, Spec, "spec")
    require(streams, Iterable, "streams")
    streams = list(streams)
    for name in streams:
        require(name, str, "a stream")
    outputs = {name: spec.stream(name) for name in streams}
    return _Planner(spec, frozenset(given), names).plan(", ".join(outputs), outputs)


def shadowed_modules(spec: Spec, names: Registries = REGISTRIES) -> frozenset[str]:
    """Return the modules that need averaged weights for one goal or another."""
    require(spec, Spec, "spec")
    shadowed: set[str] = set()
    for goal in spec.goals:
        for step in plan(spec, goal, (), names).steps:
            if step.shadow:
                shadowed.update(module.name for module in step.equation.modules())
                shadowed.update({step.equation.callee} & set(spec.modules))
    # A transposed weight is computed from its owner: so is the average of it.
    for left, root in roots(spec.tie).items():
        if root.transposed and left.split(".")[0] in shadowed:
            shadowed.add(root.name.split(".")[0])
    return frozenset(shadowed)


def absent_outputs(
    spec: Spec, equation: Equation, declaration: Declaration
) -> frozenset[str]:
    """Return the outputs that a line does not have, since the option that their `off` rule names is false."""
    binding, _ = bind(equation, declaration)
    # An `off` rule may name a port or an output.
    off = switched_off(spec, equation, declaration, binding)
    return off & frozenset(declaration.outputs)


def _with_requests(plan: Plan, spec: Spec) -> Plan:
    """Return a plan whose steps know which of their named outputs are read."""
    reads: dict[tuple[str, bool], set[str | None]] = {}
    for step in plan.steps:
        reads[step.key] = set()
    for step in plan.steps:
        for _, filling in step.binding.arguments():
            if isinstance(filling, Ref):
                reads.setdefault(plan.key(filling, step.shadow), set()).add(
                    filling.field
                )
    for ref in plan.outputs.values():
        reads.setdefault(plan.key(ref), set()).add(ref.field)
    steps = []
    for step in plan.steps:
        named = frozenset(field for field in reads[step.key] if field)
        # A stream without a field means all outputs: `net(batch, names)` may ask for such.
        if None in reads[step.key] and not step.declaration.nameless:
            absent = absent_outputs(spec, step.equation, step.declaration)
            named = frozenset(step.declaration.outputs) - absent
        steps.append(replace(step, requested=named))
    return replace(plan, steps=steps)


class _Planner:
    """Walks from a goal's outputs back to what is given, without recursion: flows may be long."""

    def __init__(self, spec: Spec, given: frozenset[str], names: Registries) -> None:
        self.spec, self.given, self.names = spec, given, names
        self.bindings: dict[str, tuple[Binding, Declaration]] = {}
        self.steps: dict[tuple[str, bool], Step] = {}
        self.started: dict[str, None] = {}
        self.weighted = self.weighted_streams()

    def plan(self, goal: str, outputs: dict[str, Ref]) -> Plan:
        for ref in outputs.values():
            self.walk(ref.stream, False)
        # In the order of the spec, not in that of the walk.
        inputs = []
        for name in self.spec.inputs:
            if name in self.started and name not in self.given:
                inputs.append(name)
        given = tuple(name for name in self.started if name in self.given)
        shadowed = frozenset(name for name, shadow in self.steps if shadow)
        steps = list(self.steps.values())
        plan = Plan(goal, steps, tuple(inputs), given, dict(outputs), shadowed)
        return _with_requests(plan, self.spec)

    def bound(self, name: str) -> tuple[Binding, Declaration]:
        if name not in self.bindings:
            equation = self.spec.flow[name]
            declaration = declaration_of(self.spec, equation, self.names)
            # A stream and its shadow share it.
            self.bindings[name] = active(self.spec, equation, declaration), declaration
        return self.bindings[name]

    def before(self, name: str) -> list[Ref]:
        """Return the streams that an equation reads."""
        binding, _ = self.bound(name)
        streams = [argument for _, argument in binding.arguments()]
        return [stream for stream in streams if isinstance(stream, Ref)]

    def walk(self, name: str, shadow: bool) -> None:
        """Add the steps that compute a stream, or its shadow, after those that they need."""
        stack = [(name, shadow and name in self.weighted, False)]
        open_: set[tuple[str, bool]] = set()
        while stack:
            name, shadow, ready = stack.pop()
            if (name, shadow) in self.steps:
                continue
            if name in self.given or name in self.spec.inputs:
                self.started[name] = None
                continue
            if name not in self.spec.flow:
                message = f"there is no stream '{name}'"
                raise SpecError.at(self.spec.place("flow"), message)
            equation = self.spec.flow[name]
            if ready:
                binding, declaration = self.bound(name)
                self.steps[name, shadow] = Step(equation, binding, declaration, shadow)
                continue
            if (name, shadow) in open_:
                message = f"stream '{name}' depends on itself"
                raise SpecError.at(equation.place, message)
            open_.add((name, shadow))
            # It comes back from the stack as ready when all that it reads has a step.
            stack.append((name, shadow, True))
            for ref in reversed(self.before(name)):
                # A stream that no weights reach is the same for a network and its average.
                reads_shadow = (shadow or ref.ema) and ref.stream in self.weighted
                stack.append((ref.stream, reads_shadow, False))

    def has_weights(self, callee: str) -> bool:
        """Return whether a line calls a module, and not one that declares to hold no weights.

        What such a module draws, as words to mask, must be the same for a network and its average.
        """
        module = self.spec.modules.get(callee)
        # An operation has no weights; an unregistered module, which the checks report, may have some.
        if module is None or module.use not in self.names.modules:
            return module is not None
        return not self.names.modules.declaration(module.use).weightless

    def weighted_streams(self) -> set[str]:
        """Return the streams that modules with weights compute, their own or those of what they read."""
        readers: dict[str, list[str]] = {}
        weighted_names: list[str] = []
        for name, line in self.spec.flow.items():
            # A given stream is a value: its average is the value itself.
            if name in self.given:
                continue
            for ref in line.refs():
                readers.setdefault(ref.stream, []).append(name)
            takes_module = next(line.modules(), None) is not None
            if takes_module or self.has_weights(line.callee):
                weighted_names.append(name)
        # From each such stream to all that read it, however far.
        weighted = set(weighted_names)
        while weighted_names:
            for reader in readers.get(weighted_names.pop(), ()):
                if reader not in weighted:
                    weighted.add(reader)
                    weighted_names.append(reader)
        return weighted
