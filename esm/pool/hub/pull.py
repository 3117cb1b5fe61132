"""Fetch published maps for a base model into a pool: several at once, pinned, resumable.

First the descriptions of all maps, then the filters, then the weights of what is left. A map
enters the pool whole and in our own format, whatever its generation, with the commit it came
from; one that is there at its newest commit is not fetched again. What is wrong with a map, its
name, shape or base model included, leaves that map out and is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from esm.common.errors import EsmError, HubError, MapError, PoolError, StorageError
from esm.common.runtime import progress
from esm.common.storage import folder_lock, sweep, write_json
from esm.maps.published_config import read_published_config
from esm.pool.hub.base_models import PublishedBase, read_base
from esm.pool.hub.download import (
    LARGEST_CONFIG,
    candidate_in_pool,
    json_object,
    largest_weights,
    read_download,
    store_download,
)
from esm.pool.hub.filters import Candidate, Filters
from esm.pool.hub.http import HubDownError
from esm.pool.hub.hub import CONFIG_NAME, ESM_TAG, WEIGHTS_NAME, DatasetFacts, Hub, Listing, is_repo
from esm.pool.pool import POOL_FORMAT, Pool, PoolManifest, PublishedRecord, Skipped

_LONGEST_ID = 200

# What may be wrong with one map. A full disk or a Hub that is down ends the run.
_MAP_ERRORS = (HubError, MapError, PoolError)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PullReport:
    """What became of the maps on the Hub.

    Attributes:
        folder: The pool.
        base: The base model.
        found: Maps that the Hub has for it.
        fetched: Those fetched now.
        present: Those that were there at their newest commit.
        left_out: How many each filter left out.
        skipped: Those that cannot be used, with the reason.
        seconds: Wall-clock time.
    """

    folder: str
    base: str
    found: int
    fetched: tuple[str, ...]
    present: tuple[str, ...]
    left_out: dict[str, int]
    skipped: tuple[Skipped, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    def records(self) -> list[dict[str, str]]:
        """Return one row per map that was fetched, was there, or was skipped and why."""
        rows = [{"source": source, "now": "fetched", "reason": ""} for source in self.fetched]
        rows += [{"source": source, "now": "present", "reason": ""} for source in self.present]
        rows += [
            {"source": skip.source, "now": "skipped", "reason": skip.reason}
            for skip in self.skipped
        ]
        return rows


def list_published(base: str, *, hub: Hub | None = None) -> tuple[PublishedBase, list[Listing]]:
    """Return the maps that the Hub has for a base model, without fetching any.

    Args:
        base: Hub id of the base model.
        hub: The Hub; None for the one that ``HF_ENDPOINT`` names.

    Raises:
        HubError: The Hub cannot be reached or has no such model.
        PoolError: hf-dataset-selector has no maps for such a model.
    """
    hub = hub or Hub()
    known = hub.model(base)
    identifier, commit = str(known.get("id") or base), str(known.get("sha") or "")
    facts = hub.files(identifier, commit).get(CONFIG_NAME)
    if facts is None:
        raise PoolError(f"base model {identifier} has no {CONFIG_NAME}", expected="a text encoder")
    content = hub.fetch(identifier, commit, CONFIG_NAME, facts, LARGEST_CONFIG)
    described = read_base(
        base, identifier, commit, json_object(content, f"{identifier}/{CONFIG_NAME}")
    )
    found = {
        listing.repo: listing
        for alias in sorted(described.aliases)
        for tag in (f"base_model:{alias}", f"BaseLM:{alias}")
        for listing in hub.search(ESM_TAG, tag)
    }
    return described, [found[repo] for repo in sorted(found)]


def pull_pool(
    base: str,
    folder: Path,
    filters: Filters | None = None,
    *,
    hub: Hub | None = None,
    workers: int = 8,
    strict: bool = False,
) -> PullReport:
    """Fetch the published maps for a base model into a pool.

    Cost: two small requests per map, one per dataset, and the weights: 4 (d² + d) bytes each, 2.4
    MB at d = 768, so about 3.5 GB for 1,500 maps. After a stop, the same command goes on.

    Args:
        base: Hub id of the base model.
        folder: The pool; made where it is missing.
        filters: Which maps to fetch; None for all. What the pool holds already stays.
        hub: The Hub; None for the one that ``HF_ENDPOINT`` names.
        workers: How many requests to have under way at once.
        strict: Raise for the first map that cannot be used instead of leaving it out.

    Raises:
        HubError: The Hub cannot be reached or has no such model.
        PoolError: hf-dataset-selector has no maps for such a model, or the pool is one for another.
        BusyError: Another process is writing to the pool.
        StorageError: The folder cannot be written.
    """
    started = time.monotonic()
    hub, filters = hub or Hub(), filters or Filters()
    described, listings = list_published(base, hub=hub)
    with folder_lock(folder):
        sweep(folder)
        sweep(folder / "sources")
        puller = _Puller(hub, _open(folder, described), described, workers, strict)
        settled, new = puller.sort(listings)
        candidates = puller.describe(new)
        kept, left_out = filters.apply(candidates, settled)
        fetched = puller.each("fetching maps", kept, puller.fetch, lambda each: each.repo)
    return PullReport(
        folder=str(folder),
        base=described.identity.model,
        found=len(listings),
        fetched=tuple(sorted(fetched)),
        present=tuple(candidate.repo for candidate in settled),
        left_out=left_out,
        skipped=tuple(sorted(puller.skipped, key=lambda skip: skip.source)),
        seconds=time.monotonic() - started,
    )


def _open(folder: Path, described: PublishedBase) -> Pool:
    """Open the pool, or begin one."""
    wanted = described.identity
    if Pool.exists(folder):
        pool = Pool.open(folder)
        pool.check_writable()
        ours = pool.manifest.base
        same = (ours.pooling, ours.width) == (wanted.pooling, wanted.width)
        if not same or ours.model not in described.aliases:
            raise PoolError(
                f"pool {folder} is for {ours.model}, {ours.pooling} pooling, width {ours.width}",
                expected=f"{wanted.model}, {wanted.pooling} pooling, width {wanted.width}",
                hint="pull into another folder",
            )
        return pool
    manifest = PoolManifest(
        format=POOL_FORMAT, base=wanted, revision=described.commit, anchors=None, lift=None
    )
    write_json(folder / "pool.json", manifest.model_dump(mode="json"))
    return Pool(folder, manifest)


class _Puller:
    """What all maps of one run share, and those that were skipped so far."""

    def __init__(
        self, hub: Hub, pool: Pool, described: PublishedBase, workers: int, strict: bool
    ) -> None:
        self._hub = hub
        self._pool = pool
        self._described = described
        self._workers = workers
        self._strict = strict
        self.skipped: list[Skipped] = []

    def each(
        self,
        description: str,
        items: Sequence[Item],
        work: Callable[[Item], Result],
        name: Callable[[Item], str],
    ) -> list[Result]:
        """Do the work for several items at once; those that fail are skipped."""
        results: list[Result] = []
        with (
            progress(description, total=len(items)) as advance,
            ThreadPoolExecutor(self._workers) as executor,
        ):
            under_way = {executor.submit(work, item): name(item) for item in items}
            try:
                for done in as_completed(under_way):
                    try:
                        results.append(done.result())
                    except HubDownError:
                        raise
                    except _MAP_ERRORS as error:
                        self._skip(under_way[done], error)
                    advance(1)
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise
        return results

    def _skip(self, source: str, error: EsmError) -> None:
        if self._strict:
            raise error
        self.skipped.append(Skipped(source, str(error)))

    def sort(self, listings: Sequence[Listing]) -> tuple[list[Candidate], list[Listing]]:
        """Return what the pool holds at its newest commit, and what is to be fetched."""
        settled, new = [], []
        for listing in listings:
            try:
                published = self._held(listing)
            except _MAP_ERRORS as error:
                self._skip(listing.repo[:80], error)
                continue
            if published is None:
                new.append(listing)
            else:
                settled.append(candidate_in_pool(listing, published))
        return settled, new

    def _held(self, listing: Listing) -> PublishedRecord | None:
        """Return where the pool's entry comes from if it is whole and of this commit.

        Raises:
            HubError: The map's name cannot be a folder's.
            PoolError: The pool has an entry of this name that was trained here.
        """
        if not is_repo(listing.repo) or len(listing.repo) > _LONGEST_ID:
            raise HubError(
                f"the Hub lists a map called {listing.repo[:80]!r}", expected="owner/name"
            )
        if not self._pool.source_folder(listing.repo).is_dir():
            return None
        try:
            entry = self._pool.entry(listing.repo)
            entry.load_map(next(iter(entry.record.maps)))
        except (PoolError, MapError, StorageError):  # damaged: it is fetched again
            return None
        if entry.record.published is None:
            raise PoolError(
                f"the pool has a source {listing.repo} that was trained here",
                expected="another name",
                hint="pull into another folder",
            )
        return entry.record.published if entry.record.published.commit == listing.commit else None

    # ------------------------------------------------------------------------------ descriptions

    def describe(self, listings: Sequence[Listing]) -> list[Candidate]:
        """Fetch what maps state of themselves, and what the Hub states of their datasets."""
        found = self.each("reading descriptions", listings, self._describe, lambda each: each.repo)
        found.sort(key=lambda candidate: candidate.repo)
        names = sorted({candidate.dataset_name for candidate in found} - {""})
        facts = dict(
            self.each(
                "reading licences",
                names,
                lambda name: (name, self._hub.dataset(name)),
                lambda name: name,
            )
        )
        return [
            replace(candidate, dataset=facts.get(candidate.dataset_name, DatasetFacts()))
            for candidate in found
        ]

    def _describe(self, listing: Listing) -> Candidate:
        files = self._hub.files(listing.repo, listing.commit)
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            if name not in files:
                raise MapError(
                    f"{listing.repo} has no {name}",
                    expected=f"{CONFIG_NAME} and {WEIGHTS_NAME}; other formats are not read",
                )
        content = self._hub.fetch(
            listing.repo, listing.commit, CONFIG_NAME, files[CONFIG_NAME], LARGEST_CONFIG
        )
        document = json_object(content, f"{listing.repo}/{CONFIG_NAME}")
        config, generation = read_published_config(document, f"{listing.repo}/{CONFIG_NAME}")
        if not self._described.is_named_by(config, listing):
            named = config.base_model_name or ", ".join(listing.base_models)
            raise MapError(
                f"{listing.repo} was made for base model {named or 'of no name'}",
                expected=self._described.identity.model,
            )
        return Candidate(listing, config, generation, DatasetFacts(), files[WEIGHTS_NAME], document)

    # ----------------------------------------------------------------------------------- weights

    def fetch(self, candidate: Candidate) -> str:
        """Fetch a map's weights and put it into the pool; return its id."""
        listing, base = candidate.listing, self._described.identity
        content = self._hub.fetch(
            listing.repo, listing.commit, WEIGHTS_NAME, candidate.weights, largest_weights(base)
        )
        fitted, config = read_download(candidate, content, base)
        store_download(
            candidate, fitted, config, self._pool.manifest, self._pool.source_folder(listing.repo)
        )
        return listing.repo
