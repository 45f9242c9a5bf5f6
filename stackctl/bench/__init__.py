"""Reproducible measurements of the product, through its own commands and ports; a module per case."""
