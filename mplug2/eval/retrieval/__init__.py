"""Retrieval: embedding, nearest neighbours, re-ranking."""
