"""What a licence text allows: licences of data are free texts, and most of them are not read.

This is a reading aid and no legal advice: it finds what a text plainly says, and calls the rest
unknown.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from enum import StrEnum

NOT_STATED = "not stated"


class Terms(StrEnum):
    """Whether a licence allows commercial use.

    UNKNOWN is what is not stated, unclear, or said of a part only. Copyleft licences (GPL, share
    alike) allow commercial use; their other conditions are not looked at.
    """

    COMMERCIAL = "commercial"
    NON_COMMERCIAL = "non-commercial"
    UNKNOWN = "unknown"


# "NC" stands in "CC BY-NC-SA" between hyphens or blanks, whatever the case.
_NON_COMMERCIAL = re.compile(
    r"non[\s-]?commercial|\bnc\b"
    r"|\bresearch(\s+and\s+educational|\s+or\s+educational)?\s+(purposes?|use)(\s+only)?"
    r"|(academic|research|educational|personal)([\s-]+use)?[\s-]+only"
    r"|no(t\s+for)?\s+commercial\s+use"
)

# Full names, abbreviations and SPDX ids; a licence's version may follow.
_COMMERCIAL = re.compile(
    r"\b(cc-?0|cc[\s-]by([\s-](sa|nd))*|(creative commons )?attribution([\s-]+share[\s-]?alike)?"
    r"|public[\s-]domain|pddl|odc-by|odbl|open database license|cdla-(permissive|sharing)"
    r"|mit|(new |simplified |\d-clause )?bsd|isc|zlib|unlicense|wtfpl|apache|[al]?gpl(v\d)?"
    r"|gnu (lesser |affero )?general public licen[cs]e|mpl|mozilla public licen[cs]e|epl|eupl"
    r"|afl|academic free licen[cs]e|artistic|ecl|ms-pl|postgresql|ncsa)\b"
)
# What such a text says of something else than the data at hand, or takes back.
_DOUBT = re.compile(
    r"\b(terms?\s+(of\s+\w+\s+)?appl(y|ies)|terms?\s+and\s+\w+.?s\s+apply|not\s+restricted\s+by"
    r"|copyright\s+of|keep\s+the\s+copyright|fair\s+use|unless|except|mixed)\b"
)
_UNSTATED = re.compile(
    r"(not\s+(stated|specified|given|known)|unknown|unspecified|other|none|n/?a|no\s+licen[cs]e"
    r"|\?|-)?(\s*\(.*\))?"
)


def terms(licence: str) -> Terms:
    """Return what a licence text says of commercial use.

    One non-commercial part makes the whole non-commercial; a doubt beside a licence that allows
    commercial use makes it unknown.

    Example:
        >>> str(terms("CC BY-NC-SA 4.0")), str(terms("Apache-2.0")), str(terms("not stated"))
        ('non-commercial', 'commercial', 'unknown')
    """
    text = " ".join(licence.casefold().replace("_", "-").split())
    if _NON_COMMERCIAL.search(text):
        return Terms.NON_COMMERCIAL
    if _COMMERCIAL.search(text) and not _DOUBT.search(text):
        return Terms.COMMERCIAL
    return Terms.UNKNOWN


def is_stated(licence: str) -> bool:
    """Return whether a licence is named at all."""
    return _UNSTATED.fullmatch(" ".join(licence.casefold().split())) is None


def licence_label(licence: str, *, longest: int | None = None) -> str:
    """Return a licence for a table: what is not stated is said, what restricts is marked.

    Args:
        licence: The licence text.
        longest: Letters to keep of a longer text, whole words; None keeps all.

    Example:
        >>> marked("CC BY 4.0"), marked("cc-by-nc-4.0"), marked("")
        ('CC BY 4.0', 'cc-by-nc-4.0 (non-commercial)', 'not stated')
    """
    if not is_stated(licence):
        return NOT_STATED
    found = terms(licence)
    text = licence if longest is None else textwrap.shorten(licence, longest, placeholder=" ...")
    if found is Terms.NON_COMMERCIAL and not re.search(r"non-?commercial", text.casefold()):
        return f"{text} (non-commercial)"
    return f"{text} (unclear)" if found is Terms.UNKNOWN else text


def fits(licence: str, wanted: Iterable[str]) -> bool:
    """Return whether a licence meets any of the terms wanted; with none, all do.

    Args:
        licence: The licence text.
        wanted: ``commercial`` (commercial use is allowed), ``stated`` (it is named at all), or a
            part of the licence's name, in whatever case.

    Example:
        >>> fits("CC BY-NC 4.0", ["commercial"]), fits("CC BY-NC 4.0", ["mit", "cc by"])
        (False, True)
    """
    named = [term.strip().casefold() for term in wanted if term.strip()]
    return not named or any(_meets(licence, term) for term in named)


def _meets(licence: str, term: str) -> bool:
    if term == Terms.COMMERCIAL:
        return terms(licence) is Terms.COMMERCIAL
    if term == "stated":
        return is_stated(licence)
    return _letters(term) in _letters(licence)


def _letters(text: str) -> str:
    """Return a text in which ``CC BY-SA 4.0`` and ``cc-by-sa-4.0`` are the same."""
    return re.sub(r"[\s_-]+", "-", text.casefold())
