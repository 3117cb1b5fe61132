"""Texts that are the same, or nearly the same: by words, and by character n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NEARLY_SAME = 0.9
MOST_COMPARED = 20_000

# The start of an article tells it from others; all of it would cost memory.
_MOST_CHARACTERS = 1000
_NGRAMS = (4, 5)
_NUM_FEATURES = 2**20
_BLOCK = 1000


def near_copies(
    texts: Sequence[str], others: Sequence[str] | None = None, threshold: float = NEARLY_SAME
) -> npt.NDArray[np.bool_]:
    """Return which texts are nearly the same as another one.

    The likeness is the cosine of TF-IDF vectors of the character 4- and 5-grams of the first
    1,000 characters. Memory is linear in the number of texts. No pair is missed: two unit vectors
    whose cosine reaches the threshold share one of the features in their prefixes, which are the
    rarest features of each, until the norm of the rest is below the threshold. Only pairs that do
    are compared. 20,000 posts take about half a minute, most of it for their n-grams.

    Args:
        texts: n texts, as :func:`~esm.tasks.identity.normal_form` returns them, all different.
        others: Texts to compare with; None compares the texts with each other.
        threshold: Cosine from which texts are nearly the same, in (0, 1].

    Returns:
        (n,) for each text whether there is another, or one of the others, like it.

    Source:
        Bayardo, Ma and Srikant 2007, Scaling Up All Pairs Similarity Search, section 4 (the
        prefixes), here as products of sparse matrices.
    """
    among = len(texts)
    whole = _vectors([*texts, *(others or ())])
    prefixes = _prefixes(whole, threshold)
    first = slice(0, among)
    second = slice(0, among) if others is None else slice(among, whole.shape[0])
    found = np.zeros(among, dtype=np.bool_)
    candidates = prefixes[second].T.tocsr()
    for start in range(0, among, _BLOCK):
        block = slice(start, min(start + _BLOCK, among))
        pairs = (prefixes[first][block] @ candidates).tocoo()
        rows, columns = pairs.row + start, pairs.col
        if others is None:
            apart = rows != columns
            rows, columns = rows[apart], columns[apart]
        found[_alike(whole[first], whole[second], rows, columns, threshold)] = True
    return found


def _vectors(texts: Sequence[str]) -> csr_matrix:
    """Return unit TF-IDF vectors, their features ordered from the rarest to the commonest."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing = HashingVectorizer(
        analyzer="char",
        ngram_range=_NGRAMS,
        n_features=_NUM_FEATURES,
        alternate_sign=False,
        norm=None,
        lowercase=False,
        dtype=np.float32,
    )
    counts = hashing.transform(text[:_MOST_CHARACTERS] for text in texts)
    vectors = TfidfTransformer().fit_transform(counts)
    used, place, frequency = np.unique(vectors.indices, return_inverse=True, return_counts=True)
    rank = np.empty(len(used), dtype=np.int32)
    rank[np.argsort(frequency, kind="stable")] = np.arange(len(used), dtype=np.int32)
    shape = (len(texts), max(len(used), 1))
    ordered = csr_matrix((vectors.data, rank[place], vectors.indptr), shape=shape)
    ordered.sort_indices()
    return ordered


def _prefixes(vectors: csr_matrix, threshold: float) -> csr_matrix:
    """Return each vector's rarest features, without the rest whose norm is below the threshold."""
    from scipy.sparse import csr_matrix

    squares = np.concatenate([[0.0], np.cumsum(vectors.data.astype(np.float64) ** 2)])
    ends = np.repeat(squares[vectors.indptr[1:]], np.diff(vectors.indptr))
    # With a little room for rounding: a feature too many costs nothing.
    kept = ends - squares[:-1] >= threshold**2 - 1e-6
    before = np.concatenate([[0], np.cumsum(kept)])
    return csr_matrix(
        (vectors.data[kept], vectors.indices[kept], before[vectors.indptr]), shape=vectors.shape
    )


def _alike(
    first: csr_matrix,
    second: csr_matrix,
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    threshold: float,
) -> npt.NDArray[Any]:
    """Return the rows that have a pair whose cosine reaches the threshold."""
    alike = [rows[:0]]
    for start in range(0, len(rows), 10 * _BLOCK):
        some = slice(start, start + 10 * _BLOCK)
        cosines = first[rows[some]].multiply(second[columns[some]]).sum(axis=1)
        alike.append(rows[some][np.asarray(cosines).ravel() >= threshold - 1e-6])
    return np.unique(np.concatenate(alike))
