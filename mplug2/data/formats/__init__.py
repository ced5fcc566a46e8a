"""Public annotation formats, each read into rows of JSON lines."""
