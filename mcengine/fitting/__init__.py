"""Proposals that a pilot run chooses and then freezes."""
