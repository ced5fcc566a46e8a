"""`python -m mplug2`, the same as the command `mplug2`."""

from mplug2.cli import main

if __name__ == "__main__":
    main()
