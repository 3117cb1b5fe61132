"""Maps on disk: ``config.json`` beside ``model.safetensors``, everything checked on reading.

Our record stands under one key of ``config.json``. A published map carries the keys and tensor
names of hf-dataset-selector beside it, so that tool can read it; maps that tool wrote, in any of
its four generations of ``config.json``, can be read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from esm.common.errors import MapError
from esm.common.records import Record, parse
from esm.common.storage import load_tensors, read_json, save_tensors, write_json
from esm.encoder.settings import BaseIdentity
from esm.maps.forms import Array, DenseMap, EmbeddingSpaceMap, LowRankMap, MapForm
from esm.maps.published_config import LINEAR, PEER_KEYS, PEER_VERSION, read_published_config

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_OUR_KEY = "esm_transfer"


class MapConfig(Record):
    """What is stored beside a map's weights.

    Attributes:
        format: Version of this format.
        form: Kind of map.
        width: Embedding width d.
        lift_width: Width p of the lifted features, 0 where there are none.
        rank: Rank of the learned matrix.
        dtype: Number format of the weights on disk.
        source: Id of the source task.
        base_model: Name of the base model, "" where a map made elsewhere does not say.
        base: The base model in full; None for a map made elsewhere, which only names it.
        lift: Hash of the lift the map was fitted with, None without lift.
    """

    format: Literal[1] = 1
    form: MapForm
    width: int
    lift_width: int
    rank: int
    dtype: Literal["float16", "float32"]
    source: str
    base_model: str
    base: BaseIdentity | None
    lift: str | None

    @classmethod
    def describe(
        cls,
        fitted: EmbeddingSpaceMap,
        *,
        source: str,
        base: BaseIdentity,
        lift: str | None = None,
        dtype: str = "float16",
    ) -> MapConfig:
        """Describe a map that is to be stored.

        Raises:
            MapError: ``dtype`` is neither float16 nor float32, or a lift is named for a map
                without one, or the other way round.
        """
        if (lift is None) != (fitted.lift_width == 0):
            raise MapError(
                f"lift {str(lift)[:12]} for a map that reads {fitted.lift_width} lifted features",
                expected="a lift exactly where the map reads one",
            )
        return _parse(
            {
                **_facts(fitted),
                "dtype": dtype,
                "source": source,
                "base_model": base.model,
                "base": base.model_dump(mode="json"),
                "lift": lift,
            }
        )


def save_map(fitted: EmbeddingSpaceMap, folder: Path, config: MapConfig) -> None:
    """Write ``config.json`` and ``model.safetensors``; the same map gives the same bytes.

    Reading it back gives ``fitted.cast(config.dtype)`` exactly.

    Raises:
        MapError: The description is another map's, or a number does not fit its format.
        StorageError: The folder cannot be written.
    """
    _check_described(fitted, config, folder)
    save_tensors(folder / WEIGHTS_FILE, fitted.cast(config.dtype).tensors())
    write_json(folder / CONFIG_FILE, _document(config))


def load_map(
    folder: Path, *, base: BaseIdentity | None = None, lift: str | None = None
) -> tuple[EmbeddingSpaceMap, MapConfig]:
    """Read a map and check everything that can be checked.

    Args:
        folder: Folder with ``config.json`` and ``model.safetensors``.
        base: The base model it has to belong to. A map made by hf-dataset-selector only names
            its base model, so only the name is compared.
        lift: Hash of the lift it has to belong to.

    Raises:
        MapError: Names, shapes, formats or numbers are wrong, a file is truncated, a key is
            unknown, or the map belongs to another base model or lift.
        StorageError: A file is missing or not JSON.
    """
    document = read_json(folder / CONFIG_FILE)
    if not isinstance(document, dict):
        raise MapError(f"{folder / CONFIG_FILE} is no JSON object", expected="a map's description")
    tensors = load_tensors(folder / WEIGHTS_FILE)
    try:
        if _OUR_KEY in document:
            loaded, config = _read_ours(document, tensors)
        else:
            loaded, config = _read_published(document, tensors)
    except MapError as error:
        raise MapError(
            f"{folder}: {error.got}", expected=error.expected, hint=error.hint
        ) from error
    _check_described(loaded, config, folder)
    if base is not None:
        _check_base(config, base, folder)
    if lift is not None and config.lift != lift:
        raise MapError(
            f"{folder} was fitted with lift {str(config.lift)[:12]}",
            expected=f"lift {lift[:12]}",
            hint="rank with the pool it belongs to",
        )
    return loaded, config


def _document(config: MapConfig) -> dict[str, Any]:
    """Return the content of config.json: our record, and the peer's keys for a dense map."""
    document: dict[str, Any] = {_OUR_KEY: config.model_dump(mode="json")}
    if config.form is MapForm.PUBLISHED:
        document |= {
            "base_model_name": config.base_model,
            "task_id": config.source,
            "esm_architecture": LINEAR,
            "esm_embedding_dim": config.width,
            "version": PEER_VERSION,
        }
    return document


