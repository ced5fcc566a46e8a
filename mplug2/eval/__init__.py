"""Evaluation: predictions over a split, and what they are worth."""
