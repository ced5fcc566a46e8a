"""Comparison with recorded outputs of the official classes, on any fixture of the same form."""
