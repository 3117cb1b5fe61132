"""Publish maps on the Hub so that hf-dataset-selector, and ``esm pool pull``, can read them.

Only dense maps can be published: an anchored one is of no use without the lift and the wide
features of the pool it was fitted in. A map is published with the pooling that hf-dataset-selector
uses for its base model, or not at all, because that tool would apply it to other embeddings.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from esm.common.errors import HubError, MapError, PoolError, SettingError
from esm.common.storage import atomic_folder, read_json, write_atomic, write_json
from esm.encoder.settings import OFFLINE
from esm.maps.files import MapConfig, save_map
from esm.maps.forms import DenseMap, MapForm
from esm.maps.published_config import LINEAR, PEER_VERSION, PublishedConfig
from esm.pool.hub.base_models import published_pooling
from esm.pool.hub.card import CardFacts, model_card
from esm.pool.hub.hub import CONFIG_NAME, is_model, is_repo
from esm.pool.pool import Pool, PoolEntry, Skipped, SourceRecord

_LOGGER = logging.getLogger(__name__)

CARD_NAME = "README.md"
_PREFIX = "ESM_"
# The packaged encoder under the name that others know.
_OFFLINE_NAME = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class PushedMap:
    """One published map.

    Attributes:
        source: Its id in the pool.
        repo: Its id on the Hub.
        url: Where it is now; None where it was only written to a folder.
        folder: The folder it was written to; None where it was uploaded.
    """

    source: str
    repo: str
    url: str | None
    folder: str | None


@dataclass(frozen=True)
class PushReport:
    """What was published.

    Attributes:
        pushed: The maps, by id.
        skipped: Those that cannot be published, with the reason.
        dry_run: Whether nothing was uploaded.
    """

    pushed: tuple[PushedMap, ...]
    skipped: tuple[Skipped, ...]
    dry_run: bool

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def push_maps(
    pool: Pool,
    repo: str,
    sources: Sequence[str] = (),
    *,
    base: str | None = None,
    private: bool = False,
    out: Path | None = None,
    strict: bool = False,
) -> PushReport:
    """Publish dense maps of a pool, each in a repository of its own.

    Args:
        pool: The pool.
        repo: ``owner/name`` for one map; ``owner`` names each repository ``owner/ESM_SOURCE``.
        sources: Which maps; empty means all of the pool.
        base: Hub id of the base model, where the pool knows it as a folder.
        private: Make new repositories private.
        out: Folder to write the repositories to instead of uploading them.
        strict: Raise for the first map that cannot be published instead of leaving it out.

    Raises:
        SettingError: ``repo`` or ``base`` is no Hub name, or one repository is named for several
            maps.
        PoolError: hf-dataset-selector embeds with another pooling than the pool.
        HubError: The Hub cannot be reached or refuses.
        StorageError: The folder cannot be written.
    """
    name = _public_base(pool, base)
    _check_pooling(pool, name)
    entries, skipped = _entries(pool, sources, strict)
    targets = _repositories(repo, [entry.id for entry in entries])
    pushed: list[PushedMap] = []
    for entry in entries:
        target = targets[entry.id]
        try:
            if out is not None:
                folder = out / target.replace("/", "@")
                export_map(entry, folder, repo=target, base=name)
                pushed.append(PushedMap(entry.id, target, None, str(folder)))
            else:
                with tempfile.TemporaryDirectory() as temporary:
                    folder = Path(temporary) / "map"
                    export_map(entry, folder, repo=target, base=name)
                    url = _upload(folder, target, private=private)
                pushed.append(PushedMap(entry.id, target, url, None))
                _LOGGER.info(f"{entry.id} is published at {url}")
        except (MapError, PoolError) as error:
            if strict:
                raise
            skipped.append(Skipped(entry.id, str(error)))
    return PushReport(tuple(pushed), tuple(skipped), dry_run=out is not None)


def export_map(entry: PoolEntry, folder: Path, *, repo: str, base: str) -> None:
    """Write what is to be published of an entry: description, weights and model card.

    Neither the paths of this machine nor texts get into them: a dataset is named where it is on
    the Hub, else by the source's id.

    Args:
        entry: The pool's entry.
        folder: Where to; it appears whole.
        repo: Hub id under which the map will be.
        base: Hub id of the base model.

    Raises:
        PoolError: The entry has no dense map, or comes from the Hub itself.
        MapError: Its map is damaged.
        StorageError: The folder cannot be written.
    """
    record = entry.record
    if record.published is not None:
        raise PoolError(
            f"{entry.id} was fetched from the Hub, where it is {record.published.repo}",
            expected="a map that was trained here",
        )
    if MapForm.PUBLISHED not in record.maps:
        raise PoolError(
            f"source {entry.id} has an anchored map only, which is of no use without this pool",
            expected=f"a {MapForm.PUBLISHED} map, which hf-dataset-selector reads",
            hint="esm train --map anchored,published --replace",
        )
    fitted = entry.load_map(MapForm.PUBLISHED)
    if not isinstance(fitted, DenseMap):
        raise PoolError(
            f"the map of {entry.id} was compressed to rank {fitted.rank}",
            expected="a dense map, which hf-dataset-selector reads",
            hint="push from the pool that was packed",
        )
    peer = _peer_config(record, base, fitted.width)
    config = MapConfig.describe(
        fitted,
        source=peer.task_id or record.id,
        base=entry.manifest.base.model_copy(update={"model": base}),
        dtype=str(fitted.bias.dtype),
    )
    facts = CardFacts(repo, record, record.maps[MapForm.PUBLISHED], config, peer)
    with atomic_folder(folder) as unfinished:
        save_map(fitted, unfinished, config)
        document = peer.model_dump(mode="json") | read_json(unfinished / CONFIG_NAME)
        write_json(unfinished / CONFIG_NAME, document)
        write_atomic(unfinished / CARD_NAME, model_card(facts).encode())


def _peer_config(record: SourceRecord, base: str, width: int) -> PublishedConfig:
    """Return what hf-dataset-selector is told."""
    settings = record.fine_tune
    return PublishedConfig(
        base_model_name=base,
        **_data(record),
        num_examples=record.num_used,
        seed=settings.seed,
        language=record.metadata.language or None,
        esm_architecture=LINEAR,
        esm_embedding_dim=width,
        lm_num_epochs=settings.num_epochs,
        lm_batch_size=settings.batch_size,
        lm_learning_rate=settings.learning_rate,
        lm_weight_decay=settings.weight_decay,
        lm_optimizer="AdamW",
        version=PEER_VERSION,
    )


def _data(record: SourceRecord) -> dict[str, Any]:
    """Return what may be said of the data: of files on this machine, the source's id alone."""
    task = record.task
    if task is None or not is_repo(task.location) or task.path.exists():
        return {"task_id": record.id}
    columns = [name for name in (task.text, task.text_pair) if name]
    return {
        "task_id": task.location,
        "task_subset": task.config,
        "text_column": columns[0] if len(columns) == 1 else tuple(columns) or None,
        "label_column": next(iter(task.attributes), None),
        "task_split": task.train_split or "train",
    }


