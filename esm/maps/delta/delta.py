"""A delta: the difference of a tuned encoder's weights to the base model's, and its file.

Every changed matrix is a product of low rank in 4 bits (LoRA's form, Hu et al. 2022, found by a
singular value decomposition of the difference as in Ping et al. 2024, "Delta-CoMe"); biases and
norms are rows in 8 bits. At the same bytes coarse numbers leave room for more directions: of the
change that tuning on AG News made in the embeddings of 60 tweets a delta of 438 kB explains 0.906
with 16 bits a number, 0.962 with 8, 0.983 with 4 and 0.967 with 3 (``benchmarks/delta_bits.py``). A
delta that was not cut holds the changed weights themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float32
from esm.common.errors import MapError

if TYPE_CHECKING:
    import torch

DELTA_NAME = "delta.safetensors"

# No weight of a model has a slash in its name.
_BASE = "/base"
_SCALES = "/scales"

_CODES = (np.int8, np.uint8)

Int8 = npt.NDArray[np.int8]
Tensors = Mapping[str, npt.NDArray[Any]]


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Return rows m and columns n as which a weight is factorised: the most nearly square.

    A vector is one row. Of more dimensions, some of the first are the rows and the others the
    columns: those of a convolution (out, in, width) are (out, in x width).

    Example:
        >>> matrix_shape((384,)), matrix_shape((384, 1536)), matrix_shape((8, 64, 32))
        ((1, 384), (384, 1536), (512, 32))
    """
    splits = [(prod(shape[:at]), prod(shape[at:])) for at in range(len(shape))]
    return max(splits, key=lambda split: (min(split), -split[0]), default=(1, 1))


