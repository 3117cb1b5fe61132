"""A forecast: a linear model from what is known of a source to points of the target's metric.

Log evidence is in nats and says nothing of macro-F1. How much of one goes with how much of the
other was measured: the weights that come with the package were fitted to a transfer matrix of real
datasets (``benchmarks/fit_forecast.py``), slopes within targets, the level over all of them, and
the spread about the forecast on datasets that the fit had not seen. Features are absolute (gains
over the untouched base model, cosines, counts): what is expected of a source does not depend on
what else is in the pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from esm.common.records import Record

# Quantile of the standard normal distribution for an interval of 90 %.
_NINETY = 1.6448536269514722


class Expected(Record):
    """What a source is expected to gain over no transfer, in points of the metric.

    Attributes:
        gain: Expected gain.
        low: Lower end of the interval that holds the gain of nine measured runs in ten.
        high: Its upper end.
    """

    gain: float
    low: float
    high: float


class Term(Record):
    """One feature of a forecast.

    Attributes:
        feature: Its name.
        weight: Points per unit of the feature.
        centre: Its mean over the sources and targets that the forecast was fitted to.
    """

    feature: str
    weight: float
    centre: float


class Forecast(Record):
    """A fitted forecast and what it rests on.

    Attributes:
        terms: The features.
        level: Gain expected of a source all of whose features are at their centres, in points.
        spread: Standard deviation of measured about expected gains, in points, on datasets that
            were left out of the fit; the noise of a measurement is part of it.
        metric: Metric of the targets.
        base_model: Base model of the pool.
        strategies: How the targets were trained on.
        targets: Number of targets.
        datasets: Number of datasets they come from.
        sources: Number of sources.
    """

    terms: tuple[Term, ...]
    level: float
    spread: float
    metric: str
    base_model: str
    strategies: tuple[str, ...]
    targets: int
    datasets: int
    sources: int

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(term.feature for term in self.terms)

    def contributions(self, features: Mapping[str, float]) -> dict[str, float]:
        """Return the points that each feature adds to, or takes from, the level.

        Raises:
            KeyError: A feature is missing.
        """
        return {
            term.feature: term.weight * (features[term.feature] - term.centre)
            for term in self.terms
        }

    def expect(self, features: Mapping[str, float]) -> Expected:
        """Return the expected gain of a source with an interval of 90 %.

        Raises:
            KeyError: A feature is missing.
        """
        gain = self.level + sum(self.contributions(features).values())
        return Expected(
            gain=gain, low=gain - _NINETY * self.spread, high=gain + _NINETY * self.spread
        )


def packaged_forecast(name: str) -> Forecast | None:
    """Return the forecast for the ranking of a scorer; None where none was fitted."""
    file = resources.files("esm.scorers.forecasts") / f"{name}.json"
    if not file.is_file():
        return None
    return Forecast.model_validate_json(file.read_text(encoding="utf-8"))
