"""A ranking: what ``esm rank`` finds, writes and reads back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from esm.common.errors import RankingError
from esm.common.records import Record, parse
from esm.common.storage import read_json, write_json
from esm.maps.forms import MapForm
from esm.pool.pool import Skipped
from esm.ranking.diverse import DiverseSet
from esm.ranking.leaks.overlap import Overlap
from esm.scorers.base import NATS, EmbeddingKind
from esm.scorers.forecast import Expected
from esm.scorers.registry import ScorerName
from esm.tasks.licences import Terms
from esm.tasks.raw import attribute_id
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric


class Balance(StrEnum):
    """Whether every class weighs the same in the score.

    AUTO follows the target's metric: classes are balanced where it is macro-F1.
    """

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Round(Record):
    """One round of a refinement: so many sources on so many rows of the target, all attributes'."""

    sources: int
    rows: int


class Refined(Record):
    """How the first lines of a ranking were scored: on embeddings by deltas.

    Attributes:
        sources: How many they are; the others follow, by their maps.
        rows: Rows of the attribute that they were scored on.
        base_score: Score of the untouched base embeddings of these rows.
        rounds: What was scored on what, the last round being what the lines show.
        without: Sources that could not be refined, having neither a delta nor a tuned encoder.
        skipped: Those whose delta or tuned encoder cannot be used, with the reason.
    """

    sources: int
    rows: int
    base_score: float
    rounds: tuple[Round, ...]
    without: int = 0
    skipped: tuple[Skipped, ...] = ()


class RankConfig(Record):
    """Settings of a ranking.

    Attributes:
        scorer: How sources are scored.
        embeddings: What stands for a source, for scorers that leave it open; None for the
            scorer's own choice (see :func:`esm.scorers.registry.make_scorer`).
        results: Where the measured results for the scorer ``static`` come from, for the record.
        max_examples: Training texts that are used, one stratified sample for all attributes, so
            that each text is embedded once; where there are fewer, all.
        form: Which maps to score; None takes the anchored ones where the pool has any, else the
            published ones. A ranking holds which were taken.
        balance: Class balance of the score.
        max_chunks: Most windows in which a long text of the target is read, here and in a
            validation; None for the pool's number.
        seed: Seed of the sample.
        licences: Terms that a source's licence must meet, any of them: ``commercial``, ``stated``
            or a part of the licence's name (see :func:`esm.tasks.licences.fits`); empty takes all.
        strict: Raise for a damaged pool entry (with a shortlist, one that it looks at), or an
            attribute that cannot be ranked, instead of leaving it out.
        aggregate: Also rank the sources for all attributes together.
        bootstrap: Draws of the bootstrap that gives predicted gains an interval; 0 for none.
        diverse: Sources of a set that together promise most (:mod:`esm.ranking.diverse`); 0 for
            none.
        top_k: Best sources that the bootstrap's probability of being among them counts.
        exclude_overlap: Largest share of the target's texts, or of its test texts, that a source
            may hold, exactly or nearly (see :mod:`esm.ranking.leaks.overlap`); None leaves none out
            for it.
        shortlist: Most sources of a packed pool to score, chosen by the signatures of their maps
            (:mod:`esm.ranking.shortlist`); 0 scores all.
        refine: Which sources are scored again on embeddings by their deltas, for the scorer
            ``logme`` (:mod:`esm.ranking.refine`): ``all``, the best so many, ``none``, or ``auto``
            for all up to a stated cost and an eighth of more.
        near_tests: Also embed the test texts and look for near copies of them; exact ones are
            looked for anyway.
    """

    scorer: ScorerName = ScorerName.LOGME
    embeddings: EmbeddingKind | None = None
    results: str | None = None
    max_examples: int = Field(default=1000, ge=2)
    form: MapForm | None = None
    balance: Balance = Balance.AUTO
    max_chunks: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    licences: tuple[str, ...] = ()
    strict: bool = False
    aggregate: bool = False
    bootstrap: int = Field(default=0, ge=0)
    diverse: int = Field(default=0, ge=0)
    top_k: int = Field(default=3, ge=1)
    exclude_overlap: float | None = Field(default=None, ge=0, le=1)
    near_tests: bool = False
    shortlist: int = Field(default=0, ge=0, le=2000)
    refine: Annotated[int, Field(ge=1)] | Literal["auto", "all", "none"] = "auto"


