"""Hints that can be pasted: what turns a stream of one kind, width or axis into another."""

from __future__ import annotations

from registry.checks.sizes import Size
from registry.errors import UserError
from registry.language.equation import Ref
from registry.language.spec import Spec
from registry.registries import Registries


def converters(
    spec: Spec, names: Registries, kind: str, kinds: tuple[str, ...], ref: Ref
) -> str:
    """Return a line that makes a kind of stream of what is there, by a module of the spec or another one."""
    for name, module in spec.modules.items():
        if _turns(names, module.use, kind, kinds):
            line = f"{ref.local_name.replace('.', '_')}_{name}"
            return f"add `{line}: {name}({ref.local_name})` and use it here"
    # No module of the spec does it: others that could be built.
    uses = [use for use in names.modules.names() if _turns(names, use, kind, kinds)]
    return f"what makes {kinds[0]} of {kind}: {', '.join(uses[:4])}" if uses else ""


def _turns(names: Registries, use: str, kind: str, kinds: tuple[str, ...]) -> bool:
    """Return whether a module makes one stream of one of `kinds` from a single stream of `kind`."""
    try:
        declaration = names.modules.declaration(use)
    except UserError:  # another package's, and broken: reported where it is used
        return False
    needed = [port for port in declaration.inputs.values() if not port.optional]
    # Only what turns one stream into one stream makes a line that can be pasted.
    if len(needed) != 1 or not declaration.nameless:
        return False
    return kind in needed[0].kinds and declaration.outputs[""].kind in kinds


def projection(
    names: Registries,
    callee: str,
    port: str,
    ref: Ref,
    kinds: tuple[str, ...],
    have: int | str,
    must: int | str,
) -> str:
    """Return the lines that bring tokens to another width."""
    # The hint must be a line that can be pasted unchanged.
    if "tokens" not in kinds or "project" not in names.modules:
        return ""
    name = f"{ref.local_name.replace('.', '_')}_p"
    module = f"project: {{use: project, width_in: {have}, width: {must}}}"
    return f"add `{name}: project({ref.local_name})` with `{module}`, and write `{port}={name}`"


def join_hint(
    spec: Spec,
    names: Registries,
    callee: str,
    left: tuple[str, Ref, Size],
    right: tuple[str, Ref, Size],
) -> str:
    """Return the `take` that brings one of two streams to the other's first axis by an index input."""
    if "take" not in names.operations:
        return ""
    # Either of the two streams may be brought to the rows of the other.
    for (port, ref, size), (_, _, goal) in ((left, right), (right, left)):
        name = f"{ref.local_name.replace('.', '_')}_taken"
        for owner, declared in spec.inputs.items():
            if declared.axes == (goal.axis,) and declared.target == size.axis:
                taken = f"add `{name}: take({ref.local_name}, {owner})`"
                return f"{taken}, and write `{port}={name}` in the call of {callee}"
    port, ref, size = left
    axis = right[2].axis
    name = f"{ref.local_name.replace('.', '_')}_taken"
    lines = f"add the input `row: index {axis} -> {size.axis}` and `{name}: take({ref.local_name}, row)`"
    return f"where each {axis} has its row of '{ref.local_name}', {lines}; where both are one axis, one letter"
