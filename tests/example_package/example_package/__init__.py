"""Additions to mplug2; their names are found by the entry points in pyproject.toml."""
