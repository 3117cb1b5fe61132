"""Embeddings that are computed once: a cache on disk, keyed by what decides them."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from esm.common.caches import cache_folder
from esm.common.errors import EncoderError, EsmError, ShapeError, StorageError
from esm.common.storage import content_hash, hash_texts, load_tensors, save_tensors

if TYPE_CHECKING:
    from esm.encoder.encoder import Embeddings
    from esm.encoder.settings import BaseIdentity

_LOGGER = logging.getLogger(__name__)

_FORMAT = 1
_FOLDER = "embeddings"

# A temporary file that is younger may be one that another process is writing.
_SECONDS_UNTIL_ABANDONED = 24 * 3600


class Embedder(Protocol):
    """An encoder, as far as a cache needs to know it."""

    @property
    def identity(self) -> BaseIdentity:
        """What decides the embeddings."""

    @property
    def width(self) -> int:
        """The embedding width d."""

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> int:
        """Return how many of the texts, or text pairs, are not read to their end."""

    def embed(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, wide: bool = False
    ) -> Embeddings:
        """Embed texts, or text pairs."""


class EmbeddingCache:
    """Embeddings on disk under a hash of the encoder's identity and the texts, never the texts.

    A file that is damaged is made again; a folder that cannot be written costs the caching, not
    the embeddings. Files are readable by their owner only. About 4 (d + D) bytes a text: 15 MB
    for 1,000 texts at d = 384 with wide features.

    Args:
        folder: Where to keep the files; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    def default(cls) -> EmbeddingCache:
        """Return the cache in the user's cache folder (see ``ESM_CACHE``).

        What writes that were killed more than a day ago left there is removed.
        """
        folder = default_cache()
        _remove_abandoned(folder / _FOLDER)
        return cls(folder)

    def embed(
        self,
        encoder: Embedder,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        wide: bool = False,
    ) -> Embeddings:
        """Return the embeddings of texts, or text pairs; equal rows are embedded once.

        Args:
            encoder: The encoder.
            texts: n texts.
            pairs: Their n second texts, for pair tasks.
            wide: Also return the wide features.

        Raises:
            EncoderError: There is no text, or the model gives numbers that are not finite.
            ShapeError: There are not as many second texts as first ones.
        """
        from esm.encoder.encoder import Embeddings

        if not texts:
            raise EncoderError("no texts to embed", expected="at least one")
        rows, inverse = unique_rows(texts, pairs)
        path = self._path(encoder, texts, pairs, wide)
        unique = _read(path, len(rows), encoder.width, wide) if path else None
        if unique is None:
            unique = _embed_unique(encoder, texts, pairs, rows, wide)
            if path:
                _write(path, unique)
        return Embeddings(
            last=unique.last[inverse],
            wide=None if unique.wide is None else unique.wide[inverse],
            cut=unique.cut,
        )

    def _path(
        self, encoder: Embedder, texts: Sequence[str], pairs: Sequence[str] | None, wide: bool
    ) -> Path | None:
        if self.folder is None:
            return None
        identity = encoder.identity.content_hash()
        key = content_hash(_FORMAT, identity, hash_texts(texts, pairs), wide)
        return self.folder / _FOLDER / f"{key}.safetensors"


def default_cache() -> Path:
    """Return the user's cache folder: ``ESM_CACHE``, or the one of the operating system."""
    return cache_folder()


def _remove_abandoned(folder: Path) -> None:
    newest = time.time() - _SECONDS_UNTIL_ABANDONED
    for path in folder.glob(".tmp-*"):
        # Another process may do the same, and a cache that is read-only stays as it is.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < newest:
                path.unlink()


def unique_rows(
    texts: Sequence[str], pairs: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each different text, or text pair, occurs first, and how to put them back.

    Args:
        texts: n texts.
        pairs: Their n second texts, for pair tasks.

    Returns:
        The m positions of first occurrences, ascending, and (n,) positions among those m, such
        that ``texts[i] == texts[first[inverse[i]]]``.

    Raises:
        ShapeError: There are not as many second texts as first ones.

    Example:
        >>> first, inverse = unique_rows(["a", "b", "a"])
        >>> first.tolist(), inverse.tolist()
        ([0, 1], [0, 1, 0])
    """
    if pairs is not None and len(pairs) != len(texts):
        raise ShapeError(
            f"{len(texts)} texts and {len(pairs)} second texts", expected="as many of each"
        )
    place: dict[object, int] = {}
    first: list[int] = []
    inverse = np.empty(len(texts), dtype=np.int64)
    for row, key in enumerate(texts if pairs is None else zip(texts, pairs, strict=True)):
        if key not in place:
            place[key] = len(first)
            first.append(row)
        inverse[row] = place[key]
    return np.array(first, dtype=np.int64), inverse


def _embed_unique(
    encoder: Embedder,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    rows: npt.NDArray[np.int64],
    wide: bool,
) -> Embeddings:
    """Embed the different rows; ``cut`` counts all rows, repetitions included."""
    from dataclasses import replace

    unique_texts = [texts[row] for row in rows]
    unique_pairs = None if pairs is None else [pairs[row] for row in rows]
    embeddings = encoder.embed(unique_texts, unique_pairs, wide=wide)
    if embeddings.cut and len(rows) < len(texts):
        return replace(embeddings, cut=encoder.count_cut(texts, pairs))
    return embeddings


def _read(path: Path, count: int, width: int, wide: bool) -> Embeddings | None:
    """Return what a cache file holds; None where there is none or it is damaged."""
    from esm.encoder.encoder import Embeddings

    if not path.is_file():
        return None
    try:
        tensors = load_tensors(path)
    except EsmError as error:
        _LOGGER.warning(f"cached embeddings are made again: {error.got}")
        return None
    if not _is_whole(tensors, count, width, wide):
        _LOGGER.warning(
            f"cached embeddings are made again: {path} does not hold what its name says"
        )
        return None
    return Embeddings(tensors["last"], tensors.get("wide"), int(tensors["cut"][0]))


def _is_whole(
    tensors: dict[str, npt.NDArray[np.generic]], count: int, width: int, wide: bool
) -> bool:
    if set(tensors) != {"last", "cut", *(["wide"] if wide else [])}:
        return False
    arrays = [tensors[name] for name in ("last", "wide") if name in tensors]
    return (
        all(array.ndim == 2 and array.dtype == np.float32 for array in arrays)
        and all(len(array) == count and np.isfinite(array).all() for array in arrays)
        and tensors["last"].shape[1] == width
        and tensors["cut"].shape == (1,)
    )


def _write(path: Path, embeddings: Embeddings) -> None:
    tensors = {"last": embeddings.last, "cut": np.array([embeddings.cut])}
    if embeddings.wide is not None:
        tensors["wide"] = embeddings.wide
    try:
        save_tensors(path, tensors, private=True)
    except StorageError as error:
        _LOGGER.warning(f"embeddings are not cached: {error.got}")
