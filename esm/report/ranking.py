"""The tables of a ranking: one per attribute, with what it rests on and what it left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from esm.ranking.leaks.overlap import percent
from esm.report.numbers import MISSING, number
from esm.report.reliability import flag_notes, flags, trust, trust_note
from esm.report.table import LICENCE_LETTERS, Table, notes_table, skipped_notes
from esm.scorers.base import EmbeddingKind
from esm.tasks.licences import licence_label
from esm.tasks.raw import attribute_id

if TYPE_CHECKING:
    from esm.ranking.result import AttributeRanking, RankedSource, Ranking, Refined

# Sources that a set passed over are named up to this many.
_PASSED_OVER = 5

_Cell = Callable[["RankedSource"], str]


def ranking_tables(ranking: Ranking, top: int = 0) -> list[Table]:
    """Return one table per attribute: rank, source, predicted gain, how far to trust it, flags.

    The ranking over all attributes stands before them where there is one. Where the scorer does
    not score the untouched base model, the score stands for the gain.

    Args:
        ranking: The ranking; with the regret by measured results, where it was judged by them.
        top: Sources to show per attribute; 0 for all.
    """
    tables = []
    for name, ranked in ranking.attributes.items():
        tables += [_attribute_table(ranking, name, ranked, top), *diverse_table(ranked)]
    return [
        *aggregate_tables(ranking, top),
        *tables,
        *notes_table(_legend(ranking, tables)),
        *unusable_table(ranking.unusable),
        *notes_table(ranking.warnings),
    ]


def _legend(ranking: Ranking, tables: Iterable[Table]) -> list[str]:
    """Say what the columns of the tables mean that are in use."""
    notes = [trust_note(ranking)]
    shown = [
        row[table.columns.index("flags")]
        for table in tables
        if "flags" in table.columns
        for row in table.rows
    ]
    notes += flag_notes(shown)
    if ranking.config.bootstrap:
        notes.append(
            f"intervals, probability of the top {ranking.config.top_k} and groups that cannot be"
            f" told from their first: bootstrap of the rows, {ranking.config.bootstrap} draws"
        )
    return notes


def unusable_table(reasons: Mapping[str, str]) -> list[Table]:
    """Return a table of the columns that cannot be predicted; none where all can."""
    if not reasons:
        return []
    columns = ("column", "why it cannot be predicted")
    return [Table("", columns, list(reasons.items()), left=frozenset(columns))]


def _columns(ranking: Ranking, ranked: AttributeRanking) -> tuple[dict[str, _Cell], set[str]]:
    """Return what can be shown of each source, by heading, and which of it with --wide alone."""
    digits = 0 if all(line.score.is_integer() for line in ranked.ranking) else 4
    overlap_known = any(line.overlap is not None for line in ranked.ranking)
    groups = {line.group: line.source for line in reversed(ranked.ranking)}
    columns: dict[str, _Cell] = {
        "rank": lambda line: str(line.rank),
        "source": lambda line: line.source,
        "score": lambda line: number(line.score, digits),
    }
    further = {"map R²", "source rows", "overlap", "licence"}
    if ranked.base_score is not None:
        columns["predicted gain"] = lambda line: number(line.gain, 4, sign=True)
        further.add("score")
    if any(line.expected for line in ranked.ranking):
        columns[f"expected {ranked.metric}, points"] = expected_gain
    columns["trust"] = lambda line: trust(ranking, line)
    columns["flags"] = lambda line: flags(line, overlap_known=overlap_known, firsts=groups.values())
    if ranking.config.bootstrap:
        top = f"top {ranking.config.top_k}"
        columns["90 % interval"] = _interval
        columns[top] = lambda line: number(line.top_probability, 2)
        columns["group"] = lambda line: MISSING if line.group is None else str(line.group)
        further |= {"90 % interval", top, "group"}
    if ranked.refined is not None:
        columns["scored by"] = lambda line: line.scored_by
        if ranked.refined.sources == len(ranked.ranking):
            further.add("scored by")
    if ranking.reads is EmbeddingKind.MAPPED:
        fit = "map R²" if ranked.refined is None else "R²"
        further.add(fit)
        columns[fit] = lambda line: number(line.r2, 2)
    columns["source rows"] = lambda line: MISSING if line.size is None else str(line.size)
    if overlap_known:
        columns["overlap"] = _overlap
    columns["licence"] = lambda line: licence_label(line.licence, longest=LICENCE_LETTERS)
    return columns, further


def expected_gain(line: RankedSource) -> str:
    """Return the expected gain with its interval of 90 %."""
    if line.expected is None:
        return MISSING
    low, high = number(line.expected.low, 1, sign=True), number(line.expected.high, 1, sign=True)
    return f"{number(line.expected.gain, 1, sign=True)} ({low} to {high})"


def _expectation_notes(ranked: AttributeRanking) -> list[str]:
    """Say so where no source is expected to help."""
    expected = [line.expected.gain for line in ranked.ranking if line.expected is not None]
    if not expected or max(expected) > 0:
        return []
    return ["no source is expected to beat the base model; the best choice is none"]


def _interval(line: RankedSource) -> str:
    """Return the bounds of a gain, signed."""
    if line.gain_low is None or line.gain_high is None:
        return MISSING
    return f"{number(line.gain_low, 4, sign=True)} to {number(line.gain_high, 4, sign=True)}"


def _overlap(line: RankedSource) -> str:
    """Return the largest share of the target's texts that a source may have leaked."""
    if line.overlap is None:
        return MISSING
    if line.sibling:
        return "its own"
    return percent(line.overlap.largest)


