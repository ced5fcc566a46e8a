"""Released weights, one file for each family."""
