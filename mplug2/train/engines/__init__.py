"""Engines: what runs forward, backward and the optimizer step, on one process or many."""