def _attribute_table(ranking: Ranking, name: str, ranked: AttributeRanking, top: int) -> Table:
    shown = ranked.ranking[:top] if top else ranked.ranking
    notes = [_basis(ranking, ranked)]
    if len(shown) < len(ranked.ranking):
        notes.append(f"{len(ranked.ranking) - len(shown)} further sources: --top 0")
    target = attribute_id(ranking.target, name)
    if ranking.truth is not None:
        notes += _truth_notes(ranking.truth, target)
    columns, further = _columns(ranking, ranked)
    return Table(
        title=f"{ranking.target}/{name}",
        columns=tuple(columns),
        rows=[tuple(cell(line) for cell in columns.values()) for line in shown],
        notes=[*notes, *_expectation_notes(ranked), *skipped_notes(ranked.skipped)],
        left=frozenset({"source", "trust", "flags", "licence"}),
        further=frozenset(further),
        keys=2,
    )


def diverse_table(ranked: AttributeRanking) -> list[Table]:
    """Return the set of sources that together promise most; none where it was not asked for."""
    found = ranked.diverse
    if found is None:
        return []
    places = {line.source: line.rank for line in ranked.ranking}
    rows = [
        (
            str(place),
            pick.source,
            str(places[pick.source]),
            number(pick.adds, 2, sign=True),
            pick.likest or MISSING,
            number(pick.likeness, 2),
        )
        for place, pick in enumerate(found.picks, start=1)
    ]
    notes = [
        "adds: to the expected best of the set, in standard deviations of what sources really"
        " give; alike: alignment of the target's embeddings, 1 for a copy"
    ]
    notes += [
        f"passed over: {one.source}, {one.likeness:.2f} like {one.likest}"
        for one in found.passed_over[:_PASSED_OVER]
    ]
    more = len(found.passed_over) - _PASSED_OVER
    if more > 0:
        notes.append(f"passed over: {more} more")
    columns = ("pick", "source", "rank", "adds", "most alike", "alike")
    left = frozenset({"source", "most alike"})
    title = "a set that together promises most"
    return [Table(title, columns, rows, notes=notes, left=left, keys=2)]


def _basis(ranking: Ranking, ranked: AttributeRanking) -> str:
    """Say what was scored, how, in which unit, and what the base model scores."""
    read = {
        EmbeddingKind.MAPPED: f"{ranking.config.form} maps, ",
        EmbeddingKind.TUNED: "deltas or tuned encoders, ",
        None: "",
    }[ranking.reads]
    scored = f"{'balanced ' if ranked.balanced else ''}{ranking.scorer} ({ranking.unit})"
    basis = f"{ranked.examples} training rows, {len(ranked.ranking)} sources, {read}{scored}"
    if ranked.refined is not None:
        return f"{basis}{_refined_basis(ranked.refined, number(ranked.base_score, 4))}"
    if ranked.base_score is None:
        return f"{basis}, higher is better"
    return f"{basis}; the untouched base embeddings score {number(ranked.base_score, 4)}"


def _refined_basis(refined: Refined, base_by_map: str) -> str:
    """Say which lines were scored by what, and that the two kinds are not compared."""
    searched = ", then ".join(f"{one.sources} on {one.rows}" for one in refined.rounds)
    how = f" (by halving, sources on texts: {searched})" if len(refined.rounds) > 1 else ""
    parts = [
        f"; the first {refined.sources} scored again on embeddings by their deltas, on"
        f" {refined.rows} rows drawn by class{how}: the base embeddings of those score"
        f" {number(refined.base_score, 4)}"
    ]
    if len(refined.rounds) > 1 or refined.without or refined.skipped:
        parts.append(f"below them the others by their maps, not to be compared: base {base_by_map}")
    if refined.without:
        parts.append(f"{refined.without} of these have no delta")
    parts += [f"{one.source} could not be refined: {one.reason}" for one in refined.skipped]
    return "; ".join(parts)


def _truth_notes(truth: Mapping[str, Any], target: str) -> list[str]:
    """Return the regrets in the JSON form of an :class:`~esm.metrics.evaluate.Evaluation`."""
    if target not in truth["targets"]:
        return [f"measured results: {truth['left_out']['targets'].get(target, 'none')}"]
    regrets = [
        f"{name} {number(value, 2)} %"
        for name, value in truth["targets"][target].items()
        if name.startswith("regret@")
    ]
    return [f"by measured results: {', '.join(regrets)}"]


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
            keys=2,
        )
    ]
