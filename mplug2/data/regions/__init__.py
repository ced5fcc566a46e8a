"""Features and boxes of image regions, read from files that a detector wrote."""
