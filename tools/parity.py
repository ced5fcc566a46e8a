#!/usr/bin/env python3
"""Compare a composed network with a recorded fixture of the official code: python tools/parity.py
FOLDER..."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from registry import UserError
from tools.parity.compare import compare
from tools.parity.rows import ATOL, RTOL


def main() -> int:
    """Print a row for each recorded output; 1 if one is beyond the tolerance, 2 if a folder is no fixture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="a fixture: meta.json and tensors"
    )
    bad = 0
    for folder in parser.parse_args().folders:
        try:
            rows = compare(folder)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        width = max(len(row.name) for row in rows)
        print(f"{folder.name} (atol {ATOL:g}, rtol {RTOL:g})")
        for row in rows:
            print(f"  {row.name:<{width}}  {row.difference:9.2e}  {'ok' if row.good else 'BEYOND TOLERANCE'}")
        failed = sum(not row.good for row in rows)
        print(f"  {len(rows)} rows, {failed} beyond tolerance\n")
        bad += failed
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
