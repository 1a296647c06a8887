"""Readers: from the text of a product's configuration to its model, one module for each product.

A reader is pure: files come through `Sources`, which the command gives. What a reader does not
understand it puts into the model as unknown; it never leaves anything out that may matter.
"""
