"""Fitting maps: in closed form on anchors, or as published on the source's own texts."""

from __future__ import annotations

from esm.fit.anchored import RANKS, AnchorBasis, FittedMap
from esm.fit.published import PublishedFit, PublishedMethod, fit_published
from esm.fit.ridge import PENALTIES, r_squared

__all__ = [
    "PENALTIES",
    "RANKS",
    "AnchorBasis",
    "FittedMap",
    "PublishedFit",
    "PublishedMethod",
    "fit_published",
    "r_squared",
]
