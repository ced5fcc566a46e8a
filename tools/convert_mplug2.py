#!/usr/bin/env python3
"""Run `mplug2 convert`: python tools/convert_mplug2.py FILE.pth OUT.safetensors --spec SPEC."""

import sys

from mplug2.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "convert")
    main()
