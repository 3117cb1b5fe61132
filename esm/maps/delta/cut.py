"""From a tuned model to its delta: which singular values are worth their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from esm.common.arrays import Float32, Float64
from esm.common.errors import FitError, SettingError
from esm.maps.delta.delta import Delta, Factors, matrix_shape

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BYTES_PER_LAYER_AND_DIMENSION = 190
"""Default budget: 438 kB for 6 layers of width 384, so that with its map a source takes 0.5 MB."""

_LARGEST_CODE = {4: 7, 8: 127}
_SCALE_BITS = 20
_SCALE_BYTES = 4
# Of a tensor in the header of a safetensors file, beside its name.
_HEADER_BYTES = 80
# Names, scales, the base model's hash, and the header's length.
_FILE_BYTES = 256


@dataclass(frozen=True)
class Cut:
    """A delta and what is not in it.

    Attributes:
        delta: The delta.
        left_out: Names of weights that tuning changed and the delta does not: embedding tables,
            and matrices whose largest singular value is below the threshold.
    """

    delta: Delta
    left_out: tuple[str, ...]


def default_budget(num_layers: int, width: int) -> int:
    """Return the bytes that a delta takes where nothing else is asked for.

    Example:
        >>> default_budget(6, 384), default_budget(12, 384)
        (437760, 875520)
    """
    return BYTES_PER_LAYER_AND_DIMENSION * num_layers * width


def cut_delta(
    base: PreTrainedModel, tuned: PreTrainedModel, weights: str, budget: int | None
) -> Cut:
    """Return the delta of a tuned model, as good as its bytes allow.

    Vectors are kept whole. Of all matrices those singular values are kept whose square per byte is
    above one threshold, the lowest that fits into the budget: what is left out of the differences
    is then as small, in squares, as rank-1 pieces of so many bytes can make it. Numbers have 4 or
    8 bits, whichever comes nearer: many coarse directions where bytes are few. Embedding tables
    are left out: a row of them is changed only where its token occurred.

    Cost: an eigendecomposition of the smaller side per matrix, O(m² n), m <= n: 4 s for 6 layers
    of width 384 on one core.

    Args:
        base: The base model.
        tuned: The same architecture after training.
        weights: Hash of the base model's weights, for which the delta holds.
        budget: Bytes of the file; None keeps every changed weight whole, tables too.

    Raises:
        FitError: The models differ in more than numbers, or the tuned one holds NaN.
        SettingError: The vectors alone take more than the budget.
    """
    changed = changed_weights(base, tuned)
    if budget is None:
        whole = {name: _to_numpy(after) for name, (_, after) in changed.items()}
        return Cut(Delta(weights, {}, whole), ())
    check_budget(base, budget)
    spectra = spectra_of(base, tuned)
    found = [_coded(spectra, budget, bits) for bits in sorted(_LARGEST_CODE)]
    factors = min(found, key=lambda one: _distance(spectra, one))
    return Cut(Delta(weights, factors, {}), tuple(sorted(changed.keys() - factors.keys())))


def spectra_of(base: PreTrainedModel, tuned: PreTrainedModel) -> dict[str, Spectrum]:
    """Decompose what training changed of every weight but the embedding tables."""
    tables = _embedding_tables(base)
    return {
        name: Spectrum.of((after - before).double().reshape(matrix_shape(before.shape)))
        for name, (before, after) in changed_weights(base, tuned).items()
        if name not in tables
    }


def _coded(spectra: Mapping[str, Spectrum], budget: int, bits: int) -> dict[str, Factors]:
    """Return the factors that fit into a budget with so many bits per number of a matrix."""
    ranks = _ranks(spectra, budget, bits)
    return {name: spectra[name].factors(rank, bits) for name, rank in ranks.items() if rank}


def _distance(spectra: Mapping[str, Spectrum], factors: Mapping[str, Factors]) -> float:
    """Return the sum of squares of what factors lack of the differences."""
    device = torch.device("cpu")
    return sum(
        float(
            (one.matrix - factors[name].product(one.matrix.shape, device)).square().sum()
            if name in factors
            else one.matrix.square().sum()
        )
        for name, one in spectra.items()
    )


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Left singular vectors and values of a matrix; right ones follow where they are wanted.

    Attributes:
        matrix: (m, n) float64.
        left: (m, k) float64, in the order of the values.
        values: (k,) float64, descending, positive.
    """

    matrix: Tensor
    left: Tensor
    values: Float64

    @classmethod
    def of(cls, matrix: Tensor) -> Spectrum:
        """Decompose by the smaller of the two Gram matrices.

        Squaring costs the digits of the values below 1e-8 of the largest, which no budget keeps.
        """
        short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        squares, vectors = torch.linalg.eigh(short @ short.T)
        values = squares.clamp_min(0).sqrt().flip(0)
        count = int((values > values[0] * 1e-7).sum())
        left = vectors.flip(1)[:, :count]
        found = values[:count].numpy()
        if short is not matrix:
            left = matrix @ left / values[:count]
        return cls(matrix, left, found)

    @property
    def is_vector(self) -> bool:
        """Whether it is a row or a column, of rank 1."""
        return min(self.matrix.shape) == 1

    def bits(self, wanted: int) -> int:
        """Return the bits of a number: always 8 in vectors, which make little of the file."""
        return 8 if self.is_vector else wanted

    def row_bytes(self, bits: int) -> int:
        """Return the bytes of a direction and its scale."""
        return -(-sum(self.matrix.shape) * self.bits(bits) // 8) + _SCALE_BYTES

    def factors(self, rank: int, bits: int) -> Factors:
        """Return the first directions in few bits.

        Either side of a direction is coded in equal steps up to its largest number.
        """
        bits = self.bits(bits)
        most_steps = _LARGEST_CODE[bits]
        left = self.left[:, :rank]
        right = self.matrix.T @ left
        sides = (left.T, right.T)
        largest = [side.abs().amax(dim=1, keepdim=True) for side in sides]
        codes = [
            torch.round(side / most * most_steps).to(torch.int8)
            for side, most in zip(sides, largest, strict=True)
        ]
        if bits == 4 and sum(self.matrix.shape) % 2:
            codes.append(torch.zeros(rank, 1, dtype=torch.int8))
        scales = (largest[0] * largest[1])[:, 0].numpy() / most_steps**2
        return Factors(torch.cat(codes, dim=1).numpy(), _in_steps(scales), bits)


def _in_steps(scales: Float64) -> Float32:
    """Round scales to multiples of one power of two, at most 2^20 of it."""
    step = 2.0 ** (int(np.frexp(scales.max())[1]) - _SCALE_BITS)
    rounded: Float32 = (np.maximum(np.rint(scales / step), 1) * step).astype(np.float32)
    return rounded


def _ranks(spectra: Mapping[str, Spectrum], budget: int, bits: int) -> dict[str, int]:
    """Return the rank of every matrix: those values whose square per byte is the largest."""
    sizes = {name: spectrum.row_bytes(bits) for name, spectrum in spectra.items()}
    vectors = [name for name, spectrum in spectra.items() if spectrum.is_vector]
    taken = _FILE_BYTES + sum(sizes[name] + _header(name) for name in vectors)
    ranks = dict.fromkeys(spectra, 0) | dict.fromkeys(vectors, 1)
    pieces = [
        (-(value**2) / sizes[name], name, place)
        for name, spectrum in spectra.items()
        if not spectrum.is_vector
        for place, value in enumerate(spectrum.values)
    ]
    for _, name, place in sorted(pieces):
        taken += sizes[name] + (_header(name) if place == 0 else 0)
        if taken > budget:
            break
        ranks[name] = place + 1
    return ranks


def check_budget(base: PreTrainedModel, budget: int | None) -> None:
    """Check that biases and norms fit into a budget, before anything is trained.

    Raises:
        SettingError: They do not.
    """
    vectors = [
        (name, one) for name, one in base.named_parameters() if min(matrix_shape(one.shape)) == 1
    ]
    fewest = _FILE_BYTES + sum(
        _header(name) + one.numel() + 1 + _SCALE_BYTES for name, one in vectors
    )
    if budget is not None and budget < fewest:
        raise SettingError(
            f"a delta of {budget:,} bytes, where biases and norms alone take {fewest:,}",
            expected="a larger budget",
            hint=f"--delta {fewest * 4 / 1e6:.2g}MB, or none",
        )


def _header(name: str) -> int:
    return len(name) + _HEADER_BYTES


def changed_weights(
    base: PreTrainedModel, tuned: PreTrainedModel
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the weights that training changed, before and after; shared ones once."""
    befores, afters = dict(base.named_parameters()), dict(tuned.named_parameters())
    shapes = [{name: tuple(one.shape) for name, one in of.items()} for of in (befores, afters)]
    if shapes[0] != shapes[1]:
        differing = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))
        raise FitError(
            f"the tuned model's weights have other names or shapes, {differing[0][0]} for one",
            expected="the base model's architecture",
        )
    found = {}
    for name, before in befores.items():
        after = afters[name].detach().to("cpu", torch.float32)
        if not torch.isfinite(after).all():
            raise FitError(f"{name} of the tuned model holds NaN or infinite numbers")
        first = before.detach().to("cpu", torch.float32)
        if not torch.equal(first, after):
            found[name] = (first, after)
    return found


def _embedding_tables(model: PreTrainedModel) -> set[str]:
    """Return the names of weights that are looked up by the number of a token or a position."""
    looked_up = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding)}
    return {name for name, weight in model.named_parameters() if id(weight) in looked_up}


def _to_numpy(tensor: Tensor) -> Float32:
    array: Float32 = tensor.contiguous().numpy()
    return array
