"""Searches: they write or rank texts with a decoder, one step at a time."""
