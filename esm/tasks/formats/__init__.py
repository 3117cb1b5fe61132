"""Readers: one per file format, and for folders and Hub datasets."""
