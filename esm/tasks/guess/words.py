"""Words of column names and labels without case and accents, to compare them with known ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_ENDINGS = re.compile(r"[aeiouy]+$")
_SHORTEST_INFLECTED = 4


def plain_words(name: object) -> tuple[str, ...]:
    """Return the words of a name, without case and accents.

    Example:
        >>> plain_words("Dátum_príspevku"), plain_words("userName2")
        (('datum', 'prispevku'), ('user', 'name', '2'))
    """
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))
    decomposed = unicodedata.normalize("NFKD", spread.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return tuple(re.findall(r"[^\W\d_]+|\d+", plain))


def stem(word: str) -> str:
    """Return a plain word without its vowels at the end: ``nizka`` and ``nizke`` are one word."""
    return _ENDINGS.sub("", word) if len(word) >= _SHORTEST_INFLECTED else word


def stems(words: str) -> tuple[str, ...]:
    """Return the stems of plain words that are separated by blanks."""
    return tuple(dict.fromkeys(stem(word) for word in words.split()))


def says(name: object, known: Collection[str]) -> bool:
    """Return whether one of a name's words is among these, whatever its ending.

    Args:
        name: A column's name.
        known: Stems, see :func:`stems`.
    """
    return any(stem(word) in known for word in plain_words(name))


def says_only(name: object, known: Collection[str]) -> bool:
    """Return whether all of a name's words are among these stems."""
    return all(stem(word) in known for word in plain_words(name))
