"""From what was fetched of a published map to an entry of a pool, everything checked."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from esm.common.errors import MapError
from esm.common.storage import atomic_folder, content_hash, write_atomic, write_json
from esm.encoder.settings import BaseIdentity
from esm.maps.files import MapConfig, load_map, save_map
from esm.maps.forms import EmbeddingSpaceMap, MapForm
from esm.pool.hub.base_models import fine_tune_settings, source_task
from esm.pool.hub.filters import Candidate
from esm.pool.hub.hub import CONFIG_NAME, WEIGHTS_NAME, DatasetFacts, FileFacts, Listing
from esm.pool.pool import MapRecord, PoolManifest, PublishedRecord, SourceRecord
from esm.tasks.task import TaskMetadata

LARGEST_CONFIG = 2**20
_BYTES_PER_NUMBER = 4
_HEADER = 2**16


def largest_weights(base: BaseIdentity) -> int:
    """Return the most bytes that a dense map for this base model has, header included."""
    return _BYTES_PER_NUMBER * (base.width**2 + base.width) + _HEADER


def json_object(content: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        MapError: It holds something else.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise MapError(f"{where} is not JSON", expected="a JSON object") from error
    if not isinstance(document, dict):
        raise MapError(f"{where} is no JSON object", expected="a JSON object")
    return document


def candidate_in_pool(listing: Listing, published: PublishedRecord) -> Candidate:
    """Return what a pool knows of a map that it holds."""
    weights = FileFacts(None, None, published.weights_hash)
    return Candidate(
        listing, published.config, published.generation, DatasetFacts(), weights, document={}
    )


def read_download(
    candidate: Candidate, weights: bytes, base: BaseIdentity
) -> tuple[EmbeddingSpaceMap, MapConfig]:
    """Read a map of any generation.

    Args:
        candidate: What it states of itself.
        weights: Its safetensors file.
        base: The base model it has to be for.

    Raises:
        MapError: Tensor names, shapes, formats or numbers are wrong, or its kind, width or
            pooling are not those of the base model's embeddings.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / CONFIG_NAME, candidate.document)
        write_atomic(folder / WEIGHTS_NAME, weights)
        try:
            fitted, config = load_map(folder)
        except MapError as error:
            got = error.got.removeprefix(f"{folder}: ").replace(f"{folder}/", "")
            hint = "" if WEIGHTS_NAME in got else error.hint
            raise MapError(
                f"{candidate.repo}: {got}", expected=error.expected, hint=hint
            ) from error
    if fitted.form is not MapForm.PUBLISHED:
        raise MapError(
            f"{candidate.repo} holds an {fitted.form} map, which needs the pool it was fitted in",
            expected=f"a {MapForm.PUBLISHED} one",
        )
    if fitted.width != base.width:
        raise MapError(
            f"{candidate.repo} is of width {fitted.width}", expected=f"{base.width}, the base's"
        )
    if config.base is not None and config.base.pooling is not base.pooling:
        raise MapError(
            f"{candidate.repo} was made for {config.base.pooling} pooling",
            expected=base.pooling.value,
        )
    return fitted, config


def store_download(
    candidate: Candidate,
    fitted: EmbeddingSpaceMap,
    config: MapConfig,
    manifest: PoolManifest,
    folder: Path,
) -> None:
    """Write an entry: it appears when all of it is there.

    The map is stored in our format, under the name by which the pool knows its base model.

    Raises:
        StorageError: The folder cannot be written.
    """
    ours = config.model_copy(update={"base_model": manifest.base.model, "base": None})
    with atomic_folder(folder) as unfinished:
        stored = unfinished / MapForm.PUBLISHED
        save_map(fitted, stored, ours)
        record = _record(candidate, fitted, (stored / WEIGHTS_NAME).stat().st_size)
        write_json(unfinished / "source.json", record.model_dump(mode="json"))


def _record(candidate: Candidate, fitted: EmbeddingSpaceMap, size: int) -> SourceRecord:
    config, listing = candidate.config, candidate.listing
    fit = MapRecord(rank=fitted.rank, penalty=0.0, r2_source=None, r2_anchors=None, bytes=size)
    return SourceRecord(
        id=listing.repo,
        config_hash=content_hash(listing.repo, listing.commit),
        task=source_task(config),
        task_hash=None,
        problem=None,
        metric=None,
        label_names=(),
        metadata=TaskMetadata(
            name=" ".join(filter(None, (candidate.dataset_name, config.task_subset))),
            language=", ".join(candidate.languages),
            license=candidate.dataset.licence,
        ),
        is_pair=len(config.text_columns) == 2,
        num_train=None,
        num_used=config.num_examples,
        fine_tune=fine_tune_settings(config),
        quality={},
        maps={MapForm.PUBLISHED: fit},
        seconds={},
        published=PublishedRecord(
            repo=listing.repo,
            commit=listing.commit,
            generation=candidate.generation,
            weights_hash=candidate.weights.hash,
            config=config,
        ),
    )
