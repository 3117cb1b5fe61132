"""What hf-dataset-selector writes into ``config.json``, in each of its four generations.

1. ``{embedding_dim, optional_layer_dims}``: the map's width and nothing else.
2. 22 keys of metadata, without a version.
3. The same with ``version: "0.1.0"`` and ``esm_embedding_dim: null``.
4. The same with the width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from esm.common.errors import MapError
from esm.common.records import parse

# hf-dataset-selector takes the tensors' names from this version and does not notice when they
# are not there: its "0.1.0" would read our weights as random numbers.
PEER_VERSION = "0.2.1"
LINEAR = "linear"


class PublishedConfig(BaseModel):
    """The metadata of a published map; None where nothing is stated.

    Keys beside these (``transformers_version`` and whatever its libraries add) are not read.

    Attributes:
        base_model_name: Hub id of the base model.
        task_id: Hub id of the dataset.
        task_subset: Its configuration.
        text_column: Text column, or the two of a pair task.
        label_column: Label column.
        task_split: Split that was trained on.
        num_examples: Rows that were trained on.
        seed: Seed of their sample.
        language: Language of the texts.
        esm_architecture: ``"linear"`` for all maps there are.
        esm_embedding_dim: Embedding width d.
        lm_num_epochs: Epochs of the fine-tuning.
        lm_batch_size: Its batch size.
        lm_learning_rate: Its learning rate.
        lm_weight_decay: Its weight decay.
        lm_optimizer: Its optimiser.
        esm_num_epochs: Epochs of the map's own training.
        esm_batch_size: Its batch size.
        esm_learning_rate: Its learning rate.
        esm_weight_decay: Its weight decay.
        esm_optimizer: Its optimiser.
        developers: Who made it.
        version: Version of hf-dataset-selector.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    base_model_name: str | None = None
    task_id: str | None = None
    task_subset: str | None = None
    text_column: str | tuple[str, ...] | None = None
    label_column: str | None = None
    task_split: str | None = None
    num_examples: int | None = None
    seed: int | None = None
    language: str | None = None
    esm_architecture: str | None = None
    esm_embedding_dim: int | None = None
    lm_num_epochs: int | None = None
    lm_batch_size: int | None = None
    lm_learning_rate: float | None = None
    lm_weight_decay: float | None = None
    lm_optimizer: str | None = None
    esm_num_epochs: int | None = None
    esm_batch_size: int | None = None
    esm_learning_rate: float | None = None
    esm_weight_decay: float | None = None
    esm_optimizer: str | None = None
    developers: str | None = None
    version: str | None = None

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns: none, one, or the two of a pair task."""
        if self.text_column is None:
            return ()
        return (self.text_column,) if isinstance(self.text_column, str) else self.text_column


PEER_KEYS = frozenset(PublishedConfig.model_fields)


def read_published_config(
    document: Mapping[str, Any], where: object
) -> tuple[PublishedConfig, int]:
    """Read a published ``config.json``.

    Returns:
        What it states, and its generation (1 to 4).

    Raises:
        MapError: A value is of the wrong type, or the map is not one linear layer.
    """
    if document.get("optional_layer_dims"):
        raise MapError(
            f"{where} describes a map of several layers", expected="one linear layer, W h + b"
        )
    known = dict(document)
    known.setdefault("esm_embedding_dim", document.get("embedding_dim"))
    config = parse(
        PublishedConfig,
        known,
        where=where,
        refusal=MapError,
        expected="the values that hf-dataset-selector writes",
    )
    if config.esm_architecture not in (None, LINEAR):
        raise MapError(
            f"{where} describes a map of architecture {config.esm_architecture!r}",
            expected=f"{LINEAR!r}, W h + b",
        )
    return config, _generation(document)


def _generation(document: Mapping[str, Any]) -> int:
    if "optional_layer_dims" in document or "embedding_dim" in document:
        return 1
    if document.get("version") is None:
        return 2
    return 3 if document.get("esm_embedding_dim") is None else 4
