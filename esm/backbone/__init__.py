"""Base models: where they lie (``find``), loading them whole (``load``), what can go wrong."""

from __future__ import annotations

from esm.backbone.load import Backbone, is_causal, load_backbone, read_config, save_backbone

__all__ = ["Backbone", "is_causal", "load_backbone", "read_config", "save_backbone"]
