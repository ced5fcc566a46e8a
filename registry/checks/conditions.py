"""Check stage 2, numbers that depend on each other: the conditions that modules and operations declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from registry.errors import Location, Problem, UserError
from registry.language.binding import Binding, bind
from registry.language.conditions import Condition
from registry.language.declaration import Declaration, Parameter
from registry.language.equation import Equation, ModuleRef
from registry.language.ramp import ramp_samples
from registry.language.spec import ModuleEntry, Spec
from registry.planner import declaration_of
from registry.registries import Registries


def check_conditions(spec: Spec, names: Registries) -> list[Problem]:
    """Return each condition that the arguments of a module or the options of a call do not satisfy.

    The names of the spec must have been checked before.
    """
    problems: list[Problem] = []
    for module in spec.modules.values():
        problems += _module_problems(module, names)
    for equation in spec.flow.values():
        problems += _call_problems(spec, equation, names)
    return problems


def argument_value(spec: Spec, names: Registries, module: str, argument: str) -> Any:
    """Return the value of an argument of a module, set or by default; None if it has no such argument."""
    entry = spec.modules[module]
    if argument in entry.arguments:
        return entry.arguments[argument]
    parameter = names.modules.declaration(entry.use).arguments.get(argument)
    return None if parameter is None or parameter.required else parameter.default


def _module_problems(module: ModuleEntry, names: Registries) -> list[Problem]:
    try:
        declaration = names.modules.declaration(module.use)
    except UserError:  # Reported where the module is named.
        return []
    # A required argument that is absent has no number, so that no condition with it fails.
    values = _defaults(declaration.arguments) | module.arguments
    problems = []
    for condition in _broken(declaration.conditions, values):
        must = condition.in_words()
        message = f"module '{module.name}': {must} ({_got(condition, values)})"
        place = _place(condition, module.places, module.place)
        problems.append(Problem(place, message))
    return problems


def _call_problems(spec: Spec, equation: Equation, names: Registries) -> list[Problem]:
    try:
        declaration = declaration_of(spec, equation, names)
    except UserError:  # Reported where it is called.
        return []
    if equation.callee in spec.modules or not declaration.conditions:
        return []  # The conditions of a module are about its arguments.
    binding, misfits = bind(equation, declaration)
    # Reported with the line; values of wrong types cannot be compared.
    if misfits:
        return []
    values = _call_values(spec, declaration, binding, names)
    for name, value in binding.options.items():
        # A ramp must meet the conditions at both of its ends.
        for sample in ramp_samples(value):
            if _broken(declaration.conditions, values | {name: sample}):
                values[name] = sample
    places = {name: equation.keywords[name].place for name in binding.options}
    problems = []
    for condition in _broken(declaration.conditions, values):
        message = (
            f"{equation.callee}: {condition.in_words()} ({_got(condition, values)})"
        )
        hint = _hint(spec, condition, binding, values)
        problems.append(
            Problem(_place(condition, places, equation.place), message, hint)
        )
    return problems


def _call_values(
    spec: Spec, declaration: Declaration, binding: Binding, names: Registries
) -> dict[str, Any]:
    """Return the options of a call, and as `port.argument` the arguments of modules handed over."""
    values = _defaults(declaration.options) | binding.options
    for condition in declaration.conditions:
        for name in condition.names:
            port, _, argument = name.partition(".")
            module = binding.ports.get(port)
            if argument and isinstance(module, ModuleRef):
                values[name] = argument_value(spec, names, module.name, argument)
    return values


def _defaults(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    defaults = {}
    for name, parameter in parameters.items():
        if not parameter.required:
            defaults[name] = parameter.default
    return defaults


def _broken(
    conditions: Iterable[Condition], values: Mapping[str, Any]
) -> list[Condition]:
    """Return the conditions that do not hold; of those about one name only the first."""
    broken: list[Condition] = []
    reported: set[str] = set()
    for condition in conditions:
        # A value out of its range breaks most of its conditions: the first one is enough.
        if not condition.holds(values) and not reported & set(condition.names):
            broken.append(condition)
            reported.update(condition.names)
    return broken


def _got(condition: Condition, values: Mapping[str, Any]) -> str:
    listed = [f"{name} {values[name]}" for name in condition.names]
    return f"got {', '.join(listed)}"


def _place(
    condition: Condition, places: Mapping[str, Location], otherwise: Location
) -> Location:
    """Return where the first name of a condition is set; one that is set nowhere has its default."""
    for name in condition.names:
        if name in places:
            return places[name]
    return otherwise


def _hint(
    spec: Spec, condition: Condition, binding: Binding, values: Mapping[str, Any]
) -> str:
    """Return where an argument of a module that the call hands over is set, if the condition has one."""
    for name in condition.names:
        port, _, argument = name.partition(".")
        module = binding.ports.get(port)
        if argument and isinstance(module, ModuleRef):
            place = spec.place("modules", module.name, argument)
            return f"{argument} of '{module.name}' is {values[name]} (set at {place})"
    return ""