class RankedSource(Record):
    """One line of a ranking.

    Attributes:
        rank: 1 is best.
        source: Id of the source task.
        score: The scorer's verdict in its unit, for LogME nats per example; higher is better.
        gain: Score minus that of the untouched base embeddings; None where the scorer has none
            for them.
        r2: R² of the source's map, or of the delta that it was scored by, on anchors of other
            tasks; None where it is not known.
        size: Training rows that the source's fine-tuning used; None where it is not known.
        sibling: Whether it was made of the target's own data, another attribute of it for
            instance; none of its training texts is a test text of the target.
        licence: Licence of the source's data, as they state it; empty where they do not.
        terms: What it says of commercial use.
        expected: Gain expected over no transfer, in points of the metric; None where no forecast
            was fitted for the scorer, the metric and the base model.
        adds: Points that each feature adds to the expected gain of an average source, or takes
            from it; empty where there is no forecast.
        gain_low: Lower end of the 90 % interval of the gain that fresh samples of as many rows
            would give on average; this and what follows are None without a bootstrap.
        gain_high: Upper end.
        top_probability: Probability of being among the ``top_k`` best.
        group: Sources of one group cannot be told from its first; 1 holds the best
            (see :class:`esm.ranking.intervals.Uncertainty`).
        overlap: Texts that it shares with the target; None where its pool does not keep which it
            has.
        scored_by: What the score and all that follows from it were made by: its ``map``, its
            ``delta`` or its ``tuned encoder``; empty where the ranking was not refined.
        map_score: Of a refined source, its score by its map, on all rows of the ranking.
    """

    rank: int
    source: str
    score: float
    gain: float | None
    r2: float | None
    size: int | None
    sibling: bool = False
    licence: str = ""
    terms: Terms = Terms.UNKNOWN
    expected: Expected | None = None
    adds: dict[str, float] = Field(default_factory=dict)
    gain_low: float | None = None
    gain_high: float | None = None
    top_probability: float | None = None
    group: int | None = None
    overlap: Overlap | None = None
    scored_by: str = ""
    map_score: float | None = None


class AttributeRanking(Record):
    """The ranking for one attribute.

    Where the target is split into folds, each fold's training rows are scored by themselves, and
    scores, gains and numbers of rows are means over the folds.

    Attributes:
        metric: The attribute's primary metric.
        examples: Training rows that were scored.
        balanced: Whether classes were balanced.
        base_score: Score of the untouched base embeddings; None where the scorer has none for them.
        ranking: Sources, best first; equal scores are ordered by id.
        skipped: Sources left out, with the reason.
        diverse: A set of sources that together promise most, where it was asked for.
        not_scored: Sources left out by the shortlist.
        by_fold: Source ids, best first, as each fold's training rows alone rank them; empty for
            a fixed split.
        refined: How the first lines were scored, where deltas refined them. The lines behind them
            are by maps; scores of the two kinds cannot be compared.
    """

    metric: Metric
    examples: int
    balanced: bool
    base_score: float | None
    ranking: tuple[RankedSource, ...]
    skipped: tuple[Skipped, ...]
    diverse: DiverseSet | None = None
    not_scored: int = 0
    by_fold: tuple[tuple[str, ...], ...] = ()
    refined: Refined | None = None

    @property
    def order(self) -> list[str]:
        """Source ids, best first."""
        return [line.source for line in self.ranking]

    def comparable(self, line: RankedSource) -> float:
        """Return a number that orders the sources as the ranking does: higher is better.

        The score, unless some scores are by deltas and some by maps; then the negative rank.
        """
        kinds = {one.scored_by == "map" for one in self.ranking}
        return line.score if len(kinds) == 1 else -float(line.rank)

    @property
    def preference(self) -> list[str]:
        """Source ids in the order to try them: a diverse set first where there is one."""
        together = [pick.source for pick in self.diverse.picks] if self.diverse else []
        return together + [source for source in self.order if source not in together]


class AggregatedSource(Record):
    """One line of the ranking over all attributes; see ``aggregate_rankings``.

    Attributes:
        rank: 1 is best.
        source: Id of the source task.
        mean_rank: Mean of its ranks over the attributes, by which the lines are ordered.
        best_rank: Its best rank.
        worst_rank: Its worst rank.
        mean_gain: Mean predicted gain over the attributes that it is ranked for, in the score's
            unit; None where the scorer predicts none.
        missing: Attributes that it is not ranked for; each counts as the last place.
    """

    rank: int
    source: str
    mean_rank: float
    best_rank: int
    worst_rank: int
    mean_gain: float | None
    missing: tuple[str, ...]


