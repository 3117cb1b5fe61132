"""One estimator of transferability per file, behind one protocol."""

from __future__ import annotations

from esm.scorers.logme import logme

__all__ = ["logme"]
