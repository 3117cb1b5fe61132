"""Measurements: each script prints what it measured and with which command."""
