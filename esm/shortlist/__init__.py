"""Which maps of a large packed pool are worth an exact score.

A signature per map (``signature``) is computed once and kept beside the bundle (``index``). For a
target, a fixed sample of maps is scored exactly, a Gaussian process (``surrogate``) predicts the
scores of the others from their signatures, and the best of these are scored exactly in turn, a few
rounds long (``search``).
"""

from __future__ import annotations

from esm.shortlist.index import ShortlistIndex, build_index, index_bundle
from esm.shortlist.search import ESTIMATED, MOST, Shortlist, find_shortlist

__all__ = [
    "ESTIMATED",
    "MOST",
    "Shortlist",
    "ShortlistIndex",
    "build_index",
    "find_shortlist",
    "index_bundle",
]
