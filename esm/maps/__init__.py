"""Embedding Space Maps: what they compute (``forms``) and how they lie on disk (``files``)."""

from __future__ import annotations

from esm.maps.compressed import CompressedMap, Compression, compress
from esm.maps.files import MapConfig, load_map, save_map
from esm.maps.forms import DenseMap, EmbeddingSpaceMap, LowRankMap, MapForm

__all__ = [
    "CompressedMap",
    "Compression",
    "DenseMap",
    "EmbeddingSpaceMap",
    "LowRankMap",
    "MapConfig",
    "MapForm",
    "compress",
    "load_map",
    "save_map",
]
