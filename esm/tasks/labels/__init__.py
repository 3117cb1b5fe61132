"""From a raw column to labels: the problem, its classes, rare ones among them."""
