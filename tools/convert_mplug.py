#!/usr/bin/env python3
"""Convert a released mPLUG checkpoint: python tools/convert_mplug.py FILE.pth OUT.safetensors --spec SPEC."""

from __future__ import annotations

import argparse
import sys

from mplug2.weights.convert import convert_file
from registry import UserError


def main() -> int:
    """Write the converted file and print what became of every key; 2 if the checkpoint does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="the released checkpoint (.pth)")
    parser.add_argument("target", help="the file to write (.safetensors)")
    parser.add_argument("--spec", required=True, help="the network that the weights are for")
    options = parser.parse_args()
    try:
        print(convert_file(options.source, options.spec, options.target, "mplug"))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
