"""How small the numbers among a reader's settings may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry.errors import UserError

if TYPE_CHECKING:
    from registry import Spec


def at_least(least: int, settings: Mapping[str, Any], **given: int | None) -> None:
    """Raise UserError for a setting below ``least``, with its place in the ``spec`` and ``split`` of the
    reader's ``settings``; None is no setting."""
    spec: Spec | None = settings.get("spec")
    split = settings.get("split", "train")
    for key, value in given.items():
        if value is None or value >= least:
            continue
        where = ""
        if spec is not None:
            own = key in (spec.data.get(split) or {})
            where = f"{spec.place('data', split, key) if own else spec.place('data', key)}: "
        raise UserError(f"{where}{key} must be at least {least}, but is {value}")
