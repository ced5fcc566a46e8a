"""Losses: scalars to minimize."""
