"""Benchmarks: each prints figures that its own command repeats."""
