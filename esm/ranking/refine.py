"""Score sources on embeddings by their deltas, where their maps have screened them.

A map is a function of the base model's embeddings: what the base model does not encode, no map can
bring in, and a delta can. All sources are scored on a few hundred rows where that is affordable;
else by successive halving over all of them (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization", algorithm 1): few rows for all, twice as many for
the better half, and so on. The maps' order counts as some rows more, which a delta can overrule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import EsmError, SettingError, TaskError
from esm.common.runtime import progress
from esm.pool.pool import PoolEntry, Skipped
from esm.ranking.result import RankConfig, Refined, Round
from esm.scorers.base import EmbeddingKind, Evidence, Source, TargetAttribute
from esm.scorers.logme import LogME
from esm.scorers.names import ScorerName
from esm.tasks.splits.draw import draw_by_class, strata_of
from esm.tasks.task import Examples
from esm.training.class_weights import balance_weights

if TYPE_CHECKING:
    from esm.ranking.target import TargetTexts

ROWS = 300
"""Rows of the target that are embedded at most, the same for all attributes."""

MOST_COST = 5e12
"""Sources x tokens x parameters up to which all are scored on all rows: 50 sources on 300 texts of
32 tokens, with 6 layers of width 384; about a minute on two cores."""

_FEWEST_ROWS = 48
_PRIOR_ROWS = 16  # so many rows' worth of evidence is a source's place by its map

Rows = npt.NDArray[np.int64]
Scored = Sequence[tuple[Source, Float64]]
"""Sources with their scores, one per fold."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a refinement found for one attribute.

    Attributes:
        scored: The refined sources with their scores, best first.
        folds: The rows that they were scored on, in every fold.
        scorer: What scored them.
        record: What is said of it.
    """

    scored: Scored
    folds: Sequence[TargetAttribute]
    scorer: LogME
    record: Refined


def check_refine(config: RankConfig) -> None:
    """Check that the scores can be refined as the settings ask.

    Raises:
        SettingError: They are others than LogME on maps.
    """
    asked = config.refine not in ("auto", "none")
    if asked and config.scorer is not ScorerName.LOGME:
        raise SettingError(
            f"--refine {config.refine} for scorer {config.scorer}",
            expected="logme, whose scores on maps deltas refine",
            hint="--scorer tuned-logme scores all sources on deltas alone",
        )


class Refinement:
    """Scores sources on deltas, attribute by attribute; embeddings are made once for all.

    Args:
        texts: The target's texts.
        folds: Every attribute of the target, in every fold.
        config: How many sources to refine.

    Attributes:
        remarks: Why an attribute was not refined although a source has a delta, a sentence each.
    """

    def __init__(
        self,
        texts: TargetTexts,
        folds: Mapping[str, Sequence[TargetAttribute]],
        config: RankConfig,
    ) -> None:
        self._texts = texts
        self._config = config
        self._scorer = LogME("logme", EmbeddingKind.TUNED)
        self._known: dict[str, _Known] = {}
        self._fewest = max(_FEWEST_ROWS, 4 * len(folds))
        self.remarks: list[str] = []
        self._order = draw_by_class(
            [_membership(folds[name], len(texts)) for name in sorted(folds)], ROWS, config.seed
        )

    def refine(self, name: str, folds: Sequence[TargetAttribute], scored: Scored) -> Outcome | None:
        """Score the sources of an attribute that have a delta; None where none can be scored.

        Cost: sources x tokens x parameters for embeddings, and O(d³) per source and round.

        Args:
            name: The attribute.
            folds: The same, in every fold.
            scored: All sources with their scores on maps, in any order.

        Raises:
            EsmError: A delta is damaged, and the settings are strict.
        """
        try:
            found = self._refine(folds, scored)
        except TaskError as error:
            self.remarks.append(f"{name} is ranked by maps alone: in the rows drawn, {error}")
            return None
        if found is None or found.scored:
            return found
        first = found.record.skipped[0]
        self.remarks.append(
            f"{name} is ranked by maps alone: none of {len(found.record.skipped)} deltas can be"
            f" used ({first.source}: {first.reason})"
        )
        return None

    def _refine(self, folds: Sequence[TargetAttribute], scored: Scored) -> Outcome | None:
        waiting = sorted(
            (one for one in scored if one[0].entry.has_tuned), key=lambda one: one[0].id
        )
        if not waiting or self._config.refine == "none":
            return None
        by_map = {source.id: float(scores.mean()) for source, scores in scored}
        skipped: list[Skipped] = []
        rounds: list[Round] = []
        plan = self._plan([source for source, _ in waiting], folds)
        alive = [source for source, _ in waiting]
        found: dict[str, Float64] = {}
        for count, rows in plan:
            if rounds:
                alive = _best(alive, found, by_map, rounds[-1].rows, count)
            some = [_among(fold, self._order[:rows]) for fold in folds]
            alive, found = self._score(alive, some, rows, skipped)
            rounds.append(Round(sources=len(alive), rows=rows))
        base = float(np.mean([self._scorer.score(Evidence(fold)) for fold in some]))
        best_first = sorted(alive, key=lambda source: (-found[source.id].mean(), source.id))
        return Outcome(
            scored=[(source, found[source.id]) for source in best_first],
            folds=some,
            scorer=self._scorer,
            record=Refined(
                sources=len(alive),
                rows=round(np.mean([len(fold) for fold in some])),
                base_score=base,
                rounds=tuple(rounds),
                without=len(scored) - len(waiting),
                skipped=tuple(skipped),
            ),
        )

    def _plan(
        self, sources: Sequence[Source], folds: Sequence[TargetAttribute]
    ) -> list[tuple[int, int]]:
        """Return how many sources are scored on how many rows, round by round."""
        wanted, most, count = self._config.refine, len(self._order), len(sources)
        cost = count * self._texts.tokens(self._order) * self._texts.parameters
        if wanted == "all" or (wanted == "auto" and cost <= MOST_COST):
            return [(count, most)]
        fewest = min(most, max(self._fewest, 2 * max(fold.task.num_outputs for fold in folds)))
        halvings = math.ceil(math.log2(most / fewest))
        last = min(count, wanted) if isinstance(wanted, int) else count / 2**halvings
        if halvings == 0 or last == count:
            return [(count, most)]
        shrink = (last / count) ** (1 / halvings)
        return [
            (math.ceil(round(count * shrink**i, 6)), min(most, fewest * 2**i))
            for i in range(halvings + 1)
        ]

    def _score(
        self,
        sources: Sequence[Source],
        folds: Sequence[TargetAttribute],
        rows: int,
        skipped: list[Skipped],
    ) -> tuple[list[Source], dict[str, Float64]]:
        """Return the sources that could be scored, ready to be scored again, and their scores."""
        alive: list[Source] = []
        found: dict[str, Float64] = {}
        with progress(f"refining on {rows} texts", total=len(sources)) as advance:
            for source in sources:
                try:
                    self._embed(source, rows)
                except TaskError:
                    raise
                except EsmError as error:
                    if self._config.strict:
                        raise
                    skipped.append(Skipped(source.id, str(error)))
                else:
                    # Of two copies, so that the embeddings of the first are not kept with it.
                    once, again = (replace(source, embed=self._embedded) for _ in range(2))
                    scores = [self._scorer.score(Evidence(fold, once)) for fold in folds]
                    alive.append(again)
                    found[source.id] = np.array(scores)
                advance(1)
        return alive, found

    def _embed(self, source: Source, rows: int) -> None:
        """Embed as many rows of the draw by a source, as far as that is not done yet."""
        known = self._known.setdefault(source.id, _Known())
        if known.fault is not None:
            raise known.fault
        if known.rows < rows:
            try:
                new = self._texts.tuned(source.entry, self._order[known.rows : rows])
            except EsmError as error:
                known.fault = error
                raise
            known.parts.append(new)
            known.rows = rows

    def _embedded(self, entry: PoolEntry) -> npt.NDArray[np.float32]:
        """Return (N, d) embeddings of which those of rows that were embedded are filled in."""
        known = self._known[entry.id]
        made = np.concatenate(known.parts)
        embedded = np.full((len(self._texts), made.shape[1]), np.nan, dtype=np.float32)
        embedded[self._order[: known.rows]] = made
        return embedded


@dataclass
class _Known:
    """What is embedded of the draw by one source, or why it cannot be."""

    rows: int = 0
    parts: list[npt.NDArray[np.float32]] = field(default_factory=list)
    fault: EsmError | None = None


def _best(
    sources: Sequence[Source],
    found: Mapping[str, Float64],
    by_map: Mapping[str, float],
    rows: int,
    count: int,
) -> list[Source]:
    """Return the best, by id: scores on so many rows, with the maps' as some rows more."""
    ids = [source.id for source in sources]
    deltas = _standard([float(found[one].mean()) for one in ids])
    maps = _standard([by_map[one] for one in ids])
    together = (rows * deltas + _PRIOR_ROWS * maps) / (rows + _PRIOR_ROWS)
    order = sorted(range(len(ids)), key=lambda place: (-together[place], ids[place]))
    return [sources[place] for place in sorted(order[:count])]


def _standard(scores: Sequence[float]) -> Float64:
    """Return scores in standard deviations from their mean."""
    array = np.array(scores)
    spread = array.std()
    return (array - array.mean()) / spread if spread > 0 else np.zeros(len(array))


def _among(fold: TargetAttribute, chosen: Rows) -> TargetAttribute:
    """Return the rows of a fold whose texts are among the chosen ones."""
    places = np.flatnonzero(np.isin(fold.rows, chosen))
    examples = fold.examples.take(places)
    weights = None if fold.weights is None else balance_weights(examples.labels)
    return replace(fold, examples=examples, rows=fold.rows[places], weights=weights, _made={})


def _membership(folds: Sequence[TargetAttribute], count: int) -> npt.NDArray[np.bool_]:
    """Return (N, s): which text has which label of an attribute, in any of the folds."""
    joined = Examples(
        texts=tuple(text for fold in folds for text in fold.examples.texts),
        pairs=None,
        labels=np.concatenate([fold.labels for fold in folds]),
    )
    own = strata_of(joined, folds[0].task.problem)
    membership = np.zeros((count, own.shape[1]), dtype=np.bool_)
    np.logical_or.at(membership, np.concatenate([fold.rows for fold in folds]), own)
    return membership
