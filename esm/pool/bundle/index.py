"""The signatures of a packed pool, kept in a file of the bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import MapError, PoolError
from esm.common.neighbours import NearIndex
from esm.common.runtime import progress
from esm.common.storage import content_hash, load_tensors, save_tensors
from esm.maps.forms import MapForm
from esm.maps.stack import LowRankStack
from esm.pool.bundle.read import Bundle
from esm.pool.bundle.signature import SignatureBasis, Signatures

_LOGGER = logging.getLogger(__name__)

Places = npt.NDArray[np.int64]

_BLOCK = 256

# Most maps from which the shared directions are found.
_SAMPLE = 4096


@dataclass(frozen=True, eq=False)
class ShortlistIndex:
    """Signatures of m maps.

    Attributes:
        places: (m, 2), which file of maps of the bundle each lies in, and its row there.
        signatures: (m, D) float32.
        centres: (c, D) float32, cells of the index; none below 10,000 maps.
    """

    places: Places
    signatures: Signatures
    centres: Signatures

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def near(self) -> NearIndex:
        """Finds maps with similar signatures."""
        return NearIndex(self.signatures, self.centres)

    @cached_property
    def numbers(self) -> dict[tuple[int, int], int]:
        """Number of the map at each place."""
        return {(shard, row): number for number, (shard, row) in enumerate(self.places.tolist())}

    def save(self, bundle: Bundle, form: MapForm) -> None:
        """Write it beside the bundle's maps."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "places": self.places,
            "signatures": self.signatures,
            "centres": self.centres,
            "bundle": _mark(bundle),
        }
        save_tensors(bundle.folder / _name(form), tensors)

    @classmethod
    def load(cls, bundle: Bundle, form: MapForm) -> ShortlistIndex:
        """Read the index of a bundle and check it.

        Raises:
            PoolError: There is none, or it belongs to another bundle.
            MapError: It is damaged.
        """
        path, hint = bundle.folder / _name(form), f"esm pool index {bundle.folder}"
        if not path.is_file():
            raise PoolError(f"{bundle.folder} has no index of {form} maps", hint=hint)
        found = load_tensors(path)
        if set(found) != {"places", "signatures", "centres", "bundle"}:
            raise MapError(f"{path} holds {', '.join(sorted(found))}", hint=hint)
        if not np.array_equal(found["bundle"], _mark(bundle)):
            raise PoolError(f"{path} is the index of another bundle", hint=hint)
        places, signatures, centres = found["places"], found["signatures"], found["centres"]
        kinds = (places.dtype, signatures.dtype, centres.dtype)
        if kinds != (np.int64, np.float32, np.float32) or not (
            places.ndim == signatures.ndim == centres.ndim == 2
            and places.shape == (len(signatures), 2)
            and centres.shape[1] == signatures.shape[1]
            and np.isfinite(signatures).all()
            and np.isfinite(centres).all()
        ):
            raise MapError(
                f"{path}: places {places.shape}, signatures {signatures.shape}",
                expected="(m, 2) and (m, D), finite",
                hint=hint,
            )
        sizes = np.array([shard.count for shard in bundle.manifest.maps])
        inside = (places >= 0).all() and (places[:, 0] < len(sizes)).all()
        if not inside or (places[:, 1] >= sizes[places[:, 0]]).any():
            raise MapError(f"{path} names maps that the bundle does not hold", hint=hint)
        return cls(places, signatures, centres)


def build_index(bundle: Bundle, form: MapForm) -> ShortlistIndex:
    """Compute the signatures of all low-rank maps of a form that are finite.

    Raises:
        PoolError: The bundle has no such maps, or some that are dense or read another lift.
    """
    shards = [one for one in bundle.manifest.maps if one.form is form]
    if not shards or any(one.rank is None for one in shards):
        raise PoolError(
            f"{bundle.folder} holds {'dense' if shards else 'no'} {form} maps",
            expected="low-rank maps",
            hint="esm pool pack --compress 16" if shards else "--map with a form the pool has",
        )
    if len({(one.width, one.lift_width) for one in shards}) > 1:
        raise PoolError(f"{form} maps of {bundle.folder} differ in width or lift")
    total = sum(one.count for one in shards)
    step = -(-total // _SAMPLE)
    basis = SignatureBasis.of(lambda: (stack for _, stack in _stacks(bundle, form, step)))
    places, rows = [], []
    with progress(f"indexing {form} maps", total) as advance:
        for place, stack in _stacks(bundle, form, 1):
            signed = basis.sign(stack)
            whole = np.isfinite(signed).all(axis=1)
            places.append(place[whole])
            rows.append(signed[whole])
            advance(len(place))
    signatures = np.concatenate(rows)
    if len(signatures) < total:
        _LOGGER.warning(
            f"{total - len(signatures)} of {total} {form} maps are not finite, so not indexed"
        )
    return ShortlistIndex(np.concatenate(places), signatures, NearIndex.cells(signatures))


def index_bundle(bundle: Bundle) -> dict[MapForm, int]:
    """Index every form that has low-rank maps only; return the number of maps of each.

    Raises:
        PoolError: There is none.
    """
    ranks: dict[MapForm, list[int | None]] = {}
    for one in bundle.manifest.maps:
        ranks.setdefault(one.form, []).append(one.rank)
    forms = [form for form in MapForm if form in ranks and None not in ranks[form]]
    found: dict[MapForm, int] = {}
    for form in forms or list(ranks)[:1]:
        built = build_index(bundle, form)
        built.save(bundle, form)
        found[form] = len(built)
    return found


def _stacks(bundle: Bundle, form: MapForm, step: int) -> Iterator[tuple[Places, LowRankStack]]:
    """Read every step-th low-rank map of a form in stacks, with the places."""
    for number, record in enumerate(bundle.manifest.maps):
        if record.form is not form:
            continue
        for begin in range(0, record.count, _BLOCK * step):
            end = min(begin + _BLOCK * step, record.count)
            part = bundle.shard(number).part(begin, end)
            scale, left, right, bias = (
                part[name][::step] for name in ("scale", "left", "right", "bias")
            )
            rows = np.arange(begin, end, step)
            place = np.column_stack([np.full(len(rows), number), rows]).astype(np.int64)
            yield place, LowRankStack(scale, left, right, bias, reads_base=not record.lift_width)


def indexed(bundle: Bundle) -> list[MapForm]:
    """Return the forms of maps that there is a file of an index for, whole or not."""
    return [form for form in MapForm if (bundle.folder / _name(form)).is_file()]


def _name(form: MapForm) -> str:
    return f"shortlist-{form}.safetensors"


def _mark(bundle: Bundle) -> npt.NDArray[np.uint8]:
    """Tell this bundle from others."""
    text = content_hash(bundle.manifest.model_dump(mode="json"))
    return np.frombuffer(text.encode(), dtype=np.uint8).copy()
