"""The name of a label: one normal form for what is written in different ways and looks the same."""

from __future__ import annotations

import functools
import re
import unicodedata

# Soft hyphen, zero-width space, marks of direction, word joiner, byte order mark.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# Joiners inside a word are letters of Persian and of emoji; at its ends they are nothing.
_JOINERS = "\u200c\u200d"
_WHOLE = re.compile(r"([-+]?\d+)\.0+")
_AT_ENDS = " .,;:!?\"'`´‘’‚“”„«»‹›"
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_BETWEEN_WORDS = re.compile(r"[\s_\-]+")
# Letters of Cyrillic and Greek that look like Latin ones, as capitals or in lower case.
_LOOKS_LATIN = str.maketrans(
    "аеорсухіјѕһԁԛԝьвнкмтαβγικνορτυχ",
    "aeopcyxijshdqwbbhkmtabyiknoptux",
)


def label_name(value: object) -> str:
    """Return a label as a string in its normal form; 1, 1.0 and "1" are the same class.

    Letters and their accents are one character (NFC), spaces of all kinds one blank, spaces at the
    ends and characters without width nothing: no one who reads two such labels can tell them apart.

    Example:
        >>> label_name("áno\u00a0"), label_name(1.0)
        ('áno', '1')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _normal(value) if isinstance(value, str) else str(value)


@functools.lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip(_JOINERS)
    return " ".join(text.split())


def spelling_key(name: str) -> str:
    """Return what is left of a label's name without case, dots at its end, quotes and width.

    Labels with the same key are spellings of one class, unless the training rows have both.

    Example:
        >>> spelling_key("Reliable."), spelling_key("2.0")
        ('reliable', '2')
    """
    folded = _DASHES.sub("-", unicodedata.normalize("NFKC", name).casefold())
    plain = unicodedata.normalize("NFC", folded).strip(_AT_ENDS) or folded
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain


def look(name: str) -> str:
    """Return what a label looks like: its key without accents, and letters of other scripts.

    Blanks, hyphens and underscores between words do not count either. Labels that look the same may
    be different classes.
    """
    decomposed = unicodedata.normalize("NFD", spelling_key(name)).translate(_LOOKS_LATIN)
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    between = _BETWEEN_WORDS.sub("", plain)
    # The sign of a number is all that tells it from another one.
    return f"-{between}" if plain.startswith("-") and between.isdecimal() else between or plain
