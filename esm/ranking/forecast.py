"""Puts the gain that a forecast expects of each source, in points, beside its score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from esm.ranking.result import AttributeRanking, RankedSource
from esm.scorers.base import Evidence, Scorer, Source, TargetAttribute
from esm.scorers.forecast import Forecast, packaged_forecast
from esm.tasks.task import Metric


def forecast_for(scorer: Scorer, metric: Metric, base_model: str) -> Forecast | None:
    """Return the packaged forecast; None where none was fitted for this metric and base model."""
    found = packaged_forecast(scorer.name)
    fits = found is not None and (found.metric, found.base_model) == (metric, base_model)
    return found if fits else None


def with_forecast(
    ranked: AttributeRanking,
    folds: Sequence[TargetAttribute],
    sources: Iterable[Source],
    scorer: Scorer,
    forecast: Forecast | None,
) -> AttributeRanking:
    """Return a ranking with expected gains and what adds to them; the order stays.

    Args:
        ranked: The ranking.
        folds: The attribute in every fold.
        sources: The ranked sources, in any order.
        scorer: What scored them.
        forecast: Its forecast; with None the ranking is returned as it is.
    """
    if forecast is None:
        return ranked
    by_id = {source.id: source for source in sources}
    lines = [
        _expected(line, _features(line, folds, by_id[line.source], scorer), forecast)
        for line in ranked.ranking
    ]
    return ranked.model_copy(update={"ranking": tuple(lines)})


def _features(
    line: RankedSource, folds: Sequence[TargetAttribute], source: Source, scorer: Scorer
) -> Mapping[str, float]:
    """Return the features of one source, means over folds."""
    per_fold = [scorer.features(Evidence(fold, source)) for fold in folds]
    found = [features for features in per_fold if features is not None]
    if not found:
        return {scorer.name: line.score if line.gain is None else line.gain}
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _expected(
    line: RankedSource, features: Mapping[str, float], forecast: Forecast
) -> RankedSource:
    return line.model_copy(
        update={
            "expected": forecast.expect(features),
            "adds": forecast.contributions(features),
        }
    )
