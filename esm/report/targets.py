"""One table of several targets: what is best for each attribute, how sure, what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esm.common.errors import RankingError
from esm.report.numbers import MISSING, number
from esm.report.ranking import expected_gain
from esm.report.reliability import flag_notes, flags, trust, trust_note
from esm.report.table import Table, notes_table, skipped_notes
from esm.report.why import why_tables
from esm.tasks.raw import attribute_id

if TYPE_CHECKING:
    from esm.pool.pool import Skipped
    from esm.ranking.result import AttributeRanking, Ranking

_COLUMNS = (
    "target",
    "attribute",
    "rows",
    "best source",
    "predicted gain",
    "expected, points",
    "trust",
    "flags",
    "ranked",
    "left out",
    "regret@1 %",
)
_WHERE_KNOWN = {"expected, points", "regret@1 %"}


def target_tables(
    rankings: Sequence[Ranking], skipped: Sequence[Skipped], *, why: str | None = None
) -> list[Table]:
    """Return a line per target and attribute; targets and columns left out stand below.

    Args:
        rankings: The rankings.
        skipped: Targets that could not be ranked.
        why: Show what spoke for and against this source instead, of each target.
    """
    if why is not None:
        return _why(rankings, skipped, why)
    rows = [
        _row(ranking, name, ranked)
        for ranking in rankings
        for name, ranked in ranking.attributes.items()
    ]
    notes = [note for ranking in rankings for note in _notes(ranking)]
    unknown = {
        head
        for place, head in enumerate(_COLUMNS)
        if head in _WHERE_KNOWN and all(row[place] == MISSING for row in rows)
    }
    return [
        Table(
            title=f"{len(rankings)} targets, {len(rows)} attributes; {len(skipped)} skipped",
            columns=[head for head in _COLUMNS if head not in unknown],
            rows=[
                [cell for head, cell in zip(_COLUMNS, row, strict=True) if head not in unknown]
                for row in rows
            ],
            notes=[
                "left out: sources that could not be scored; esm show of a result in --out FOLDER"
                " says which and shows all places",
                *dict.fromkeys(map(trust_note, rankings)),
                *flag_notes([row[_COLUMNS.index("flags")] for row in rows]),
                *skipped_notes(skipped),
            ],
            left=frozenset({"target", "attribute", "best source", "trust", "flags"}),
            further=frozenset({"rows", "expected, points", "flags", "ranked"}),
            keys=2,
        ),
        *notes_table(notes),
    ]


def _row(ranking: Ranking, name: str, ranked: AttributeRanking) -> tuple[str, ...]:
    best = ranked.ranking[0]
    truth = ranking.truth or {"targets": {}}
    judged = truth["targets"].get(attribute_id(ranking.target, name), {})
    known = any(line.overlap is not None for line in ranked.ranking)
    return (
        ranking.target,
        name,
        str(ranked.examples),
        best.source,
        number(best.gain, 4, sign=True),
        MISSING if best.expected is None else f"{ranked.metric} {expected_gain(best)}",
        trust(ranking, best),
        flags(best, overlap_known=known, firsts=[best.source]),
        str(len(ranked.ranking)),
        str(len(ranked.skipped)),
        number(judged.get("regret@1"), 2),
    )


def _notes(ranking: Ranking) -> list[str]:
    """Return what is to be said of one target: doubts, columns that are not ranked, no gain."""
    hopeless = [
        name
        for name, ranked in ranking.attributes.items()
        if (gains := [line.expected.gain for line in ranked.ranking if line.expected is not None])
        and max(gains) <= 0
    ]
    return [
        *(
            f"{ranking.target}/{name}: no source is expected to beat the base model; the best"
            " choice is none"
            for name in hopeless
        ),
        *(
            f"{ranking.target}/{name} is not ranked: {why}"
            for name, why in ranking.unusable.items()
        ),
        *(f"{ranking.target}: {warning}" for warning in ranking.warnings),
    ]


def _why(rankings: Sequence[Ranking], skipped: Sequence[Skipped], source: str) -> list[Table]:
    tables, notes = [], skipped_notes(skipped)
    for ranking in rankings:
        try:
            tables += why_tables(ranking, source)
        except RankingError as error:
            notes.append(f"{ranking.target}: {error}")
    return [*tables, *notes_table(notes)]
