"""One argument or option of a class or function, as a declaration has it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from registry.language.annotations import choices

# A value that no default can have: None is a default.
REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """One argument or option: its annotation as written, its default (`REQUIRED` where there is none)."""

    name: str
    annotation: str = ""
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a spec must set it."""
        return self.default is REQUIRED

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that a `Literal[...]` annotation allows, or none."""
        return choices(self.annotation)
