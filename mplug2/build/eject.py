"""Write a spec's network out as plain PyTorch: one class over the modules, a method for each goal.

The file needs no spec and no interpreter; its weights have the same names, its outputs the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mplug2.build.compose import compose
from mplug2.build.ejected_code import (
    attribute_code,
    call_lines,
    class_name,
    free_name,
    indented,
    literal,
    module_code,
    outer_paths,
    weight_code,
)
from mplug2.freezing import END, Freezer
from registry import (
    KINDS,
    MODULES,
    OPERATIONS,
    ModuleRef,
    Plan,
    Ref,
    Spec,
    SpecError,
    Step,
    plan,
    shadowed_modules,
)
from registry.checks.ties import roots
from registry.language.ramp import UNITS, Ramp, has_ramp


def eject(spec: Spec) -> str:
    """Return the source of a Python file for a valid spec; raise `SpecError` if it is not.

    Adapters are refused: they belong to layers, of which the file knows the names alone.
    """
    if spec.adapt:
        hint = "merge them (`mplug2 merge`), and eject with the setting `adapt=`"
        raise SpecError.at(
            spec.key_place("adapt"), "a network with adapters cannot be ejected", hint
        )
    # Finds what only the modules themselves know.
    net = compose(spec, device="meta", initial=False)
    weightless = not any(p.is_floating_point() for p in net.parameters())
    assert net.freezer is not None
    return "\n".join(_Writer(net.spec, weightless, net.freezer).file()) + "\n"


class _Writer:
    def __init__(self, spec: Spec, weightless: bool, freezer: Freezer) -> None:
        self.spec, self.weightless, self.freezer = spec, weightless, freezer
        self.frozen = outer_paths(freezer.modules(END))
        self.plans = {goal: plan(spec, goal) for goal in spec.goals}
        self.shadowed = sorted(shadowed_modules(spec))
        self.ramped = False
        operations: set[str] = set()
        inputs: dict[str, None] = {}
        for steps in self.plans.values():
            inputs.update(dict.fromkeys(steps.inputs))
            for step in steps.steps:
                options = step.binding.options.values()
                self.ramped = self.ramped or any(map(has_ramp, options))
                if step.equation.callee not in spec.modules:
                    operations.add(step.equation.callee)
        # "package.module:Name" to its name in the file.
        self.imports: dict[str, str] = {}
        self.classes = {}
        for name, entry in spec.modules.items():
            self.classes[name] = self.imported(MODULES.target(entry.use))
        # Sorted, so that the same spec always gives the same file.
        self.functions = {}
        for name in sorted(operations):
            self.functions[name] = self.imported(OPERATIONS.target(name))
        # Inputs that are cast, to the class that casts them, as the file names it.
        self.halves = {}
        for name in inputs:
            kind = KINDS[spec.inputs[name].kind]
            if kind.real:
                self.halves[name] = self.imported(kind.torch_half)
        self.names: dict[tuple[str, bool], str] = {}
        # Steps whose nameless output comes with others.
        self.mappings: set[tuple[str, bool]] = set()

    def imported(self, target: str) -> str:
        if target not in self.imports:
            # Two packages may have a class of one name: the second one is imported under another.
            name = target.partition(":")[2]
            self.imports[target] = free_name(name, self.imports.values())
        return self.imports[target]

    def file(self) -> Iterator[str]:
        spec = self.spec
        title = free_name(class_name(spec.name), self.imports.values())
        yield f'"""The network of {literal(spec.path)[1:-1]}, written out by `mplug2 eject`.'
        yield ""
        yield f"    net = {title}()"
        yield "    net.load_state_dict(weights)  # a checkpoint of the spec fits: the names are the same"
        yield f'    net(batch, goal="{next(iter(spec.goals))}")'
        yield '"""'
        yield ""
        yield "from __future__ import annotations"
        yield ""
        yield "from typing import Any"
        yield ""
        if self.shadowed or self.weightless:
            yield "import torch"
        yield "from torch import nn"
        yield ""
        origins: dict[str, list[str]] = {}
        for target, name in self.imports.items():
            module, _, original = target.partition(":")
            imported = original if original == name else f"{original} as {name}"
            origins.setdefault(module, []).append(imported)
        if self.shadowed:
            origins["modules.ema"] = ["EMA"]
        if self.ramped:
            origins["registry.language.ramp"] = ["Ramp"]
        if any(root.transposed for root in roots(spec.tie).values()):
            origins["modules.tying"] = ["tie_transposed"]
        for module, names in sorted(origins.items()):
            yield f"from {module} import {', '.join(sorted(names))}"
        yield ""
        yield ""
        yield f"class {title}(nn.Module):"
        yield f'    """Goals: {", ".join(spec.goals)}."""'
        yield ""
        yield from indented(self.constructor(), 1)
        if self.frozen:
            yield from indented(self.frozen_methods(), 1)
        if self.shadowed:
            yield from indented(_MOMENTUM.splitlines(), 1)
        yield from indented(_FORWARD.splitlines(), 1)
        for goal, steps in self.plans.items():
            yield ""
            yield from indented(self.goal(goal, steps), 1)

    def constructor(self) -> Iterator[str]:
        yield "def __init__(self) -> None:"
        yield "    super().__init__()"
        for name, entry in self.spec.modules.items():
            values = MODULES.declaration(entry.use).constructor_values(entry.arguments)
            arguments = [f"{key}={literal(value)}" for key, value in values.items()]
            call = f"{module_code(name)} = {self.classes[name]}"
            yield from indented(call_lines(call, arguments), 1)
        for left, root in roots(self.spec.tie).items():
            if root.transposed:
                owner, name = attribute_code(root.name)
                module, attribute = attribute_code(left)
                yield f'    tie_transposed({module}, "{attribute}", {owner}, "{name}")'
            else:
                yield f"    {weight_code(left)} = {weight_code(root.name)}"
        yield from self.frozen_parameters()
        if self.ramped:
            units = ", ".join(f'"{unit}": ...' for unit in UNITS)
            yield f"    # Set this to {{{units}}} before each iteration; None gives the end of every ramp."
            yield "    self.position: dict[str, float] | None = None"
        if self.shadowed:
            decay = self.spec.momentum["decay"]
            yield f"    names = {literal(self.shadowed)}"
            yield "    students = {name: self._modules[name] for name in names}"
            yield "    # not a submodule: outside the optimizer and the state dict"
            yield f'    self.__dict__["ema"] = EMA(students, {decay!r})'
        if self.frozen:
            yield "    self.train()"

    def frozen_parameters(self) -> Iterator[str]:
        """Yield the lines of the constructor that freeze parameters."""
        for end in self.freezer.ends:
            later = []
            for name, until in self.freezer.named_parameters():
                if until == end:
                    later.append(name)
            yield f"    # `mplug2 train` freezes these until iteration {end}: {', '.join(outer_paths(later))}"
        if self.frozen:
            yield "    for module in self.frozen_modules():"
            yield "        module.requires_grad_(False)"
        for name, until in self.freezer.named_parameters():
            inside = any(name.startswith(f"{path}.") for path in self.frozen)
            if until == math.inf and not inside:
                yield f"    {weight_code(name)}.requires_grad_(False)"

    def frozen_methods(self) -> Iterator[str]:
        """Yield the methods that keep frozen modules in eval mode."""
        yield ""
        yield "def frozen_modules(self) -> list[nn.Module]:"
        yield '    """In eval mode, also while the network trains: no dropout, no running statistics."""'
        modules = ", ".join(map(weight_code, self.frozen))
        yield from indented(call_lines("return list", [f"({modules},)"]), 1)
        yield ""
        yield "def train(self, mode: bool = True) -> Any:"
        yield "    super().train(mode)"
        yield "    for module in self.frozen_modules():"
        yield "        module.eval()"
        yield "    return self"

    def goal(self, goal: str, steps: Plan) -> Iterator[str]:
        self.names = {}
        self.mappings = set()
        for name in steps.inputs:
            self.local(name, False)
        for step in steps.steps:
            self.local(*step.key)
            if step.declaration.nameless and step.requested:
                self.mappings.add(step.key)
        yield f"def goal_{goal}(self, batch: dict[str, Any]) -> dict[str, Any]:"
        yield f'    """{", ".join(f"{name} = {ref}" for name, ref in steps.outputs.items())}"""'
        cast = [name for name in steps.inputs if name in self.halves]
        shadows = any(step.shadow for step in steps.steps)
        if cast and self.weightless:
            yield "    dtype = torch.get_default_dtype()"
        elif cast or shadows:
            yield "    dtype = next(p.dtype for p in self.parameters() if p.is_floating_point())"
        if shadows:
            yield "    averaged = self.ema.modules"
            yield "    for module in averaged.values():"
            yield "        module.train(self.training)"
            for path in self.frozen:
                name, _, inner = path.partition(".")
                if name in self.shadowed:
                    # `frozen_modules` has the weights' own modules, not those of their averages.
                    yield f'    averaged["{name}"].get_submodule("{inner}").eval()'
        for name in steps.inputs:
            value = f'batch["{name}"]'
            if name in cast:
                value = f"{self.halves[name]}().cast({value}, dtype)"
            yield f"    {self.local(name, False)} = {value}"
        within = False
        for step in steps.steps:
            if step.shadow and not within:
                yield "    with torch.no_grad(), self.full_precision(dtype):"
            within = step.shadow
            yield from indented(self.step(steps, step), 2 if within else 1)
        outputs = []
        for name, ref in steps.outputs.items():
            outputs.append(f'"{name}": {self.value(steps, ref, False)}')
        yield f"    return {{{', '.join(outputs)}}}"

    def local(self, stream: str, shadow: bool) -> str:
        """Return the local variable of a stream."""
        key = (stream, shadow)
        if key not in self.names:
            taken = [*self.names.values(), *self.imports.values(), "module"]
            # The stream of a call of a definition has a dot in its name.
            name = stream.replace(".", "_")
            self.names[key] = free_name(f"{name}_averaged" if shadow else name, taken)
        return self.names[key]

    def value(self, steps: Plan, ref: Ref, shadow: bool) -> str:
        key = steps.key(ref, shadow)
        name = self.local(*key)
        if ref.field is None:
            return f'{name}[""]' if key in self.mappings else name
        return f'{name}["{ref.field}"]'

    def part(self, name: str, shadow: bool) -> str:
        return f'averaged["{name}"]' if shadow else module_code(name)

    def filling(self, steps: Plan, step: Step, argument: Ref | ModuleRef) -> str:
        if isinstance(argument, ModuleRef):
            return self.part(argument.name, step.shadow)
        return self.value(steps, argument, step.shadow)

    def option(self, value: Any) -> str:
        """Return the value of an option as Python; a ramp asks for the position of the run."""
        if isinstance(value, Ramp):
            arguments = (
                f"{value.start!r}, {value.end!r}, {value.unit!r}, {value.length!r}"
            )
            return f"Ramp({arguments}).at(self.position)".replace("'", '"')
        if isinstance(value, list):
            return f"[{', '.join(self.option(entry) for entry in value)}]"
        return literal(value)

    def step(self, steps: Plan, step: Step) -> list[str]:
        callee = step.equation.callee
        called = self.functions.get(callee) or self.part(callee, step.shadow)
        positional: list[str] = []
        named: list[str] = []
        before = step.before_variadic
        # Ports before a variadic one go by position, too, so they come first.
        for port in dict.fromkeys((*before, *step.binding.ports)):
            filling = step.binding.ports.get(port)
            if isinstance(filling, tuple):
                positional += [self.filling(steps, step, part) for part in filling]
            elif port in before:
                code = "None" if filling is None else self.filling(steps, step, filling)
                positional.append(code)
            elif filling is not None:
                named.append(f"{port}={self.filling(steps, step, filling)}")
        options = []
        for name, value in step.binding.options.items():
            options.append(f"{name}={self.option(value)}")
        if step.declaration.requests:
            options.append(f"requested=frozenset({literal(sorted(step.requested))})")
        call = f"{self.local(*step.key)} = {called}"
        lines = call_lines(call, [*positional, *named, *options])
        # A loss is a sum and a count: outside of a trainer its mean is over this batch.
        if step.declaration.counted:
            lines[-1] += ".mean()"
        return lines


_FORWARD = '''
def forward(self, batch: dict[str, Any], goal: str = "train") -> dict[str, Any]:
    """The outputs of one of the goals."""
    return getattr(self, f"goal_{goal}")(batch)
'''

_MOMENTUM = '''
def update_ema(self) -> None:
    """Once per optimiser step, before its first forward."""
    self.ema.update()

def _apply(self, fn: Any, recurse: bool = True) -> Any:
    super()._apply(fn, recurse)
    self.ema.to(next(self.parameters()).device)
    return self

def full_precision(self, dtype: torch.dtype) -> torch.autocast:
    """The averages stay in float32 and run in the precision of the weights."""
    half = dtype in (torch.bfloat16, torch.float16)
    device = next(self.parameters()).device.type
    return torch.autocast(device, dtype=dtype if half else torch.bfloat16, enabled=half)
'''
