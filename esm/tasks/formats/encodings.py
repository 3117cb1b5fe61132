"""A file's bytes to its text: which encoding it is in, where nobody has said."""

from __future__ import annotations

import codecs
import contextlib
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from esm.common.errors import TaskError

_LOGGER = logging.getLogger(__name__)

_UTF8 = ("utf-8", "utf-8-sig")
# The longer marks first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What spreadsheets and older programs of Europe write; the first of equally good ones is taken.
_CANDIDATES = ("cp1250", "cp1252", "iso8859_2", "cp1251")
# Letters beyond a to z of languages that are written in these encodings.
_LATIN = (
    "áäčďéíĺľňóôŕšťúýžěřů",  # Slovak, Czech
    "ąćęłńóśźż",  # Polish
    "áéíóöőúüű",  # Hungarian
    "čćđšž",  # Croatian, Slovene
    "ăâîşţșț",  # Romanian
    "äöüßàâæçéèêëîïôœùûÿìíòóúñ",  # German, French, Italian, Spanish
    "áàâãçéêíóôõú",  # Portuguese
    "åäöæøé",  # Swedish, Danish, Norwegian, Finnish
)
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёєіїґўђѓјљњћќџ"
_OF_ALL = "„“”‚‘’«»–—…•·§°€©®™²³½±×¿¡ªº\u00a0"
_TWO_SCRIPTS = re.compile(f"[a-z][{_CYRILLIC}]|[{_CYRILLIC}][a-z]")
# A smaller share of letters that fit says that the file is in yet another encoding.
_SMALLEST_FIT = 0.7
_NAMED = "name the encoding, for instance --encoding cp1250"


@dataclass(frozen=True)
class Decoded:
    """A file's text, without a byte order mark, and the encoding that it was in."""

    text: str
    encoding: str


def read_text(path: Path, encoding: str | None = None) -> str:
    """Read a text file; where its encoding was found out and is not UTF-8, say so on stderr.

    Raises:
        TaskError: As :func:`decode`.
    """
    decoded = decode(path, encoding)
    if encoding is None and decoded.encoding not in _UTF8:
        _LOGGER.warning(f"{path.name}: read as {decoded.encoding}; --encoding names another one")
    return decoded.text


def decode(path: Path, encoding: str | None = None) -> Decoded:
    """Read a text file in the encoding named, or in the one that it seems to be in.

    A byte order mark decides, then whether the file is UTF-8 as a whole. Any other file is taken
    for one of the single-byte encodings cp1250, cp1252, iso8859_2 and cp1251: the one in which
    its letters fit the alphabet of one language best. (General detectors look at what is odd in a
    text; they cannot tell cp1250 from iso8859_2, where š, ť and ž become other letters.)

    Raises:
        TaskError: The file is not in the encoding named, Python does not know that encoding, or
            no encoding fits.
    """
    content = path.read_bytes()
    if encoding is not None:
        return _decode_as(path, content, encoding)
    mark = next((mark for mark in _MARKS if content.startswith(mark)), None)
    if mark is not None:
        return _decode_as(path, content, _MARKS[mark])
    if b"\0" in content:
        raise TaskError(
            f"{path} holds zero bytes",
            expected="text; UTF-16 without a byte order mark has such bytes",
            hint="name the encoding, for instance --encoding utf-16-le",
        )
    try:
        return Decoded(content.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        return _decode_single_bytes(path, content, error)


def _decode_as(path: Path, content: bytes, encoding: str) -> Decoded:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path} is not {encoding}: {_place(content, error)}",
            expected=f"text in {encoding}",
            hint="name its own encoding with --encoding, or leave the option out",
        ) from error
    except LookupError as error:
        raise TaskError(
            f"encoding {encoding!r} is unknown",
            expected="a text encoding that Python knows",
            hint="for instance utf-8, utf-16, cp1250 or iso8859_2",
        ) from error
    return Decoded(text.removeprefix("\ufeff"), encoding)


def _decode_single_bytes(path: Path, content: bytes, error: UnicodeDecodeError) -> Decoded:
    if _is_mostly_utf8(content):
        raise TaskError(
            f"{path} is UTF-8 with damage: {_place(content, error)}",
            expected="UTF-8 throughout",
            hint=f"mend the file, or {_NAMED}",
        ) from error
    fits: dict[str, float] = {}
    for encoding in _CANDIDATES:
        # An encoding that lacks one of the bytes is out of the question.
        with contextlib.suppress(UnicodeDecodeError):
            fits[encoding] = _fit_of_letters(content.decode(encoding))
    best = max(fits, key=fits.__getitem__, default="")
    if fits.get(best, 0.0) < _SMALLEST_FIT:
        raise TaskError(
            f"{path} is neither UTF-8 ({_place(content, error)}) nor, by its letters, one of"
            f" {', '.join(_CANDIDATES)}",
            expected="text in one of these encodings",
            hint=_NAMED,
        ) from error
    return _decode_as(path, content, best)


def _is_mostly_utf8(content: bytes) -> bool:
    """Return whether most of what is not ASCII is well-formed UTF-8, by chance a rare thing."""
    damaged = content.decode("utf-8", "replace").count("\ufffd")
    whole = sum(not char.isascii() for char in content.decode("utf-8", "ignore"))
    return whole > damaged


def _fit_of_letters(text: str) -> float:
    """Return the share of what is not ASCII that belongs to one language's writing."""
    counts = Counter(char for char in text.lower() if not char.isascii())

    def count(chars: str) -> int:
        return sum(counts[char] for char in chars)

    # No word is written in two scripts: read as Cyrillic, a Latin text is full of such words.
    cyrillic = count(_CYRILLIC) - len(_TWO_SCRIPTS.findall(text.lower()))
    return (count(_OF_ALL) + max(cyrillic, *map(count, _LATIN))) / counts.total()


def _place(content: bytes, error: UnicodeDecodeError) -> str:
    line = content.count(b"\n", 0, error.start) + 1
    return f"byte 0x{content[error.start]:02x} in line {line}"
