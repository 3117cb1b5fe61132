"""A packed pool: a few memory-mapped files instead of a folder per source."""
