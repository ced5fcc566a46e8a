#!/usr/bin/env python3
"""Golden files under tests/golden/: every resolved spec with its shapes, so that a change is a diff.

python tools/golden.py --check    name the files that are out of date, and what changed (exit code 1)
python tools/golden.py --update   overwrite them
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import mplug2
from mplug2.build.describe import describe_text

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"


def shipped() -> list[Path]:
    """All specs of the project that can be run, without the ones that others extend."""
    return sorted(ROOT.glob("configs_*/*.yaml"))


def golden(spec: Path) -> Path:
    """Return the golden file of a spec."""
    return GOLDEN / spec.relative_to(ROOT).with_suffix(".txt")


def text(spec: Path) -> str:
    """Return what the golden file of a spec must hold."""
    described = describe_text(mplug2.read_spec(spec))
    # Sizes that a base sets are located by an absolute path, which differs between checkouts.
    return described.replace(f"{ROOT.as_posix()}/", "")


def changes(spec: Path) -> str:
    """Return how a spec differs from its golden file, as a unified diff; '' where it does not."""
    file, now = golden(spec), text(spec)
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    name = file.relative_to(ROOT).as_posix()
    return "".join(
        difflib.unified_diff(
            before.splitlines(True), now.splitlines(True), name, "now", n=1
        )
    )


def stale() -> Iterator[Path]:
    """The golden files whose spec is gone."""
    known = {golden(spec) for spec in shipped()}
    return (file for file in sorted(GOLDEN.rglob("*.txt")) if file not in known)


def main() -> int:
    """Check or update; 1 if a file is out of date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true")
    what.add_argument("--update", action="store_true")
    update = parser.parse_args().update
    bad = 0
    for spec in shipped():
        if changed := changes(spec):
            bad += 1
            print(changed)
            if update:
                golden(spec).parent.mkdir(parents=True, exist_ok=True)
                golden(spec).write_text(text(spec), encoding="utf-8")
    for file in stale():
        bad += 1
        print(f"{file.relative_to(ROOT)}: its spec is gone")
        if update:
            file.unlink()
    told = (
        "written"
        if update
        else "out of date; `python tools/golden.py --update` writes them"
    )
    print(
        f"{len(shipped())} specs, {bad} golden files {told if bad else 'out of date'}"
    )
    return 1 if bad and not update else 0


if __name__ == "__main__":
    sys.exit(main())
