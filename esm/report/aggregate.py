"""The table of a ranking over all attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esm.report.table import Table, number

if TYPE_CHECKING:
    from esm.ranking.result import Ranking

_HOW = (
    "mean rank over the attributes; equal ones by mean predicted gain. One source for all"
    " attributes is a compromise: best and worst show for whom"
)


def aggregate_tables(ranking: Ranking, top: int = 0) -> list[Table]:
    """Return one table of the sources over all attributes; none where it was not asked for.

    Args:
        ranking: The ranking.
        top: Sources to show; 0 for all.
    """
    if not ranking.aggregate:
        return []
    shown = ranking.aggregate[:top] if top else ranking.aggregate
    rows = [
        (
            str(line.rank),
            line.source,
            number(line.mean_rank, 2),
            str(line.best_rank),
            str(line.worst_rank),
            number(line.mean_gain, 4, sign=True),
        )
        for line in shown
    ]
    last = len(ranking.aggregate)
    notes = [_HOW]
    notes += [
        f"{line.source} is not ranked for {', '.join(line.missing)}: counted as place {last} there"
        for line in shown
        if line.missing
    ]
    if len(shown) < last:
        notes.append(f"{last - len(shown)} further sources: --top 0")
    return [
        Table(
            title=f"{ranking.target}, all {len(ranking.attributes)} attributes together",
            columns=("rank", "source", "mean rank", "best", "worst", "mean predicted gain"),
            rows=rows,
            notes=notes,
            left=frozenset({"source"}),
        )
    ]
