"""Sources: where samples come from, and in which order."""
