"""When two texts are the same: every notion of it that data, splits and pools use.

What is stored (splits, fingerprints, caches) was made with these; a change makes it worthless.

| notion               | the same are                             | used by                        |
|----------------------|------------------------------------------|--------------------------------|
| ``hash_texts``       | equal lists of texts                     | ids of tasks, runs and caches  |
| ``row_keys``         | equal texts, or pairs                    | splits, folds, outside results |
| ``unsalted_numbers`` | equal texts, by 64 bits of their key     | fingerprints of earlier pools  |
| ``normal_form``      | but for case, punctuation, addresses     | findings in data               |
| ``fingerprint_form`` | these, and but for the mark of a retweet | fingerprints of pools, leakage |

``hash_texts`` is in :mod:`esm.common.storage`. A pool keeps no forms but salted numbers of them
(:meth:`esm.pool.fingerprints.FingerprintKey.numbers`). Texts that are nearly the same are found by
:func:`esm.tasks.faults.near.near_copies` and :mod:`esm.ranking.leaks.overlap`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from esm.common.storage import hash_texts

_KEY_DIGITS = 32
_ADDRESSES_AND_HANDLES = re.compile(r"(https?://|www\.)\S+|@\w+", re.IGNORECASE)
_NO_WORDS = re.compile(r"[\W_]+")


def row_keys(texts: Sequence[str], pairs: Sequence[str] | None) -> list[str]:
    """Return a hash per row; identical texts (or text pairs) have the same one."""
    seconds = ("",) * len(texts) if pairs is None else pairs
    return [
        hash_texts((text,), (second,))[:_KEY_DIGITS]
        for text, second in zip(texts, seconds, strict=True)
    ]


def unsalted_numbers(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return (n,) numbers of texts as they stand, the same in every pool."""
    return np.array([int(key[:16], 16) for key in row_keys(texts, None)], dtype=np.uint64)


def normal_form(text: str) -> str:
    """Return what is left of a text without case, punctuation, web addresses and @handles.

    A text that is nothing else stays as it is, without case.

    Example:
        >>> normal_form("RT @jano: Pozor,  klamú!  https://t.co/x")
        'rt pozor klamú'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _NO_WORDS.sub(" ", _ADDRESSES_AND_HANDLES.sub(" ", folded)).strip()
    return words or " ".join(folded.split())


def fingerprint_form(text: str) -> str:
    """Return what two copies of a text have in common: its normal form without a retweet's mark.

    Example:
        >>> fingerprint_form("RT @jano: Pozor,  klamú!  https://t.co/x")
        'pozor klamú'
    """
    return normal_form(text).removeprefix("rt ")


def row_forms(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    form: Callable[[str], str] = normal_form,
) -> list[str]:
    """Return the form of each row, of a pair those of both texts."""
    firsts = [form(text) for text in texts]
    if pairs is None:
        return firsts
    return [f"{first}\n{form(second)}" for first, second in zip(firsts, pairs, strict=True)]
