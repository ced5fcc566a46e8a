"""How small the numbers among a reader's settings may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import UserError

if TYPE_CHECKING:
    from registry import Spec


def at_least(least: int, spec: Spec | None, split: str, **given: int | None) -> None:
    """Raise UserError, with its place in the spec, for a setting below ``least``; None is no setting."""
    for key, value in given.items():
        if value is None or value >= least:
            continue
        where = ""
        if spec is not None:
            own = key in (spec.data.get(split) or {})
            where = f"{spec.place('data', split, key) if own else spec.place('data', key)}: "
        raise UserError(f"{where}{key} must be at least {least}, but is {value}")