@dataclass(frozen=True, eq=False)
class Factors:
    """A matrix of low rank in few bits: the sum over its r rows of ``scale * left^T right``.

    Scales are multiples of a power of two, of 20 bits at most (see
    :func:`esm.maps.delta.cut.cut_delta`), so that in float64 the sum is exact in any order: the
    same weights on every machine.

    Attributes:
        codes: (r, m + n) int8, the m numbers of ``left`` before the n of ``right``; in 4 bits they
            are within -7 and 7, with a zero behind them where m + n is odd.
        scales: (r,) float32.
        bits: 4 or 8.
    """

    codes: Int8
    scales: Float32
    bits: int

    @classmethod
    def read(cls, stored: npt.NDArray[Any], scales: Float32) -> Self:
        """Return factors as a file holds them: int8, or two of 4 bits in a uint8."""
        if stored.dtype == np.int8:
            return cls(stored, scales, 8)
        halves = np.stack([stored & 15, stored >> 4], axis=2).astype(np.int8) - 8
        return cls(halves.reshape(len(stored), -1), scales, 4)

    def stored(self) -> npt.NDArray[Any]:
        """Return the codes as a file holds them, see :meth:`read`."""
        if self.bits == 8:
            return self.codes
        shifted = (self.codes + 8).astype(np.uint8)
        packed: npt.NDArray[Any] = shifted[:, ::2] | shifted[:, 1::2] << 4
        return packed

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether these are factors of a weight of this shape."""
        length = sum(matrix_shape(shape))
        return int(self.codes.shape[1]) == length + (length % 2 if self.bits == 4 else 0)

    def product(self, shape: Sequence[int], device: torch.device) -> torch.Tensor:
        """Return the float32 difference of a weight of a shape that it fits: O(r m n)."""
        import torch

        # MPS has no float64; the product is made on the CPU there.
        at = torch.device("cpu") if device.type == "mps" else device
        codes = torch.from_numpy(self.codes).to(at, torch.float64)
        scales = torch.from_numpy(self.scales).to(at, torch.float64)
        rows, columns = matrix_shape(shape)
        left, right = codes[:, :rows], codes[:, rows : rows + columns]
        return ((left.T * scales) @ right).reshape(tuple(shape)).float().to(device)


@dataclass(frozen=True, eq=False)
class Delta:
    """What tuning on a source changed.

    Attributes:
        base: SHA-256 (hex) of the weights of the base model to which it is added, as
            :attr:`esm.encoder.settings.BaseIdentity.weights`.
        factors: Differences by the name of the weight.
        whole: Weights that replace the base model's.
    """

    base: str
    factors: Mapping[str, Factors]
    whole: Mapping[str, Float32]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the weights that it changes, sorted."""
        return tuple(sorted((*self.factors, *self.whole)))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a file holds: codes and whole weights by name, scales in order of names."""
        ordered = [self.factors[name].scales for name in sorted(self.factors)]
        return {
            _BASE: np.frombuffer(bytes.fromhex(self.base), dtype=np.uint8),
            _SCALES: np.concatenate([np.zeros(0, np.float32), *ordered]),
            **{name: one.stored() for name, one in self.factors.items()},
            **self.whole,
        }

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over names, formats, shapes and bytes of all tensors."""
        digest = hashlib.sha256()
        for name, array in sorted(self.tensors().items()):
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @classmethod
    def from_tensors(cls, tensors: Tensors, *, where: str, base: str | None) -> Self:
        """Check what a file holds; that it fits a model is checked where it is added to one.

        Args:
            tensors: As :meth:`tensors` gives them.
            where: What to call the file in an error.
            base: Hash of the base model's weights to which it has to belong; None for any.

        Raises:
            MapError: Tensors are missing, of other formats or shapes, or not finite, or the delta
                belongs to another base model.
        """
        fault = next(_faults(tensors), None)
        if fault is not None:
            raise MapError(
                f"{where}: {fault}",
                expected="rows of codes in 4 or 8 bits, a finite scale for each, or whole float32"
                " weights",
                hint="esm train --replace",
            )
        found = tensors[_BASE].tobytes().hex()
        if base is not None and found != base:
            raise MapError(
                f"{where} is the delta of another base model, with weights {found[:12]}",
                expected=f"weights {base[:12]}, the pool's",
                hint="restore the file, or esm train --replace",
            )
        coded = sorted(name for name, array in _weights(tensors) if array.dtype in _CODES)
        ends = np.cumsum([len(tensors[name]) for name in coded], dtype=np.int64)
        scales = np.split(tensors[_SCALES], ends[:-1])
        return cls(
            base=found,
            factors={
                name: Factors.read(tensors[name], part)
                for name, part in zip(coded, scales, strict=False)
            },
            whole={name: array for name, array in _weights(tensors) if array.dtype not in _CODES},
        )


def _weights(tensors: Tensors) -> list[tuple[str, npt.NDArray[Any]]]:
    return [(name, array) for name, array in tensors.items() if name not in (_BASE, _SCALES)]


def _faults(tensors: Tensors) -> Iterator[str]:
    """Yield what is wrong with the tensors of a file."""
    for name, dtype, shape in ((_BASE, np.uint8, (32,)), (_SCALES, np.float32, (-1,))):
        array = tensors.get(name)
        if array is None or array.dtype != dtype or array.ndim != 1 or array.shape < shape[:1]:
            yield f"{name} is {_described(array)}"
            return
    if not np.isfinite(tensors[_SCALES]).all():
        yield "scales that are NaN or infinite"
    rows = 0
    for name, array in _weights(tensors):
        if array.dtype in _CODES and array.ndim == 2 and len(array):
            rows += len(array)
        elif array.dtype != np.float32:
            yield f"{name} is {_described(array)}"
        elif not np.isfinite(array).all():
            yield f"{name} holds NaN or infinite numbers"
    if rows != len(tensors[_SCALES]):
        yield f"{len(tensors[_SCALES])} scales for {rows} rows of codes"


def _described(array: npt.NDArray[Any] | None) -> str:
    return "missing" if array is None else f"{array.dtype} of shape {array.shape}"
