"""Base models: where they lie (``find``), loading them whole (``load``), anew (``fresh``)."""

from __future__ import annotations

from esm.backbone.find import locate
from esm.backbone.fresh import fresh_backbone
from esm.backbone.load import (
    Backbone,
    is_causal,
    load_backbone,
    max_positions,
    read_config,
    save_backbone,
)

__all__ = [
    "Backbone",
    "fresh_backbone",
    "is_causal",
    "load_backbone",
    "locate",
    "max_positions",
    "read_config",
    "save_backbone",
]
