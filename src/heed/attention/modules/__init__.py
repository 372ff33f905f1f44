"""Layers, blocks and a small model around the mechanisms; every one attends by `distance_attention`."""
