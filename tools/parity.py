#!/usr/bin/env python3
"""Compare composed networks with recorded fixtures of official code: python tools/parity.py FOLDER..."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from registry import UserError
from tools.parity.compare import compare
from tools.parity.rows import ATOL, RTOL


def main() -> int:
    """Print a row for each recorded output and return the exit code.

    1: a row is beyond the tolerance or was not compared. 2: a folder is not a fixture that can be compared.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="a fixture: config.json or meta.json and tensors, or a JSON file",
    )
    bad = 0
    for path in parser.parse_args().paths:
        try:
            rows = compare(path)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        width = max((len(row.name) for row in rows), default=0)
        print(f"{path.name} (atol {ATOL:g}, rtol {RTOL:g})")
        for row in rows:
            print(f"  {row.name:<{width}}  {row.difference:9.2e}  {row.verdict}")
        missed = sum(not row.compared for row in rows)
        failed = sum(not row.good for row in rows) - missed
        print(f"  {len(rows)} rows, {failed} beyond tolerance, {missed} not compared\n")
        bad += failed + missed
        if not rows:
            print(f"{path}: nothing was compared", file=sys.stderr)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
