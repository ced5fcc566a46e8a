"""What became of every key of a checkpoint: nothing is dropped, resized or missed in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

# Reading: loaded, resized, tied, dropped, missing, misfit. Writing: written and kept instead of loaded.
Status = Literal[
    "loaded", "written", "resized", "tied", "kept", "dropped", "missing", "misfit"
]


@dataclass(frozen=True)
class Row:
    """One key: where it came from, where it went, and why, if that is not plain."""

    status: Status
    source: str
    target: str = ""
    reason: str = ""
    momentum: bool = False  # whether it went to the momentum copies


@dataclass
class LoadReport:
    """The account of one checkpoint; ``misfit`` rows are errors, everything else is information."""

    origin: str
    rows: list[Row] = field(default_factory=list)

    def add(
        self,
        status: Status,
        source: str = "",
        target: str = "",
        reason: str = "",
        momentum: bool = False,
    ) -> None:
        """Note what happened to one key."""
        self.rows.append(Row(status, source, target, reason, momentum))

    def of(self, *statuses: Status) -> list[Row]:
        """The rows with one of ``statuses``."""
        return [row for row in self.rows if row.status in statuses]

    def filled(self, momentum: bool = False) -> set[str]:
        """The names of the weights, or of the momentum copies, that the checkpoint gave."""
        return {
            row.target
            for row in self.of("loaded", "resized", "tied")
            if row.momentum == momentum
        }

    def summary(self) -> str:
        """Return one line: how many keys have each status."""
        counts = Counter(row.status for row in self.rows)
        parts = [
            f"{counts[status]} {status}"
            for status in get_args(Status)
            if counts[status]
        ]
        return f"{self.origin}: " + (", ".join(parts) or "no keys")

    def table(self, rows: Iterable[Row] | None = None, limit: int = 40) -> str:
        """The rows as aligned text, grouped where one reason holds for many keys."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows if rows is None else rows:
            groups.setdefault(
                (row.status, row.reason, "" if row.reason else "plain"), []
            ).append(row)
        lines = []
        for (status, reason, _), members in groups.items():
            first = members[0]
            name = first.source or first.target
            arrow = (
                f" -> {first.target}"
                if first.source and first.target and len(members) == 1
                else ""
            )
            more = f" and {len(members) - 1} more" if len(members) > 1 else ""
            lines.append(
                f"  {status:8} {name}{arrow}{more}"
                + (f"  ({reason})" if reason else "")
            )
        hidden = len(lines) - limit
        return "\n".join(
            lines[:limit] + ([f"  ... and {hidden} more groups"] if hidden > 0 else [])
        )
