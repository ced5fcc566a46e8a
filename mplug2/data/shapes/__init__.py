"""The shapes world: small encoded videos of coloured shapes, with everything that the tasks ask of a data
set."""
