"""From a target and a pool to a ranking of the source tasks for every attribute."""
