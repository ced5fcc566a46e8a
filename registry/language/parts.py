"""Ports that the call names: `"**parts"` becomes one port, and one output, for each keyword of a call.

`split(hidden, text=words, regions=regions)` with
`inputs={"tokens": "tokens B N width", "**parts": "tokens B length _"}` and
`outputs={"**parts": "tokens B length width"}` has the ports `tokens`, `text`, `regions` and the outputs
`text`, `regions`. An axis that only `**` ports name (`length`) belongs to each part alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from registry.language.declaration import Declaration
from registry.language.equation import Equation, Literal
from registry.language.ports import Axis, Port


def with_parts(declaration: Declaration, equation: Equation) -> Declaration:
    """Return a declaration with the parts that a call names, or unchanged if there are none."""
    ports = [*declaration.inputs.values(), *declaration.outputs.values()]
    # Nearly all declarations: they are returned without a copy.
    if not any(port.named_by_call for port in ports):
        return declaration
    names = _part_names(declaration, equation)
    if not names:
        return declaration
    # Axes of other ports, and widths, are the same for all parts.
    shared: set[Axis] = set(declaration.arguments)
    for port in ports:
        if not port.named_by_call:
            shared.update(port.names)
    inputs = _expanded(declaration.inputs, names, shared)
    outputs = _expanded(declaration.outputs, names, shared)
    return replace(declaration, inputs=inputs, outputs=outputs)


def _part_names(declaration: Declaration, equation: Equation) -> list[str]:
    """Return the keywords of a call that name parts: those with a stream that nothing else takes."""
    taken = {
        *declaration.inputs,
        *declaration.options,
        *declaration.outputs,
        *declaration.arguments,
    }
    names = []
    for name, argument in equation.keywords.items():
        # A literal under an unknown name is a misspelt option, not a part.
        if name not in taken and not isinstance(argument, Literal):
            names.append(name)
    return names


def _expanded(
    ports: Mapping[str, Port], names: list[str], shared: set[Axis]
) -> dict[str, Port]:
    """Return ports with one for each part in the position of a `**` port."""
    expanded: dict[str, Port] = {}
    for declared, port in ports.items():
        if not port.named_by_call:
            expanded[declared] = port
            continue
        private = [axis for axis in port.names if _is_private(axis, shared)]
        for name in names:
            # `length` of the part `image` becomes `length.image`: parts may differ in it.
            expanded[name] = port.renamed({axis: f"{axis}.{name}" for axis in private})
    return expanded


def _is_private(axis: Axis, shared: set[Axis]) -> bool:
    """Return whether an axis of a `**` port belongs to each part alone; widths are shared by their names."""
    return isinstance(axis, str) and axis != "_" and axis not in shared
