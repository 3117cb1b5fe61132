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


def says(name: object, words: Collection[str]) -> bool:
    """Return whether one of a name's words is among these, whatever its ending.

    Args:
        name: A column's name.
        words: Plain words, such as ``author`` and ``zdroj``.
    """
    stems = {stem(word) for word in words}
    return any(stem(word) in stems for word in plain_words(name))
