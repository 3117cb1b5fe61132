"""Strategies that train several attributes, or several sources, together."""
