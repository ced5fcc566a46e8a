"""Comparison with recorded outputs of the official classes of mPLUG-2 and mPLUG."""
