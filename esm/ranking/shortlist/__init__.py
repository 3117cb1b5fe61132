"""The most promising sources of a packed pool, so that not all are scored."""
