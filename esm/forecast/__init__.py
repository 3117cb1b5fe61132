"""From scores to points: what a source is expected to gain, learned from measured transfer."""

from __future__ import annotations

from esm.forecast.model import Expected, Forecast, Term, packaged_forecast

__all__ = ["Expected", "Forecast", "Term", "packaged_forecast"]
