"""Asking a network about files: found, read, answered, and shown."""
