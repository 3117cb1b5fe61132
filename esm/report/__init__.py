"""From results to tables in a terminal, aligned text in a pipe, and files."""
