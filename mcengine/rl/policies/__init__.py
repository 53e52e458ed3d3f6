"""Divergences between policies, trust-region steps and weights of regressions."""
