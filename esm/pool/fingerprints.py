"""What a pool keeps of a source's texts, to find them again in a target: numbers, never texts.

Exact copies are found by a 64-bit number of every distinct text, near ones by a *sketch* of at
most 512 training rows: 256 bits, the signs of random projections of the base embedding. Two
embeddings at an angle θ differ in a share θ / π of the bits. Embeddings are centred on the mean of
the pool's anchors first: in most encoders all texts lie close together.

Both depend on a secret that is drawn for each pool and kept beside it, readable by its owner only.
Numbers and sketches of two pools have nothing in common, and who is given entries without the
secret can do nothing with them. **Who holds the secret too can test a guess**: whether the source
has this very text, or one like it. That cannot be otherwise, it is what the numbers are for; a
slow hash makes it dearer (a hundred times a plain one, 40 µs), which matters to a search through
millions of guesses and not to a single one. A sketch holds 256 bits of an embedding of d floats;
with the secret it tells what a text is about, roughly, as a neighbour search would.

Bytes of a source: 8 per distinct text and 32 per sampled row, 24 kB for 1,000 texts.

Sources:
    Charikar 2002, Similarity Estimation Techniques from Rounding Algorithms (the signs; with
    entries of ±1 in place of normal ones: Achlioptas 2003, Database-Friendly Random Projections).
    RFC 8018, section 5.2 (PBKDF2).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.errors import MapError
from esm.common.storage import load_tensors, save_tensors
from esm.tasks.identity import fingerprint_form, row_forms, unsalted_numbers
from esm.tasks.task import Examples, SplitName, Task

FINGERPRINT_NAME = "texts.safetensors"
KEY_NAME = "fingerprint-key.safetensors"

SKETCH_BITS = 256
MOST_SKETCHED = 512

Numbers = npt.NDArray[np.uint64]
Sketches = npt.NDArray[np.uint8]

_SECRET_BYTES = 32
_TAG_BYTES = 8
_HASH_ROUNDS = 100
# 64 bits: a million texts and a million others have none in common by chance, but for one draw
# in twenty million.
_NUMBER_BYTES = 8

# "Thank you so much" is nobody's: texts that short are shared without having been copied.
_TELLING_WORDS = 4
_TELLING_CHARACTERS = 20

_HINT = "esm train with the same tasks and settings makes it anew, once it is deleted"


# ------------------------------------------------------------------------------------- the forms


def is_informative(forms: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which texts tell of a copy where they are found twice.

    Those of four words or twenty characters; where fewer than half of the texts have as many, all.

    Args:
        forms: n texts, see :func:`~esm.tasks.identity.fingerprint_form`.

    Returns:
        (n,) which count.
    """
    long = np.array(
        [
            form.count(" ") >= _TELLING_WORDS - 1 or len(form) >= _TELLING_CHARACTERS
            for form in forms
        ],
        dtype=np.bool_,
    )
    return long if 2 * long.sum() >= len(long) else np.ones_like(long)


# --------------------------------------------------------------------------------------- the key


