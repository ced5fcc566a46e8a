"""What a command checks before it starts: the spec, its files, and a dry run whose result is cached."""
