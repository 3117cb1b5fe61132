"""Published maps of all four generations of hf-dataset-selector, made by hand as files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors.numpy import save

from tests.hub_stand_in import HubStandIn, Repo

BASE = "google-bert/bert-tiny"
LEGACY = "bert-tiny"
WIDTH = 32

_METADATA = {
    "base_model_name": LEGACY,
    "developers": "Somebody",
    "esm_architecture": "linear",
    "esm_batch_size": 32,
    "esm_learning_rate": 0.001,
    "esm_num_epochs": 10,
    "esm_optimizer": "AdamW",
    "esm_weight_decay": 0.01,
    "label_column": "label",
    "language": None,
    "lm_batch_size": 32,
    "lm_learning_rate": 2e-05,
    "lm_num_epochs": 3,
    "lm_optimizer": "AdamW",
    "lm_weight_decay": 0.01,
    "num_examples": 1000,
    "seed": 42,
    "task_id": "owner/data",
    "task_split": "train",
    "task_subset": "default",
    "text_column": "text",
    "transformers_version": "4.36.2",
}


def config(generation: int, **changes: Any) -> dict[str, Any]:
    """Return the ``config.json`` of a generation, as published."""
    if generation == 1:
        return {"embedding_dim": WIDTH, "optional_layer_dims": None} | changes
    versioned = {3: {"esm_embedding_dim": None}, 4: {"esm_embedding_dim": WIDTH}}
    extra = versioned.get(generation, {})
    if extra:
        extra = extra | {"version": "0.1.0"}
    return _METADATA | extra | changes


def arrays(seed: int = 0, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Return weight and bias of a map near the identity."""
    rng = np.random.default_rng(seed)
    weight = np.eye(width) + 0.1 * rng.standard_normal((width, width))
    return weight.astype(np.float32), rng.standard_normal(width).astype(np.float32)


def weights(seed: int = 0, width: int = WIDTH, prefix: str = "sequential.0.") -> bytes:
    """Return a map's safetensors file."""
    weight, bias = arrays(seed, width)
    return save({f"{prefix}weight": weight, f"{prefix}bias": bias})


def publish(
    hub: HubStandIn,
    name: str,
    document: dict[str, Any],
    content: bytes | None = None,
    *,
    tags: tuple[str, ...] | None = None,
) -> Repo:
    """Put a map on the stand-in, tagged as the Hub tags it."""
    if tags is None:
        named = document.get("base_model_name", LEGACY)
        tags = (f"base_model:{BASE if named == LEGACY else named}", f"BaseLM:{named}")
    repo = Repo(
        {
            ".gitattributes": b"*.safetensors filter=lfs\n",
            "config.json": json.dumps(document).encode(),
            "model.safetensors": weights(len(hub.models)) if content is None else content,
        },
        ["safetensors", "embedding_space_map", *tags],
    )
    hub.models[name] = repo
    return repo


def publish_base(hub: HubStandIn, **changes: Any) -> None:
    """Put the base model's configuration on the stand-in, under its new name and its old one."""
    document = {
        "model_type": "bert",
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "max_position_embeddings": 64,
    }
    hub.models[BASE] = Repo({"config.json": json.dumps(document | changes).encode()})
    hub.renamed[LEGACY] = BASE
