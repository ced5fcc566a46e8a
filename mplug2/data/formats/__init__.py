"""Public annotation formats, each read into the rows of our own JSON lines."""