class Ranking(Record):
    """Sources ranked for every attribute of a target; carries what validation needs.

    Attributes:
        target: The target's id.
        target_spec: How to read it again.
        target_hash: Hash of its rows in all folds, so that validation notices a change.
        pool: Folder of the pool.
        base_model: The pool's base model.
        base: Name or folder that it was loaded from, where that is not the pool's name of it;
            validation loads it from there too.
        scorer: Name of the estimator.
        unit: Unit of its scores.
        reads: Which embeddings stood for the sources; None where the scorer looks at none.
        config: Settings.
        attributes: One ranking per attribute.
        aggregate: One ranking over all attributes, where it was asked for; validation then takes
            its picks for every attribute.
        unusable: Attributes that were on offer but cannot be ranked, with the reason.
        warnings: What does not fit the target's language (the pool's sources, the base model), and
            which sources hold texts of it.
        cut: Texts that were not read to their end, being longer than the encoder takes.
        seconds: Wall-clock seconds, model load included.
        truth: Evaluation against measured results, where they were given.
    """

    target: str
    pool: str
    scorer: str
    unit: str = NATS
    reads: EmbeddingKind | None = EmbeddingKind.MAPPED
    base_model: str
    base: str | None = None
    config: RankConfig
    target_spec: TaskSpec
    target_hash: str
    attributes: dict[str, AttributeRanking]
    aggregate: tuple[AggregatedSource, ...] = ()
    unusable: dict[str, str]
    warnings: tuple[str, ...] = ()
    cut: int
    seconds: float
    truth: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form; :meth:`load` reads it."""
        return self.model_dump(mode="json")

    def places(self, name: str) -> dict[str, int]:
        """Return the place of every source of an attribute, best first.

        These are the places in the aggregate where there is one. They may then have gaps: a
        source that is missing for the attribute is no choice for it.
        """
        ranked = self.attributes[name]
        if not self.aggregate:
            return {line.source: line.rank for line in ranked.ranking}
        return {line.source: line.rank for line in self.aggregate if name not in line.missing}

    def picks(self, name: str, count: int) -> list[str]:
        """Return the sources of an attribute to try, at most so many.

        They are the best of the aggregate where there is one, without those that are missing for
        the attribute; else the diverse set where that was asked for, filled up with the best.
        """
        if not self.aggregate:
            return self.attributes[name].preference[:count]
        return [source for source, place in self.places(name).items() if place <= count]

    def records(self) -> list[dict[str, Any]]:
        """Return one row per attribute and source; ``esm evaluate`` reads them as scores.

        What is known of a source over all attributes, and what it shares with the target, stands
        in columns of its own. Where some sources were scored on deltas and some on maps, ``score``
        is the negative rank, and ``own_score`` what they were scored.
        """
        overall = {
            line.source: {
                "aggregate_rank": line.rank,
                "mean_rank": line.mean_rank,
                "best_rank": line.best_rank,
                "worst_rank": line.worst_rank,
                "mean_gain": line.mean_gain,
            }
            for line in self.aggregate
        }
        return [
            {
                "target": attribute_id(self.target, name),
                **line.model_dump(mode="json", exclude={"overlap", "expected", "adds"}),
                "score": ranked.comparable(line),
                "own_score": line.score,
                **_overlap_columns(line.overlap),
                **_expectation_columns(line),
                **overall.get(line.source, {}),
            }
            for name, ranked in self.attributes.items()
            for line in ranked.ranking
        ]

    def save(self, path: Path) -> None:
        """Write the JSON form, readable by its owner only."""
        write_json(path, self.as_dict(), private=True)

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read a ranking that :meth:`save` wrote.

        Raises:
            StorageError: The file is absent or not JSON.
            RankingError: It is not a ranking.
        """
        return parse(
            cls,
            read_json(path),
            where=path,
            refusal=RankingError,
            expected="a ranking, written by esm rank --out FILE.json",
        )


def shortlist_warnings(attributes: Mapping[str, AttributeRanking]) -> list[str]:
    """Say how many sources a shortlist left out."""
    return [
        f"{name}: {ranked.not_scored} sources were not scored, only a shortlist of"
        f" {len(ranked.ranking)}"
        for name, ranked in attributes.items()
        if ranked.not_scored
    ]


def _expectation_columns(line: RankedSource) -> dict[str, Any]:
    known = {} if line.expected is None else line.expected.model_dump(mode="json")
    return {
        **{f"expected_{name}": known.get(name) for name in Expected.model_fields},
        **{f"adds_{feature}": points for feature, points in line.adds.items()},
    }


def _overlap_columns(overlap: Overlap | None) -> dict[str, Any]:
    known = {} if overlap is None else overlap.model_dump(mode="json")
    return {f"overlap_{name}": known.get(name) for name in Overlap.model_fields}


def ranking_table(ranking: Ranking) -> pd.DataFrame:
    """Return a ranking as a table of scores: ``target`` (``target/attribute``), source, score."""
    import pandas as pd

    return pd.DataFrame(ranking.records(), columns=["target", "source", "score"])
