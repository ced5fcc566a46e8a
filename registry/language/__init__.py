"""The composition language: equations, ports, declarations, and the spec that they form."""
