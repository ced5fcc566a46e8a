"""Tasks: how annotated entries become the inputs of a network."""
