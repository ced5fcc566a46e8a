#!/usr/bin/env python3
"""Run `mplug2 convert --from mplug`: python tools/convert_mplug.py FILE.pth OUT.safetensors --spec SPEC."""

import sys

from mplug2.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["convert", "--from", "mplug"]
    main()
