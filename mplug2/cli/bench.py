"""`mplug2 bench`: measurements that you can repeat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mplug2.cli.arguments import only_overrides

if TYPE_CHECKING:
    from rich.console import Console

commands = typer.Typer(
    name="bench",
    help="Measure time and memory.",
    epilog="Example: mplug2 bench train-step --rounds 1",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


def add_to(app: typer.Typer) -> None:
    """Add the group to ``app``."""
    app.add_typer(commands)


@commands.command(
    "train-step",
    epilog="Example: mplug2 bench train-step configs_video/VideoQA_msrvtt_base.yaml --clips 2",
)
def train_step(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC")
    ] = "configs_video/VideoQA_msrvtt_base.yaml",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    clips: Annotated[int, typer.Option(help="Videos in a batch.", min=1)] = 2,
    questions: Annotated[
        int, typer.Option(help="Questions per video in the grouped variant.", min=2)
    ] = 6,
    steps: Annotated[
        int, typer.Option(help="Steps per process; the fastest is reported.", min=1)
    ] = 2,
    rounds: Annotated[
        int, typer.Option(help="Processes per variant; the median is reported.", min=1)
    ] = 2,
) -> None:
    """Measure time and peak memory of a training step: plain, recomputed, and with several questions per
    video."""
    from rich.console import Console

    from mplug2.bench.train_step import bench, lines

    console = Console()
    with console.status(
        "each variant runs in a new process; base size takes minutes on a CPU"
    ):
        figures = bench(
            spec, only_overrides(overrides), clips, questions, steps, rounds
        )
    _print_figures(
        console,
        f"{spec}, {clips} clips",
        ("variant",),
        ("s / step", "questions / s", "peak GB", "peak GB with AdamW"),
        lines(figures),
    )


@commands.command(
    "reading", epilog="Example: mplug2 bench reading configs_image/vqa_shapes_tiny.yaml"
)
def reading(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC")
    ] = "configs_video/VideoQA_shapes_tiny.yaml",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    split: Annotated[str, typer.Option(help="The split that is read.")] = "train",
    files: Annotated[int, typer.Option(help="Files to read at most.", min=1)] = 500,
    rounds: Annotated[
        int, typer.Option(help="Rounds; the median is reported.", min=1)
    ] = 3,
    resume: Annotated[
        int, typer.Option(help="Samples of the run that resumes.", min=100)
    ] = 1_000_100,
) -> None:
    """Compare reading samples from a folder and from shards of the same files, and time the resume of a
    run."""
    from mplug2.bench.reading import bench_reading, bench_resume, lines
    from mplug2.cli.tables import console

    screen = console()
    with screen.status("packing") as status:
        figures = bench_reading(
            spec,
            only_overrides(overrides),
            split,
            files,
            rounds,
            on_progress=status.update,
        )
        status.update(f"resuming at the end of {resume} samples")
        wall, cpu = bench_resume(resume)
    _print_figures(
        screen,
        f"{spec}, {figures.files} files, per second of one core",
        ("files in",),
        ("files", "frames", "MB"),
        lines(figures),
    )
    screen.print(
        f"shards / folder: {figures.ratio:.2f} times as fast (median of {rounds} rounds)"
    )
    screen.print(
        f"first batch of a run that resumes in {resume} samples: {wall:.2f} s, CPU {cpu:.2f} s"
    )


@commands.command("start", epilog="Example: mplug2 bench start --rounds 5")
def start(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC")
    ] = "configs_video/VideoQA_shapes_tiny.yaml",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    rounds: Annotated[
        int, typer.Option(help="Processes per command; the least is reported.", min=1)
    ] = 3,
) -> None:
    """Measure the CPU time of `mplug2 --help` and `mplug2 check`, beyond the start of Python and relative to
    the import of torch."""
    from mplug2.bench.start import bench, lines
    from mplug2.cli.tables import console

    screen = console()
    with screen.status("each command runs in new processes") as status:
        figures = bench(
            spec, only_overrides(overrides), rounds, on_progress=status.update
        )
    _print_figures(
        screen,
        f"{spec}, CPU time from start to exit",
        ("command",),
        ("s", "s beyond python", "x import of torch and timm"),
        lines(figures),
    )


@commands.command("generate", epilog="Example: mplug2 bench generate --rounds 2")
def generate(
    width: Annotated[int, typer.Option(help="Width of the decoder.", min=1)] = 768,
    depth: Annotated[int, typer.Option(help="Layers of the decoder.", min=1)] = 12,
    memory: Annotated[int, typer.Option(help="Tokens of the memory.", min=1)] = 1569,
    batch: Annotated[int, typer.Option(help="Samples.", min=1)] = 2,
    beams: Annotated[int, typer.Option(help="Beams.", min=1)] = 5,
    length: Annotated[int, typer.Option(help="Tokens of each beam.", min=1)] = 20,
    candidates: Annotated[int, typer.Option(help="Answers to rank.", min=2)] = 32,
    rounds: Annotated[
        int, typer.Option(help="Runs of each; the median is reported.", min=1)
    ] = 1,
    clock: Annotated[
        Literal["wall", "processor"],
        typer.Option(help="Wall time or CPU time; processor for a busy machine."),
    ] = "wall",
) -> None:
    """Compare beam search and ranking with plain decoding, which processes the complete prefix for every
    token."""
    from rich.console import Console

    from mplug2.bench.generate import Sizes, bench, lines

    sizes = Sizes(width, depth, memory, batch, beams, length, candidates)
    console = Console()
    with console.status("plain decoding takes minutes on a CPU") as status:
        figures = bench(sizes, rounds, clock, on_progress=status.update)
    _print_figures(
        console,
        f"width {width}, {depth} layers, memory {memory}, batch {batch}, float32",
        ("task",),
        (
            "engine s",
            "plain s",
            "engine TFLOP",
            "plain TFLOP",
            "times faster",
            "times fewer FLOP",
        ),
        lines(figures),
    )


@commands.command("retrieval", epilog="Example: mplug2 bench retrieval --rounds 1")
def retrieval(
    items: Annotated[
        list[int] | None,
        typer.Option(
            help="Images, with one caption each; repeatable [1000 5000 20000].", min=2
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        typer.Option(
            help="Candidates per query to re-rank; repeatable [32 16 64].", min=1
        ),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Processes per case; the median is reported.", min=1)
    ] = 2,
) -> None:
    """Measure the evaluation of retrieval on synthetic embeddings: time and memory by items and re-ranked
    pairs."""
    from mplug2.bench.retrieval import Case, bench, growth, lines
    from mplug2.cli.tables import console

    sizes, depths = items or [1000, 5000, 20000], k or [32, 16, 64]
    middle = sorted(sizes)[len(sizes) // 2]
    cases = [
        *(Case(size, depths[0]) for size in sizes),
        *(Case(middle, depth) for depth in depths),
    ]
    screen = console()
    with screen.status("each case runs in a new process") as status:
        figures = bench(cases, rounds, on_progress=status.update)
    _print_figures(
        screen,
        "CPU seconds, both directions",
        ("items", "k"),
        (
            "embed",
            "compare",
            "re-rank",
            "all",
            "ms / item",
            "us / pair",
            "held MB",
            "peak above MB",
        ),
        lines(figures),
    )
    for sentence in growth(figures):
        screen.print(sentence)


@commands.command("saving", epilog="Example: mplug2 bench saving --rounds 3")
def saving(
    spec: Annotated[str, typer.Argument(metavar="SPEC")] = "configs_text/clm_base.yaml",
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE")] = None,
    rounds: Annotated[
        int, typer.Option(help="Saves of each kind; the median is reported.", min=1)
    ] = 5,
) -> None:
    """Measure how long training waits for a checkpoint with and without `train.async_save`."""
    from mplug2.bench.saving import bench, lines
    from mplug2.cli.tables import console

    screen = console()
    with screen.status("composing") as status:
        figures = bench(
            spec, only_overrides(overrides), rounds, on_progress=status.update
        )
    _print_figures(
        screen,
        f"{spec}, {figures.gigabytes:.2f} GB, seconds",
        ("checkpoint",),
        ("training waits", "complete after"),
        lines(figures),
    )
    screen.print(
        f"in the background / at once: {figures.ratio:.3f} (median of {rounds} rounds)"
    )


def _print_figures(
    screen: Console,
    title: str,
    names: Sequence[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> None:
    """Print a table whose first columns name what was measured; the others are numbers."""
    from rich.table import Table

    table = Table(*names, title=title)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    screen.print(table)
