"""From a spec to a network: composing, checking by a dry run, drawing, ejecting."""
