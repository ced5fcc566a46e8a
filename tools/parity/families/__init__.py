"""One file for each family: whether it recognizes a fixture, and the comparison with it."""
