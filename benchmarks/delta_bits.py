"""How many bits a number of a delta's factors should have, at the same bytes per source.

    .venv/bin/python -m benchmarks.delta_bits POOL SOURCE TARGET [--texts 100]

POOL keeps the source's tuned encoder. What is printed is the share of the change that tuning made
in the target's embeddings, about its mean, which a delta of the default size explains.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from esm.encoder.encoder import Encoder
from esm.maps.delta.cut import changed_weights, default_budget, spectra_of
from esm.maps.delta.encoder import swapped
from esm.maps.fit.ridge import r_squared
from esm.pool.base_model import load_base
from esm.pool.deltas import tuned_encoder
from esm.pool.pool import Pool
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
from esm.tasks.splits.draw import sample_together

_SCALE_AND_NAME = (4, 120)


def main() -> None:
    """Print the R² of the change by bits per number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--texts", type=int, default=100)
    options = parser.parse_args()
    pool = Pool.open(options.pool)
    base = load_base(pool, "cpu")
    tuned = tuned_encoder(pool.entry(options.source), base)
    target = load_target(TaskSpec(location=options.target))
    rows = next(iter(sample_together(target, options.texts, 0).values()))
    start, far = (encoder.embed(rows.texts, rows.pairs).last for encoder in (base, tuned))
    budget = default_budget(base.identity.num_layers, base.width)
    for bits in (16, 8, 6, 5, 4, 3):
        weights, rank = _weights(base, tuned, budget, bits)
        with swapped(base.model, weights):
            near = base.embed(rows.texts, rows.pairs).last
        fit = r_squared(far - start, near - start)
        print(f"{bits:2} bits: mean rank {rank:4.1f}, R² of the change {fit:.3f}", flush=True)


def _weights(
    base: Encoder, tuned: Encoder, budget: int, bits: int
) -> tuple[dict[str, torch.Tensor], float]:
    """Return the weights after a delta of so many bits per number, and its mean rank."""
    spectra = spectra_of(base.model, tuned.model)
    vectors = {name for name, one in spectra.items() if one.is_vector}
    each = {n: sum(s.matrix.shape) * bits / 8 + _SCALE_AND_NAME[0] for n, s in spectra.items()}
    left: float = budget - sum(
        sum(spectra[name].matrix.shape) + _SCALE_AND_NAME[1] for name in vectors
    )
    pieces = sorted(
        (-(value**2) / each[name], name, place)
        for name, one in spectra.items()
        if name not in vectors
        for place, value in enumerate(one.values)
    )
    ranks = dict.fromkeys(vectors, 1)
    for _, name, place in pieces:
        left -= each[name] + (0 if place else _SCALE_AND_NAME[1])
        if left < 0:
            break
        ranks[name] = place + 1
    weights = {}
    for name, (before, _) in changed_weights(base.model, tuned.model).items():
        if name in ranks:
            left_side = spectra[name].left[:, : ranks[name]]
            right_side = spectra[name].matrix.T @ left_side
            digits = 8 if name in vectors else bits
            product = _coarse(left_side.T, digits).T @ _coarse(right_side.T, digits)
            weights[name] = before + product.float().reshape(before.shape)
    mean = float(np.mean([rank for name, rank in ranks.items() if name not in vectors]))
    return weights, mean


def _coarse(rows: torch.Tensor, bits: int) -> torch.Tensor:
    """Round rows to equal steps of so many bits; to half floats where there are 16."""
    if bits == 16:
        return rows.half().double()
    largest, steps = rows.abs().amax(dim=1, keepdim=True), 2 ** (bits - 1) - 1
    rounded: torch.Tensor = torch.round(rows / largest * steps) / steps * largest
    return rounded


if __name__ == "__main__":
    main()
