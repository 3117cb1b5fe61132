"""The same architecture with random weights."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from transformers import PreTrainedModel

from esm.encoder.loading_errors import quiet


def fresh_backbone(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model like this one, its weights drawn as its architecture draws them.

    They come from torch's global generator. A pooling layer is left out where the model has none.

    Args:
        model: The part of a base model that embeds; it is not changed.
    """
    kind: Any = type(model)
    options = {}
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = getattr(model, "pooler", None) is not None
    with quiet():
        fresh: Any = kind(copy.deepcopy(model.config), **options)
    moved: PreTrainedModel = fresh.to(device=model.device, dtype=model.dtype)
    return moved
