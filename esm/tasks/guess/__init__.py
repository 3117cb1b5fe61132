"""What the columns of a table that nobody described seem to be."""
