"""The record of a run: a line of JSON per logged step, the same numbers for TensorBoard, and a picture of the
curves."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

from mplug2.runtime.atomic_write import atomic_write
from registry.errors import UserError


class RunLog:
    """Writes ``log.jsonl`` and ``tensorboard/`` in ``folder``; ``silent`` on all ranks but the first."""

    def __init__(self, folder: Path, step: int, silent: bool) -> None:
        """Open the log to go on after ``step``; what an interrupted run logged beyond it is dropped."""
        self.path = folder / "log.jsonl"
        self._silent = silent
        if silent:
            return
        kept = "".join(json.dumps(row) + "\n" for row in read_log(self.path) if row["step"] <= step)
        with atomic_write(self.path) as file:  # on a full disk the old one stays
            file.write(kept)
        self._file = self.path.open("a", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch.utils.tensorboard import SummaryWriter
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both, and draw what was logged, also of a run that failed."""
        if self._silent:
            return
        self._file.close()
        self._board.close()
        draw_curves(self.path, self.path.with_name("curves.png"))

    def write(self, step: int, **numbers: float | None) -> None:
        """Add one row; ``None`` values are left out."""
        if self._silent:
            return
        row = {"step": step, **{key: value for key, value in numbers.items() if value is not None}}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for key, value in row.items():
            if key != "step":
                self._board.add_scalar(key, value, step)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``log.jsonl``; a last line that a crash left half written is dropped.

    Raises UserError, with the line, where it holds something else.
    """
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise UserError(
                f"{path}:{number}: must be a row of numbers with its step, but is {line[:60]!r}: "
                "mend the line, or move the file away"
            )
        rows.append(row)
    return rows


def draw_curves(log: Path, picture: Path) -> None:
    """Draw loss, learning rates and validation metrics of ``log`` over the steps into ``picture`` (png)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_log(log)
    keys = [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if key.split("/")[0] in ("loss", "lr", "val")
    ]
    panels = [group for group in ("loss", "lr", "val") if any(key.split("/")[0] == group for key in keys)]
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, group in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for key in (key for key in keys if key.split("/")[0] == group):
            points = [(row["step"], row[key]) for row in rows if key in row]
            axes.plot(
                *zip(*points, strict=True), label=key, marker="o" if len(points) < 30 else None, markersize=3
            )
        axes.set_xlabel("optimiser step")
        axes.set_title({"loss": "training loss", "lr": "learning rate", "val": "validation"}[group])
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=120)
