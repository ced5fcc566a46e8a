"""Plug-ins for mplug2, one of each protocol; their names are in the entry points of pyproject.toml."""
