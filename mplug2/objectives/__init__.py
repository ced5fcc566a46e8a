"""Rewards: what a text is worth that the network wrote while it was being trained."""
