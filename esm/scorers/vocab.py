"""Vocabulary: how many of the target's words the source's texts hold.

The target vocabulary covered of Dai et al., "Using Similarity Measures to Select Pretraining Data
for NER" (NAACL 2019, arXiv 1904.00585), here on hashes of the words that at least two texts hold.
"""

from __future__ import annotations

import numpy as np

from esm.pool.vectors import MOST_WORDS, Hashes
from esm.scorers.base import Evidence, Need, Scorer


def vocabulary_coverage(source: Hashes, target: Hashes) -> float:
    """Return the share of the target's words that the source has; NaN where none is comparable.

    Of a vocabulary that was cut to its smallest hashes, only those up to the largest kept one are
    known: the comparison ends there, which makes it an unbiased estimate from a random sample.

    Args:
        source: Ascending hashes of the source's words.
        target: Ascending hashes of the target's words.

    Example:
        >>> covered(np.array([1, 5], np.uint32), np.array([1, 2, 5, 9], np.uint32))
        0.5
    """
    ends = [words[-1] for words in (source, target) if len(words) == MOST_WORDS]
    comparable = target[target <= min(ends)] if ends else target
    if not len(comparable):
        return float("nan")
    return float(np.isin(comparable, source, assume_unique=True).mean())


class Vocab(Scorer):
    """Share of the target's words that the source's texts hold."""

    name = "vocab"
    unit = "share of the target's words"
    needs = frozenset({Need.VECTORS})

    def score(self, evidence: Evidence) -> float:
        """Return the share, between 0 and 1."""
        assert evidence.source is not None
        return vocabulary_coverage(evidence.source.vectors.vocabulary, evidence.target.words)
