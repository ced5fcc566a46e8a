"""A large network made narrow: the same modules, layers, names of weights and lines, with fewer channels.

What stage 5 of the checks asks (does every line run, is the loss finite, does every weight get a gradient)
does not depend on how wide tokens and vectors are; how long it takes does, with the square.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mplug2.build.compose import compose
from registry import KINDS, MODULES, Port, Spec, SpecError, StreamType

DIVISORS = (16, 8, 4, 2)
NARROWEST = 16  # channels


def narrowed(spec: Spec) -> tuple[Spec, int]:
    """Return ``spec`` with all widths divided by one number, and that number.

    It is the largest of `DIVISORS` by which every width and its heads allow it, and the modules can be built;
    1, with the spec unchanged, if there is none. The locations of values are unchanged.
    """
    widths = {name: _widths(spec, name) for name in spec.modules}
    for divisor in DIVISORS:
        if not _all_divide(divisor, spec, widths):
            continue
        narrow = _divided(divisor, spec, widths)
        try:
            compose(narrow, device="meta", initial=False)
        except SpecError:
            # The sizes of a module depend on each other in another way: only the module can know.
            continue
        return narrow, divisor
    return spec, 1


def _all_divide(divisor: int, spec: Spec, widths: Mapping[str, list[str]]) -> bool:
    """Return whether all widths of all modules may be divided by a number."""
    for module, arguments in widths.items():
        for argument in arguments:
            if not _divides(divisor, spec, module, argument):
                return False
    return True


def _divided(divisor: int, spec: Spec, widths: Mapping[str, list[str]]) -> Spec:
    """Return a spec with the widths of its modules, and the channels of its inputs, divided."""
    modules = {}
    for name, entry in spec.modules.items():
        arguments = dict(entry.arguments)
        for width in widths[name]:
            arguments[width] //= divisor
        modules[name] = replace(entry, arguments=arguments)
    inputs = {}
    for name, kind in spec.inputs.items():
        inputs[name] = _narrow_input(kind, divisor)
    return replace(spec, modules=modules, inputs=inputs)


def _widths(spec: Spec, module: str) -> list[str]:
    """Return the arguments of a module, set by the spec, that are the number of channels of a port."""
    entry = spec.modules[module]
    declared = MODULES.declaration(entry.use)
    ports: Iterable[Port] = (*declared.inputs.values(), *declared.outputs.values())
    names = set()
    for port in ports:
        for choice in port.alternatives:
            has_channels = all(KINDS[kind].channels_last for kind in choice.kinds)
            if choice.axes and has_channels:
                names.add(str(choice.axes[-1]))
    return sorted(name for name in names if isinstance(entry.arguments.get(name), int))


def _divides(divisor: int, spec: Spec, module: str, argument: str) -> bool:
    arguments = spec.modules[module].arguments
    # Each head must keep the same number of channels.
    width, heads = arguments[argument], arguments.get("heads") or 1
    return width % (divisor * heads) == 0 and width // divisor >= NARROWEST


def _narrow_input(kind: StreamType, divisor: int) -> StreamType:
    """Return the type of an input with its channels, if it has a fixed number of them, divided."""
    *axes, last = kind.axes or ("",)
    if not KINDS[kind.kind].channels_last or not isinstance(last, int):
        return kind
    return replace(kind, axes=(*axes, last // divisor))