@dataclass(frozen=True, eq=False)
class FingerprintKey:
    """What the fingerprints of one pool depend on.

    Attributes:
        secret: 32 random bytes.
        centre: (d,) float32, mean base embedding of the pool's anchors.
    """

    secret: bytes
    centre: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        shape, kind = self.centre.shape, self.centre.dtype
        flat = self.centre.ndim == 1 and kind == np.float32 and self.centre.size > 0
        if not flat or not np.isfinite(self.centre).all() or len(self.secret) != _SECRET_BYTES:
            raise MapError(
                f"a fingerprint key with {len(self.secret)} secret bytes and a centre {shape}"
                f" {kind}",
                expected=f"{_SECRET_BYTES} bytes and finite float32 of shape (d,)",
                hint=_HINT,
            )

    @cached_property
    def tag(self) -> bytes:
        """Tells this key from others without revealing it."""
        return hashlib.blake2b(b"tag", key=self.secret, digest_size=_TAG_BYTES).digest()

    @cached_property
    def _projection(self) -> npt.NDArray[np.float64]:
        """(d, 256) of ±1."""
        width = len(self.centre)
        # A hash and no random generator: its stream may change with the library's version.
        stream = hashlib.shake_256(b"projection" + self.secret).digest(width * SKETCH_BITS // 8)
        signs = np.unpackbits(np.frombuffer(stream, dtype=np.uint8)).astype(np.float64)
        return 2.0 * signs.reshape(width, SKETCH_BITS) - 1.0

    def numbers(self, forms: Sequence[str]) -> Numbers:
        """Return a number per text; equal texts have equal ones. About 40 µs a text.

        Args:
            forms: n texts, see :func:`~esm.tasks.identity.fingerprint_form`.

        Returns:
            (n,) uint64, in the order of the texts.
        """
        found = np.empty(len(forms), dtype=np.uint64)
        for row, form in enumerate(forms):
            encoded = form.encode("utf-8", "surrogatepass")
            digest = hashlib.pbkdf2_hmac(
                "sha256", encoded, self.secret, _HASH_ROUNDS, dklen=_NUMBER_BYTES
            )
            found[row] = int.from_bytes(digest, "little")
        return found

    def sketches(self, embeddings: npt.NDArray[np.floating[Any]]) -> Sketches:
        """Return (n, 32) uint8, 256 bits of each of (n, d) base embeddings."""
        centred = embeddings.astype(np.float64) - self.centre
        return np.packbits(centred @ self._projection > 0, axis=1)

    def lot(self, form: str) -> bytes:
        """Return what a row's place in the sample is drawn by; it has nothing to do with others."""
        encoded = form.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(encoded, key=self.secret, person=b"sample").digest()

    def save(self, folder: Path) -> None:
        """Write the key into a pool's folder, readable by its owner only."""
        secret = np.frombuffer(self.secret, dtype=np.uint8)
        save_tensors(folder / KEY_NAME, {"secret": secret, "centre": self.centre}, private=True)


def load_key(folder: Path, *, width: int | None = None) -> FingerprintKey | None:
    """Return a pool's key; None where it has none.

    Args:
        folder: The pool's.
        width: Width of the base model's embeddings, where the key is to be checked against it.

    Raises:
        MapError: The file is damaged, or another base model's.
    """
    path = folder / KEY_NAME
    if not path.is_file():
        return None
    tensors = load_tensors(path)
    _check_names(path, tensors, {"secret", "centre"})
    key = FingerprintKey(tensors["secret"].tobytes(), tensors["centre"])
    if width is not None and len(key.centre) != width:
        raise MapError(
            f"{folder} has a fingerprint key for embeddings of width {len(key.centre)}",
            expected=f"width {width}, the base model's",
            hint="delete it; esm train with the same tasks and settings makes another",
        )
    return key


def open_key(folder: Path, centre: Callable[[], npt.NDArray[np.float32]]) -> FingerprintKey:
    """Return a pool's key; one that has none gets one. Call it while holding the pool's lock.

    Args:
        folder: The pool's.
        centre: Gives the mean base embedding of the pool's anchors; called for a new key only.

    Raises:
        MapError: The file is damaged.
        StorageError: The folder cannot be written.
    """
    found = load_key(folder)
    if found is None:
        found = FingerprintKey(secrets.token_bytes(_SECRET_BYTES), centre())
        found.save(folder)
    return found


# ------------------------------------------------------------------------------- the fingerprint


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of a source's texts.

    Attributes:
        train: (t,) ascending numbers of its training texts, the two of a pair each by itself.
        other: (o,) ascending numbers of its validation and test texts that are not among them.
        sketches: (m, 32) of a sample of its distinct training rows, m at most 512; none where
            the fingerprint was made without embeddings.
        population: Distinct training rows that the sample was drawn from.
        salted: Whether the numbers are those of :class:`FingerprintKey`; else they are
            :func:`~esm.tasks.identity.unsalted_numbers`, as earlier versions kept them.
    """

    train: Numbers
    other: Numbers
    sketches: Sketches
    population: int
    salted: bool = True

    def __post_init__(self) -> None:
        for numbers in (self.train, self.other):
            ascending = numbers.ndim == 1 and numbers.dtype == np.uint64
            if not ascending or not (numbers[1:] > numbers[:-1]).all():
                raise MapError(
                    f"numbers of texts of shape {numbers.shape} and type {numbers.dtype}",
                    expected="distinct ascending uint64",
                    hint=_HINT,
                )
        shape, kind = self.sketches.shape, self.sketches.dtype
        fits = shape[1:] == (SKETCH_BITS // 8,) and kind == np.uint8
        if not fits or len(self.sketches) > max(self.population, 0):
            raise MapError(
                f"sketches of shape {shape} and type {kind}, of {self.population} rows",
                expected=f"(m, {SKETCH_BITS // 8}) uint8, m at most the number of rows",
                hint=_HINT,
            )

    @classmethod
    def of(
        cls,
        key: FingerprintKey,
        task: Task,
        embed: Callable[[Examples], npt.NDArray[np.floating[Any]]],
    ) -> Self:
        """Take the fingerprint of a source.

        Cost: 40 µs per text, and the embedding of at most 512 training rows.

        Args:
            key: The pool's.
            task: The source task, with all its rows.
            embed: Gives the (m, d) base embeddings of m rows.
        """
        train = np.unique(key.numbers(_forms([task.train])))
        rest = [rows for name, rows in task.splits.items() if name is not SplitName.TRAIN]
        other = np.setdiff1d(key.numbers(_forms(rest)), train)
        rows, population = _drawn(key, task.train)
        sketches = key.sketches(embed(task.train.take(rows)))
        # In an order of their own: which sketch belongs to which number stays unsaid.
        order = np.lexsort(sketches.T[::-1])
        return cls(train, other, sketches[order], population)

    @classmethod
    def unsalted(cls, examples: Examples) -> Self:
        """Return the numbers of training texts alone, as far as they are known without a key."""
        return cls._of_numbers(unsalted_numbers([*examples.texts, *(examples.pairs or ())]))

    @classmethod
    def _of_numbers(cls, train: Numbers) -> Self:
        none = np.empty(0, dtype=np.uint64)
        sketches = np.empty((0, SKETCH_BITS // 8), dtype=np.uint8)
        return cls(np.unique(train), none, sketches, 0, salted=False)

    def save(self, folder: Path, key: FingerprintKey) -> None:
        """Write it into an entry's folder, readable by its owner only."""
        tensors: dict[str, npt.NDArray[Any]] = {
            "key": np.frombuffer(key.tag, dtype=np.uint8),
            "train": self.train,
            "other": self.other,
            "sketches": self.sketches,
            "population": np.array([self.population], dtype=np.int64),
        }
        save_tensors(folder / FINGERPRINT_NAME, tensors, private=True)


def read_fingerprint(
    stored: Mapping[str, npt.NDArray[Any]], key: FingerprintKey | None, *, where: str
) -> Fingerprint | None:
    """Return the fingerprint that an entry stores, in a folder or packed, of any version.

    Args:
        stored: The arrays of the entry's :data:`FINGERPRINT_NAME`.
        key: The pool's; None where it has none.
        where: What an error names.

    Returns:
        None where it was made with another key than this one.

    Raises:
        MapError: It is damaged.
    """
    if set(stored) == {"keys"}:
        return Fingerprint._of_numbers(stored["keys"])
    _check_names(where, stored, {"key", "train", "other", "sketches", "population"})
    if key is None or stored["key"].tobytes() != key.tag:
        return None
    return Fingerprint(
        stored["train"], stored["other"], stored["sketches"], int(stored["population"].sum())
    )


def _check_names(where: object, tensors: Iterable[str], names: set[str]) -> None:
    found = set(tensors)
    if found != names:
        raise MapError(
            f"{where} holds {', '.join(sorted(found)[:5]) or 'nothing'}",
            expected=", ".join(sorted(names)),
            hint=_HINT,
        )


def _forms(parts: Sequence[Examples]) -> list[str]:
    """Return the distinct texts of some rows, the two of a pair each by itself."""
    texts = [text for rows in parts for text in (*rows.texts, *(rows.pairs or ()))]
    return list(dict.fromkeys(map(fingerprint_form, dict.fromkeys(texts))))


def informative_rows(texts: Sequence[str], pairs: Sequence[str] | None) -> dict[str, int]:
    """Return where the distinct rows that tell come first, by their forms."""
    first: dict[str, int] = {}
    for row, form in enumerate(row_forms(texts, pairs, fingerprint_form)):
        first.setdefault(form, row)
    counted = is_informative(list(first))
    return {form: row for (form, row), counts in zip(first.items(), counted, strict=True) if counts}


def _drawn(key: FingerprintKey, examples: Examples) -> tuple[list[int], int]:
    """Draw distinct rows that tell; return where they stand, and of how many they were drawn."""
    rows = informative_rows(examples.texts, examples.pairs)
    # By lots and not by place: the draw does not depend on the order of the rows.
    chosen = sorted(rows, key=key.lot)[:MOST_SKETCHED]
    return [rows[form] for form in chosen], len(rows)
