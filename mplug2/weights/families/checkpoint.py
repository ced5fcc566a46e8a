"""Weights that mplug2 wrote: a checkpoint folder or a ``.safetensors`` file, by the names of the modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mplug2.weights.keymap import EVERY, Drop, Facts, KeyMap, Resize, Role, Row, Values
from mplug2.weights.shape_fixes import first_rows, grid_positions, tubes

if TYPE_CHECKING:
    from mplug2.weights.files import Released


# Weights that may have another size here, by the ends of their names, and what resizes them.
_RESIZES: dict[str, Resize] = {
    "stem.position": grid_positions,
    "position.weight": first_rows,
    "stem.patch.proj.weight": tubes,
}


def _module(facts: Facts, module: str) -> Values:
    """Return the weights of a module, and those of its buffers that belong to the run that wrote them."""
    part = facts.net.get_module(module)
    # Names of this network: a weight without one here goes to the last row, with its reason.
    names = set(part.state_dict())
    for name in facts.net.transposed:
        if name.startswith(f"{module}."):
            names.add(name.removeprefix(f"{module}."))
    return {
        "names": frozenset(names),
        "run_state": tuple(getattr(part, "run_state_buffers", ())),
    }


def _open(where: str) -> Released:
    from mplug2.weights.files import read_released
    from mplug2.weights.store import weights_file

    return read_released(weights_file(where))


def _row(ending: str = "", resize: Resize | None = None) -> Row:
    """Return the row of the weights that end so, if this network's module has them."""

    def has(values: Values) -> bool:
        name = values["rest"] + ending
        # The row of all weights leaves those to the other rows that may be resized.
        is_other_row = not ending and name.endswith(tuple(_RESIZES))
        return name in values["names"] and not is_other_row

    return Row(
        f"{{module}}.{{rest*}}{ending}",
        f"{{rest}}{ending}",
        "module",
        where=has,
        resize=resize,
    )


KEY_MAP = KeyMap(
    title="mplug2",
    source="CHECKPOINT",
    roles={"module": Role("module", {EVERY: ""}, numbers=_module, many=True)},
    rows=(
        Drop(
            "{module}.{rest*}",
            "it belongs to the run that wrote it: this run starts its own",
            "module",
            lambda values: values["rest"] in values["run_state"],
        ),
        # Before the general row: these weights depend on the size of the input, and are resized.
        *(_row(ending, resize) for ending, resize in _RESIZES.items()),
        _row(),
        Drop("{name*}", "no module of this network has it"),
    ),
    open=_open,
    released=False,
    by_module=True,
)
