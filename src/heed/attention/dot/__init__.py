"""Dot-product attention: ``reference`` is the specification, ``fused`` the fast paths beside it."""
