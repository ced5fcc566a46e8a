"""Pictures of networks: what a spec composes, as SVG, PNG or Mermaid text, drawn here without any service."""
