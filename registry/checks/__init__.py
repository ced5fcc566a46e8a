"""The checks of a spec that need no torch."""
