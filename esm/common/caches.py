"""What lies in the user's cache folder, and how to be rid of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from esm.common.errors import StorageError

SPLIT_ENDING = ".split.json"


EMBEDDINGS = "embeddings"
SPLITS = "splits"
MODELS = "models"


@dataclass(frozen=True)
class Cache:
    """One kind of things in the cache folder.

    Attributes:
        kind: ``"embeddings"`` (vectors under hashes; computed again when they are needed),
            ``"models"`` (the multilingual encoder; built again) or ``"splits"`` (hashes of texts;
            without them the data that they are of are split anew, and test rows become training
            rows of the next run).
        files: The files, sorted.
        bytes: Their size.
    """

    kind: str
    files: tuple[Path, ...]
    bytes: int


def find_caches() -> tuple[Cache, ...]:
    """Return what this tool has put into its cache folder; pools and runs never lie there."""
    return (
        _cache(EMBEDDINGS, "*.safetensors"),
        _cache(MODELS, "**/*"),
        _cache(SPLITS, f"*{SPLIT_ENDING}"),
    )


def remove(cache: Cache) -> None:
    """Remove a cache's files, and its folders where nothing else is in them.

    Raises:
        StorageError: A file cannot be removed; those before it are gone.
    """
    for path in cache.files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot remove {path}: {error.strerror}", hint="check who owns the folder"
            ) from error
    top = cache_folder()
    folders = {folder for path in cache.files for folder in path.parents if top in folder.parents}
    for folder in sorted(folders, reverse=True):  # what lies inside comes first
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _cache(kind: str, pattern: str) -> Cache:
    """Find the files of one kind, and what a killed process left half-written among them."""
    folder = cache_folder() / kind
    found = {*folder.glob(pattern), *folder.glob(".tmp-*")}
    files = tuple(sorted(path for path in found if path.is_file()))
    return Cache(kind, files, sum(path.stat().st_size for path in files))


def cache_folder() -> Path:
    """Return the user's cache folder: ``ESM_CACHE``, or the one of the operating system."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("ESM_CACHE") or user_cache_dir("esm-transfer"))
