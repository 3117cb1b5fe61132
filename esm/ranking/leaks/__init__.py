"""Leakage: how much of a target a source task already holds."""
