"""Check every entry of a pool, packed or not, and name the bad ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from esm.common.errors import EsmError, PoolError
from esm.common.runtime import progress
from esm.common.storage import read_json
from esm.maps.delta.delta import DELTA_NAME
from esm.maps.forms import MapForm
from esm.pool.bundle.index import ShortlistIndex, indexed
from esm.pool.fingerprints import FINGERPRINT_NAME, KEY_NAME, FingerprintKey
from esm.pool.pool import Pool, PoolEntry

_KEYLESS = (
    f"{KEY_NAME} is absent or another pool's, so that no overlap is found; restore it, or run the"
    " same esm train again, which adds what is missing"
)


@dataclass(frozen=True)
class Fault:
    """Something that is wrong: with a source, or, where none is named, with the whole pool."""

    source: str
    reason: str


@dataclass(frozen=True)
class VerifyReport:
    """What was found.

    Attributes:
        folder: The pool.
        sources: Number of sources that are whole.
        maps: Number of their maps.
        faults: What is wrong.
        seconds: Wall-clock seconds.
    """

    folder: str
    sources: int
    maps: int
    faults: tuple[Fault, ...]
    seconds: float

    @property
    def bad(self) -> tuple[str, ...]:
        """Ids of the sources that something is wrong with."""
        return tuple(sorted({fault.source for fault in self.faults if fault.source}))

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self) | {"bad": list(self.bad)}

    def records(self) -> list[dict[str, Any]]:
        """Return one row per fault."""
        return [asdict(fault) for fault in self.faults]


def verify_pool(pool: Pool) -> VerifyReport:
    """Read everything that a pool holds and check it.

    Records against their fields; maps against names, shapes, formats, finite numbers, base model
    and lift (in a bundle against their checksums); other files of a source, whether they are
    whole; the lift against its hash; the fingerprint key against the base model and against what
    sources keep of their texts; the index of a shortlist, where there is one. Memory for one
    source, and for the index, at a time.
    """
    started = time.monotonic()
    faults = [Fault("", str(error)) for error in _shared(pool)]
    key, is_readable = _known_key(pool)
    count_unknown = 0
    sources, maps = 0, 0
    entries, damaged = pool.entries()
    faults += [Fault(skip.source, skip.reason) for skip in damaged]
    with progress(f"checking {pool.folder.name}", total=len(entries)) as advance:
        for entry in entries:
            found = list(_faults(entry, key))
            count_unknown += is_readable and not found and _is_of_unknown(entry, key)
            faults += [Fault(entry.id, str(error)) for error in found]
            sources += not found
            maps += 0 if found else len(entry.record.maps)
            advance(1)
    if count_unknown:
        faults.append(
            Fault(
                "", f"what {count_unknown} sources keep of their texts cannot be read: {_KEYLESS}"
            )
        )
    seconds = round(time.monotonic() - started, 2)
    return VerifyReport(str(pool.folder), sources, maps, tuple(faults), seconds)


def _shared(pool: Pool) -> Iterator[EsmError]:
    """Yield what is wrong with what all sources share."""
    checks: list[Callable[[], object]] = [pool.fingerprint_key]
    if pool.manifest.lift is not None:
        checks += [pool.lift, lambda: read_json(pool.folder / "anchors.json")]
    if pool.bundle is not None:
        checks += [partial(ShortlistIndex.load, pool.bundle, form) for form in indexed(pool.bundle)]
    for check in checks:
        try:
            check()
        except EsmError as error:
            yield error


def _known_key(pool: Pool) -> tuple[FingerprintKey | None, bool]:
    """Return the pool's key, if it has one, and whether it is not damaged, which is named."""
    try:
        return pool.fingerprint_key(), True
    except EsmError:
        return None, False


def _is_of_unknown(entry: PoolEntry, key: FingerprintKey | None) -> bool:
    """Whether an entry keeps numbers of its texts that this key does not read."""
    return FINGERPRINT_NAME in _file_names(entry) and entry.load_fingerprint(key) is None


def _faults(entry: PoolEntry, key: FingerprintKey | None) -> Iterator[EsmError]:
    """Yield what is wrong with a source; one that has no map at all is of no use."""
    for form in entry.record.maps:
        try:
            entry.load_map(form)
            _check_owner(entry, form)
        except EsmError as error:
            yield error
    for name in _file_names(entry):
        try:
            if name == FINGERPRINT_NAME:
                entry.load_fingerprint(key)
            elif name == DELTA_NAME:
                entry.load_delta()
            else:
                entry.tensors(name)
        except EsmError as error:
            yield error


def _check_owner(entry: PoolEntry, form: MapForm) -> None:
    """Check that a file of packed maps says the same of a map as the record that points to it.

    Raises:
        PoolError: It says that the map is another source's.
    """
    if entry.packed is None:
        return
    bundle, place = entry.packed.bundle, entry.packed.line.maps[form]
    owner = bundle.entry(int(bundle.shard(place.shard).entries[place.row])).line.id
    if owner != entry.id:
        raise PoolError(
            f"{bundle.manifest.maps[place.shard].file} says that the {form} map of {entry.id} is"
            f" one of {owner}",
            hint="pack the pool again",
        )


def _file_names(entry: PoolEntry) -> list[str]:
    """Return the names of the source's other files, the tuned encoder's weights among them."""
    if entry.packed is not None:
        return sorted(entry.packed.line.files)
    found = [*entry.folder.glob("*.safetensors"), *entry.folder.glob("model/*.safetensors")]
    return sorted(str(path.relative_to(entry.folder)) for path in found)
