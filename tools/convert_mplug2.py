#!/usr/bin/env python3
"""Convert a released mPLUG-2 checkpoint: python tools/convert_mplug2.py FILE.pth OUT.safetensors --spec
SPEC."""

import sys

from mplug2.build.convert import main

if __name__ == "__main__":
    sys.exit(main(__doc__, "mplug2"))
