"""From what a published map states of itself to our records.

hf-dataset-selector chooses the pooling by the kind of base model, so the pooling of its maps
follows from the base model's configuration alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from esm.common.errors import PoolError, SettingError
from esm.common.records import build_settings
from esm.common.runtime import Precision
from esm.encoder.settings import BaseIdentity, Pooling
from esm.maps.published_config import PublishedConfig
from esm.pool.hub.hub import Listing, is_repo
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig

# What hf-dataset-selector embeds with, by model type, and to how many tokens it cuts.
_PEER_POOLINGS = {
    "bert": Pooling.POOLER,
    "roberta": Pooling.CLS,
    "distilbert": Pooling.CLS,
}
PEER_MAX_LENGTH = 128
_SENTENCE_MODELS = "sentence-transformers"
_COLUMN = re.compile(r"[^\x00-\x1f]{1,200}")


@dataclass(frozen=True)
class PublishedBase:
    """A base model as its Hub entry describes it.

    Attributes:
        identity: What decides its embeddings; the weights are not known.
        commit: Its newest commit.
        aliases: All names under which maps name it.
    """

    identity: BaseIdentity
    commit: str
    aliases: frozenset[str]

    def is_named_by(self, config: PublishedConfig, listing: Listing) -> bool:
        """Return whether a map's own description, or else its tags, name this base model."""
        if config.base_model_name is not None:
            return config.base_model_name in self.aliases
        return bool(self.aliases.intersection(listing.base_models))


def published_pooling(model: str, model_type: str) -> Pooling | None:
    """Return the pooling that hf-dataset-selector uses for a base model; None where it has none."""
    if model_type == "bert" and _SENTENCE_MODELS in model:
        return Pooling.MEAN
    return _PEER_POOLINGS.get(model_type)


def read_base(name: str, identifier: str, commit: str, config: Mapping[str, Any]) -> PublishedBase:
    """Describe a base model from its ``config.json``.

    Args:
        name: As the user named it.
        identifier: As the Hub calls it now (``google-bert/bert-base-uncased`` for
            ``bert-base-uncased``).
        commit: Its commit.
        config: Its configuration.

    Raises:
        PoolError: hf-dataset-selector has no maps for such a model, or sizes are missing.
    """
    model_type = str(config.get("model_type"))
    pooling = published_pooling(identifier, model_type)
    if pooling is None:
        raise PoolError(
            f"base model {identifier} is of type {model_type!r}",
            expected=f"one that published maps exist for: {', '.join(_PEER_POOLINGS)}",
            hint="esm train makes maps for any text encoder",
        )
    # DistilBERT has names of its own.
    width = config.get("hidden_size", config.get("dim"))
    layers = config.get("num_hidden_layers", config.get("n_layers"))
    positions = config.get("max_position_embeddings", PEER_MAX_LENGTH)
    if not all(isinstance(size, int) and size > 0 for size in (width, layers, positions)):
        raise PoolError(
            f"the configuration of base model {identifier} states no sizes",
            expected="hidden_size, num_hidden_layers and max_position_embeddings",
        )
    return PublishedBase(
        identity=BaseIdentity.model_validate(
            {
                "model": identifier,
                "weights": None,
                "pooling": pooling,
                "max_length": min(PEER_MAX_LENGTH, positions),
                "precision": Precision.FLOAT32,
                "width": width,
                "num_layers": layers,
            }
        ),
        commit=commit,
        aliases=frozenset({name, identifier, identifier.rpartition("/")[2]}),
    )


def source_task(config: PublishedConfig) -> TaskSpec | None:
    """Return how to read a published map's dataset again; None where it does not say."""
    texts, label = config.text_columns, config.label_column
    if config.task_id is None or not is_repo(config.task_id) or label is None:
        return None
    if len(texts) not in (1, 2) or not all(_COLUMN.fullmatch(name) for name in (*texts, label)):
        return None
    return TaskSpec(
        location=config.task_id,
        config=config.task_subset,
        text=texts[0],
        text_pair=texts[1] if len(texts) == 2 else None,
        attributes=(label,),
        train_split=config.task_split,
    )


def fine_tune_settings(config: PublishedConfig) -> FineTuneConfig:
    """Return the settings that a map's description states, the published ones for the others."""
    stated = {
        "num_epochs": config.lm_num_epochs,
        "batch_size": config.lm_batch_size,
        "learning_rate": config.lm_learning_rate,
        "weight_decay": config.lm_weight_decay,
        "max_examples": config.num_examples,
        "seed": config.seed,
    }
    known = {name: value for name, value in stated.items() if value is not None}
    published = FineTuneConfig.paper()
    try:
        return build_settings(FineTuneConfig, published.model_dump() | known)
    except SettingError:  # what it states cannot be: zero epochs, a negative rate
        return published
