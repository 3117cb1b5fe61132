"""What a ranking's narrow table says of a source beside its gain: a mark of trust, and flags.

Both are words, so that nothing hangs on colour, and both come from facts that stand in full in the
table with ``--wide`` and in the JSON. No threshold was fitted: an interval has a natural zero, a
map that explains less than half leaves more than it says, and nine in ten is "nearly always".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from esm.ranking.leaks.overlap import percent
from esm.report.numbers import MISSING
from esm.scorers.base import EmbeddingKind
from esm.scorers.names import ScorerName
from esm.tasks.licences import Terms, is_stated, terms

if TYPE_CHECKING:
    from esm.ranking.result import RankedSource, Ranking

_NEARLY_ALWAYS = 0.9
_HALF = 0.5
_BOOTSTRAPPED = (ScorerName.LOGME, ScorerName.TUNED_LOGME)

NON_COMMERCIAL, LICENCE_UNCLEAR = "NC", "licence?"


class Trust(StrEnum):
    """How far the gain that is predicted of a source can be relied on."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def trust(ranking: Ranking, line: RankedSource) -> str:
    """Return the mark of a source, or a dash where nothing is known that would decide it.

    LOW, where any of these holds: texts of the target are among those that the source was trained
    on, the 90 % interval of its gain holds zero, its map, or the delta that it was scored by,
    explains less than half of the variance on texts of other tasks. HIGH, where an interval leaves
    out zero, the source is within the best k, or without, in nine of ten draws of the bootstrap,
    and that R², where one is scored, is known. MEDIUM else.
    """
    mapped = ranking.reads is EmbeddingKind.MAPPED
    r2 = line.r2 if mapped else None
    holds_zero = None
    if line.gain_low is not None and line.gain_high is not None:
        holds_zero = line.gain_low <= 0 <= line.gain_high
    if _leaks(line) or holds_zero or (r2 is not None and r2 < _HALF):
        return Trust.LOW
    if holds_zero is None:
        return MISSING if r2 is None else Trust.MEDIUM
    within = line.top_probability or 0.0
    steady = max(within, 1 - within) >= _NEARLY_ALWAYS
    known = not mapped or r2 is not None
    return Trust.HIGH if steady and known else Trust.MEDIUM


def _leaks(line: RankedSource) -> bool:
    return line.overlap is not None and line.overlap.flagged and not line.sibling


def licence_flag(licence: str) -> str:
    """Return the flag of a licence that may restrict the use of a model; empty for none."""
    found = terms(licence) if is_stated(licence) else Terms.UNKNOWN
    return {Terms.NON_COMMERCIAL: NON_COMMERCIAL, Terms.UNKNOWN: LICENCE_UNCLEAR}.get(found, "")


def flags(line: RankedSource, *, overlap_known: bool, firsts: Iterable[str] = ()) -> str:
    """Return what to mind of a source, by commas; a dash for nothing.

    Args:
        line: The source.
        overlap_known: Whether it is known of other sources which texts they share with the target.
        firsts: The first source of every group of the bootstrap.
    """
    found = [
        f"leak {percent(line.overlap.largest)}" if _leaks(line) and line.overlap else "",
        "own data" if line.sibling else "",
        "leak?" if overlap_known and line.overlap is None and not line.sibling else "",
        "tied" if line.group is not None and line.source not in firsts else "",
        licence_flag(line.licence),
    ]
    return ", ".join(flag for flag in found if flag) or MISSING


_MEANINGS: dict[str, str] = {
    "leak": "the source was trained on this share of the target's texts",
    "own data": "made of the target's own data; none of its training texts is a test text",
    "leak?": "not known which texts it was trained on",
    "tied": "the bootstrap cannot tell it from the first of its group",
    NON_COMMERCIAL: "its licence forbids commercial use",
    LICENCE_UNCLEAR: "its licence is not stated, or unclear on commercial use",
}


def flag_notes(shown: Iterable[str]) -> list[str]:
    """Return what the flags mean that are shown, in a line; nothing where there are none."""
    words = {re.sub(r"^leak .*", "leak", flag) for cell in shown for flag in cell.split(", ")}
    meant = [f"{flag}: {meaning}" for flag, meaning in _MEANINGS.items() if flag in words]
    return [f"flags: {'; '.join(meant)}"] if meant else []


def trust_note(ranking: Ranking) -> str:
    """Return what the marks mean, in a line."""
    mapped = ranking.reads is EmbeddingKind.MAPPED
    leak = "the source was trained on texts of the target"
    is_refined = any(one.refined is not None for one in ranking.attributes.values())
    fitted = "the map, or the delta," if is_refined else "the map"
    flat = f"{fitted} explains less than half on texts of other tasks (R² < 0.5)"
    if not ranking.config.bootstrap:
        low = f"low where {flat} or {leak}" if mapped else f"low where {leak}"
        rest = "medium else, - where R² is not known" if mapped else "- else: nothing decides it"
        more = "; high takes --bootstrap 200" if ranking.scorer in _BOOTSTRAPPED else ""
        return f"trust: {low}; {rest}{more}"
    high = (
        "the 90 % interval of the gain leaves out 0 and nine of ten draws agree whether it is in"
        f" the top {ranking.config.top_k}"
    )
    low = f"the interval holds 0, {flat} or {leak}" if mapped else f"the interval holds 0 or {leak}"
    return f"trust: low where {low}; else high where {high}; medium else"
