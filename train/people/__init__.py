"""Rendered people: unlimited identities in motion, with exact ground truth, drawn from MakeHuman's CC0 assets."""
