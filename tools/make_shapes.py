"""Write the shapes world, the embedded data set: `python tools/make_shapes.py data/shapes`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mplug2.data.shapes.write import make_shapes
from registry.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, write the data set, and return the exit code (2 for a user's mistake)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("data/shapes"),
        help="where to write",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another seed, another data set"
    )
    for split, number in (("train", 3000), ("val", 300), ("test", 300)):
        parser.add_argument(
            f"--{split}", type=int, default=number, help=f"number of {split} clips"
        )
    parser.add_argument(
        "--size", type=int, default=48, help="edge of an image in pixels"
    )
    parser.add_argument(
        "--frames", type=int, default=12, help="frames of a clip, a multiple of 6"
    )
    parser.add_argument(
        "--workers", type=int, default=None, help="processes (all cores)"
    )
    chosen = vars(parser.parse_args(arguments))
    start = time.monotonic()
    try:
        written = make_shapes(**chosen, progress=sys.stderr.isatty())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = f"in {time.monotonic() - start:.0f} s"
    print(
        f"{chosen['folder']}: {f'written {seconds}' if written else 'is there already, nothing to do'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
