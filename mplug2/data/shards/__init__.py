"""Shards: tar files of many samples with an index of where each of them is."""
