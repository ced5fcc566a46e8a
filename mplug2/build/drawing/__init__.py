"""Drawings of networks: the graph of a spec, as SVG, PNG or Mermaid text, drawn here without any service."""