def _public_base(pool: Pool, base: str | None) -> str:
    """Return the Hub id of the pool's base model."""
    name = base or pool.manifest.base.model
    if name == OFFLINE:
        return _OFFLINE_NAME
    if Path(name).exists() or not is_model(name):
        raise SettingError(
            f"the pool's base model is {Path(name).name!r}, a folder",
            expected="the Hub id of the base model",
            hint="--base owner/name",
        )
    return name


def _check_pooling(pool: Pool, base: str) -> None:
    from esm.encoder.load import read_config

    identity = pool.manifest.base
    model_type = str(read_config(identity.model, pool.manifest.revision).model_type)
    peers = published_pooling(base, model_type)
    if identity.pooling is not peers:
        raise PoolError(
            f"the pool's maps are for {identity.pooling} pooling of {base}",
            expected=f"{peers} pooling, which hf-dataset-selector uses for it"
            if peers
            else f"a base model that hf-dataset-selector can embed with, not {model_type}",
            hint=f"esm train --pooling {peers} --map published" if peers else "",
        )


def _entries(
    pool: Pool, sources: Sequence[str], strict: bool
) -> tuple[list[PoolEntry], list[Skipped]]:
    if sources:
        return [pool.entry(source) for source in dict.fromkeys(sources)], []
    return pool.entries(strict=strict)


def _repositories(repo: str, sources: Sequence[str]) -> dict[str, str]:
    """Return the repository of each map."""
    if is_repo(repo):
        if len(sources) != 1:
            raise SettingError(
                f"repository {repo!r} for {len(sources)} maps",
                expected="one map, or the owner alone",
                hint=f"--repo {repo.partition('/')[0]}",
            )
        return {sources[0]: repo}
    targets = {source: f"{repo}/{_PREFIX}{source.replace('/', '__')}" for source in sources}
    if not all(is_repo(target) for target in targets.values()):
        raise SettingError(f"--repo {repo[:60]!r}", expected="owner/name, or the owner alone")
    return targets


def _upload(folder: Path, repo: str, *, private: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        created = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Publish the map")
    except OfflineModeIsEnabled as error:
        raise HubError(
            "the Hub is switched off by HF_HUB_OFFLINE", hint="unset HF_HUB_OFFLINE"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise HubError(
            f"the Hub refuses {repo} (HTTP {status})",
            expected="a token that may write there",
            hint="`hf auth login`, and the name of your own account before the '/'",
        ) from error
    return str(created)
