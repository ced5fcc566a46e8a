"""Specs as YAML: a tree whose nodes know their positions, merging by `extends`, and writing."""