def _read_ours(
    document: dict[str, Any], tensors: Mapping[str, Array]
) -> tuple[EmbeddingSpaceMap, MapConfig]:
    config = _parse(document[_OUR_KEY])
    expected = _document(config)
    # A map that was published carries more of its peer's metadata, which decide nothing here.
    metadata = PEER_KEYS - expected.keys() if config.form is MapForm.PUBLISHED else frozenset()
    differing = sorted(
        key
        for key in (document.keys() | expected.keys()) - metadata
        if document.get(key) != expected.get(key)
    )
    if differing:
        raise MapError(
            f"{CONFIG_FILE} has unknown, missing or altered keys {', '.join(differing)}",
            expected=f"the keys {', '.join(expected)} as they were written",
            hint="undo the change by hand, or train the source again",
        )
    kind = LowRankMap if config.form is MapForm.ANCHORED else DenseMap
    loaded: EmbeddingSpaceMap = kind.from_tensors(tensors)
    if str(loaded.bias.dtype) != config.dtype:
        raise MapError(f"weights are {loaded.bias.dtype}", expected=f"{config.dtype}, as described")
    return loaded, config


def _read_published(
    document: dict[str, Any], tensors: Mapping[str, Array]
) -> tuple[EmbeddingSpaceMap, MapConfig]:
    """Read a map in one of hf-dataset-selector's config generations, the oldest without names."""
    stated, _ = read_published_config(document, CONFIG_FILE)
    loaded = DenseMap.from_tensors(tensors)
    if stated.esm_embedding_dim not in (None, loaded.width):
        raise MapError(
            f"weights of width {loaded.width}", expected=f"{stated.esm_embedding_dim}, as described"
        )
    return loaded, _parse(
        {
            **_facts(loaded),
            "dtype": str(loaded.bias.dtype),
            "source": "/".join(filter(None, (stated.task_id, stated.task_subset))),
            "base_model": stated.base_model_name or "",
            "base": None,
            "lift": None,
        }
    )


def _facts(fitted: EmbeddingSpaceMap) -> dict[str, str | int]:
    """Return what a description must agree with."""
    return {
        "form": fitted.form.value,
        "width": fitted.width,
        "lift_width": fitted.lift_width,
        "rank": fitted.rank,
    }


def _check_described(fitted: EmbeddingSpaceMap, config: MapConfig, folder: Path) -> None:
    for name, value in _facts(fitted).items():
        if getattr(config, name) != value:
            raise MapError(
                f"{folder}: the map's {name} is {value}",
                expected=f"{getattr(config, name)}, as described",
            )


def _check_base(config: MapConfig, base: BaseIdentity, folder: Path) -> None:
    if config.base is None:
        differing = [] if config.base_model == base.model else ["model"]
    else:
        ours, theirs = base.model_dump(), config.base.model_dump()
        # The name is how a user happened to call the weights; their hash is what counts.
        differing = [key for key in ours if key != "model" and ours[key] != theirs[key]]
    if differing:
        raise MapError(
            f"{folder} was fitted for base model {config.base_model!r}, which differs in"
            f" {', '.join(differing)}",
            expected=f"base model {base.model!r}",
            hint="use the base model the map was fitted for",
        )


def _parse(content: object) -> MapConfig:
    return parse(
        MapConfig,
        content,
        where=CONFIG_FILE,
        refusal=MapError,
        expected="the fields of a map's description, no more and no fewer",
        hint="undo the change by hand, or train the source again",
    )
