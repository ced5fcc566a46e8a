#!/usr/bin/env python3
"""Convert a released mPLUG checkpoint: python tools/convert_mplug.py FILE.pth OUT.safetensors --spec SPEC."""

import sys

from mplug2.build.convert import main

if __name__ == "__main__":
    sys.exit(main(__doc__, "mplug"))
