"""Proposals found by a pilot run, then frozen."""
