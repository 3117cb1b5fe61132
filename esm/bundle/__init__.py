"""A packed pool on disk: all maps in a few memory-mapped files (``layout``, ``read``, ``write``).

Layout::

    BUNDLE/pool.json              the pool's manifest, unchanged
    BUNDLE/bundle.json            what the other files hold
    BUNDLE/records.jsonl          one line per source: its record, where its maps and files lie
    BUNDLE/index.safetensors      where each line begins
    BUNDLE/maps-00000.safetensors maps of one form, shape and precision, stacked
    BUNDLE/files-00000.safetensors  the sources' other files, end to end
    BUNDLE/lift.safetensors ...   the pool's other files, unchanged

Opening reads two small files. Everything else is mapped into memory when it is asked for, row by
row or in blocks, so a bundle of any size takes the same memory.
"""

from __future__ import annotations

from esm.bundle.layout import BUNDLE_NAME, is_bundle
from esm.bundle.read import Bundle, PackedEntry
from esm.bundle.write import BundleWriter

__all__ = ["BUNDLE_NAME", "Bundle", "BundleWriter", "PackedEntry", "is_bundle"]
