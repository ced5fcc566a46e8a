"""Weights: reading them safely, finding their place in a network, accounting for every key."""
