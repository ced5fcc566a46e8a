"""Plot the curves of a run."""

from __future__ import annotations

from pathlib import Path

from mplug2.train.logs import read_log

TITLES = {"loss": "training loss", "lr": "learning rate", "val": "validation"}


def draw_curves(log: Path, picture: Path) -> None:
    """Draw loss, learning rates and validation metrics of ``log`` over the steps into ``picture`` (png)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points: dict[str, tuple[list[int], list[float]]] = {}
    for row in read_log(log):
        for key, value in row.items():
            if key.split("/")[0] in TITLES:
                steps, values = points.setdefault(key, ([], []))
                steps.append(row["step"])
                values.append(value)
    panels = [
        group for group in TITLES if any(key.split("/")[0] == group for key in points)
    ]
    if not panels:
        return
    figure = Figure(figsize=(5 * len(panels), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, group in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for key, (steps, values) in points.items():
            if key.split("/")[0] == group:
                marker = "o" if len(steps) < 30 else None
                axes.plot(steps, values, label=key, marker=marker, markersize=3)
        axes.set_xlabel("optimizer step")
        axes.set_title(TITLES[group])
        axes.legend(fontsize="small")
        axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=120)
