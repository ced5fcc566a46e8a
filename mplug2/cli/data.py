"""`mplug2 data`: make the shapes world, prepare and pack data sets."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import registry

if TYPE_CHECKING:
    from mplug2.data.formats.recipes import Recipe
    from mplug2.data.prepare import Prepared

SPLITS = ("train", "val", "test")

commands = typer.Typer(
    help="Make, prepare, pack and check data.",
    epilog="Example: mplug2 data make-shapes data/shapes",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


DataSetName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="A data set; all are listed without it.",
        show_default=False,
    ),
]
DownloadFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="The folder with the downloaded annotation files."
    ),
]
PreparedFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The output folder. Default: data/NAME."),
]
MediaFiles = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="The folder of images or videos; names are written as the files are found.",
    ),
]
ValFraction = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Fraction of the training files to use for validation if no split is published.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the group of commands to ``app``."""
    app.add_typer(commands, name="data")


@commands.command(
    "make-shapes", epilog="Example: mplug2 data make-shapes data/shapes --train 500"
)
def make_shapes(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where to write.", show_default=False),
    ],
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    train: Annotated[int, typer.Option(min=0, help="Clips for training.")] = 3000,
    val: Annotated[int, typer.Option(min=0, help="Clips for validation.")] = 300,
    test: Annotated[int, typer.Option(min=0, help="Clips for testing.")] = 300,
    size: Annotated[int, typer.Option(help="Edge of a frame in pixels.")] = 48,
    frames: Annotated[int, typer.Option(help="Frames of a clip.")] = 12,
) -> None:
    """Generate the shapes world: clips of moving shapes, with questions, captions, boxes and classes."""
    from mplug2.data.shapes.write import make_shapes as write

    sizes = {"train": train, "val": val, "test": test, "size": size, "frames": frames}
    written = write(folder, seed=seed, **sizes, progress=sys.stderr.isatty())
    print(
        f"{folder}: {train} + {val} + {test} clips {'written' if written else 'are there already'}"
    )


@commands.command(
    "prepare",
    epilog="Example: mplug2 data prepare flickr30k --source ~/flickr30k --media ~/flickr30k/images",
)
def prepare(
    name: DataSetName = None,
    source: DownloadFolder = None,
    out: PreparedFolder = None,
    media: MediaFiles = None,
    val_fraction: ValFraction = 0.0,
    replace: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite existing files.")
    ] = False,
) -> None:
    """Turn the public files of a data set into the JSON lines that the specs read."""
    from mplug2.data.formats.recipes import RECIPES
    from mplug2.data.prepare import named
    from mplug2.data.prepare import prepare as run

    if name is None:
        for set_name, recipe in RECIPES.items():
            _print_recipe(set_name, recipe)
        return
    # A wrong name is reported before a missing folder.
    named(name)
    if source is None:
        raise registry.UserError(
            f"--source must name the folder with the downloaded files of {name}"
        )
    done = run(name, source, out, media, val_fraction=val_fraction, replace=replace)
    _print_prepared(name, done, source, media)


def _print_prepared(
    name: str, done: Prepared, source: Path, media: Path | None
) -> None:
    """Print what was read and written, what is missing, and the next command."""
    kind = done.recipe.media
    print(f"{name}: {done.recipe.about}")
    for file in done.files.values():
        print(f"  read {file}")
    for split in done.written:
        about = f" about {split.media} {kind}s" if split.media else ""
        print(f"  wrote {split.path}: {split.entries} entries{about}")
    for split_name, ways in done.missing_sources.items():
        print(f"  no {split_name}: there is no {', nor '.join(ways)} below {source}")
    if done.missing:
        print(
            f"  {len(done.missing)} {kind}s are not below {media}, such as {done.missing[0]}"
        )
    if done.unclear:
        example, paths = next(iter(done.unclear.items()))
        about = f"{len(done.unclear)} {kind}s are in several places below {media}"
        print(
            f"  {about}, such as {example} ({', '.join(paths)}): their names are unchanged"
        )
    print(f"next: {_next(done, media)}")


def _print_recipe(name: str, recipe: Recipe) -> None:
    """Print a data set, with the files that its splits are made of."""
    from mplug2.data.formats.find_files import in_words

    print(f"{name}: {recipe.about}")
    # Splits that are made of the same files are on one line.
    splits: dict[tuple[str, ...], list[str]] = {}
    for output in recipe.outputs:
        splits.setdefault(output.files, []).append(output.split)
    printed: set[str] = set()
    for files, names in splits.items():
        # A second way to make a split that is printed already.
        other_way = "or " if printed.issuperset(names) else ""
        print(f"  {other_way}{', '.join(names)}: {in_words(files)}")
        printed |= set(names)


def _next(done: Prepared, media: Path | None) -> str:
    """Return the command that checks every file, with settings for its paths, without the splits that were
    not written."""
    settings = []
    for split in SPLITS:
        path = done.path(split)
        # An empty setting removes the split that the spec names.
        settings.append(f"data.{split}.path={path}" if path else f"data.{split}=")
    settings.append(f"data.media={media or 'DIR'}")
    if answers := done.path("answers"):
        settings.append(f"data.answer_list={answers}")
    return f"mplug2 data check {done.recipe.spec} {shlex.join(settings)}"


@commands.command(
    "shard",
    epilog="Example: mplug2 data shard data/coco/train.jsonl --media data/coco/images --out data/coco/shards",
)
def shard(
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="ANNOTATIONS",
            help="Annotations in JSON lines, or a folder with a folder for each class.",
            show_default=False,
        ),
    ],
    media: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder of images or videos.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The output folder.")],
    megabytes: Annotated[
        int, typer.Option(min=1, help="A shard ends when it has this size.")
    ] = 500,
    max_missing: Annotated[
        float,
        typer.Option(min=0, max=1, help="Fraction of the files that may be missing."),
    ] = 0.01,
    replace: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing output folder.")
    ] = False,
) -> None:
    """Pack media and annotations into tar files in the WebDataset layout, with an index."""
    from mplug2.data.shards.pack import MediaRows, pack_shards

    # Without a terminal, a bar cannot be redrawn in its place.
    def watch(samples: Sequence[MediaRows]) -> Iterable[MediaRows]:
        if not sys.stderr.isatty():
            return samples
        from rich.progress import track

        return track(samples, description="packing")

    packed = pack_shards(
        annotations,
        media,
        out,
        shard_bytes=megabytes * 1_000_000,
        max_missing=max_missing,
        replace=replace,
        watch=watch,
    )
    print(
        f"{out}: {packed.samples} samples with {packed.rows} entries in {packed.shards} shards"
    )
    for name in packed.missing:
        print(f"  left out: {name} does not exist")
    print(
        f"next: set data.train.shards={shlex.quote(str(out))} instead of data.train.path"
    )
