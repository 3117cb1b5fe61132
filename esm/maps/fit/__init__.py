"""Closed-form fits of Embedding Space Maps."""
