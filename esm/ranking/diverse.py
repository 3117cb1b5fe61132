"""A set of sources that together promise most: two that do nearly the same count once.

Whoever validates k sources keeps the best of them, so a set is worth the expected *maximum* of what
its sources really give. A score says that only roughly. Standardised over the ranking, let what is
really given be ``g = rho z + sqrt(1 - rho²) e`` with z the standardised score, rho how reliable
scores are, and e normal errors of variance 1. Sources that make nearly the same of the target's
texts are wrong together: the correlation of two errors is taken to be the linear centred kernel
alignment of the target's embeddings after either source. A copy of a pick then adds nothing to the
expected maximum, and a different source of about the same score adds a lot.

The maximum is a monotone submodular function of the set for every outcome of the errors, and so is
its mean. The first pick is the best-ranked source; greedy choice of the others, one at a time, adds
at least 1 - 1/e of the most that as many others could add to it (Nemhauser, Wolsey and Fisher
1978).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esm.common.arrays import Float64
from esm.common.errors import SettingError, ShapeError
from esm.common.records import Record
from esm.scorers.base import EmbeddingKind, Evidence, Source, TargetAttribute

# Correlation of scores with what sources really give, after the measurement's noise. Rank
# correlations of 0.2 to 0.4 were measured with truths that are noisy themselves.
RELIABILITY = 0.5

# Best-ranked sources among which a set is chosen, and rows on which they are compared.
CANDIDATES = 200
ROWS = 256

_DRAWS = 4096

# Below this, what a source adds is the rounding of a correlation of 1, and its rank decides.
_DIGITS = 6


class Pick(Record):
    """One source of a set.

    Attributes:
        source: Its id.
        adds: What it adds to the expected maximum of the set before it, in standard deviations of
            what the ranked sources really give; for the first pick, its own expectation.
        likest: The earlier pick that it is most alike; None for the first.
        likeness: Alignment with that pick, 0 to 1; None for the first.
    """

    source: str
    adds: float
    likest: str | None = None
    likeness: float | None = None


class PassedOver(Record):
    """A source that stands above the last pick in the ranking and was not picked.

    Attributes:
        source: Its id.
        likest: The pick that it is most alike.
        likeness: Alignment with that pick, 0 to 1.
    """

    source: str
    likest: str
    likeness: float


class DiverseSet(Record):
    """A set of sources that together promise most.

    Attributes:
        picks: The sources, in the order of choice.
        passed_over: Better-ranked ones that were not picked, in the order of the ranking.
    """

    picks: tuple[Pick, ...]
    passed_over: tuple[PassedOver, ...]


@dataclass(frozen=True)
class Choice:
    """Which candidates a greedy choice takes, by number, and what each adds."""

    numbers: tuple[int, ...]
    adds: tuple[float, ...]


def choose(
    scores: Float64, alignment: Float64, count: int, *, reliability: float = RELIABILITY
) -> Choice:
    """Choose candidates one by one, each time the one that adds most to the expected maximum.

    Args:
        scores: (m,) scores, best first.
        alignment: (m, m) correlations of the errors.
        count: k.
        reliability: rho.

    Returns:
        The picks. Cost: O(draws m k), after one eigendecomposition (m, m).

    Raises:
        ShapeError: Shapes do not fit.
    """
    if scores.ndim != 1 or alignment.shape != (len(scores),) * 2:
        raise ShapeError(
            f"scores of shape {scores.shape}, alignment of shape {alignment.shape}",
            expected="(m,) and (m, m)",
        )
    outcomes = draw_outcomes(scores, alignment, reliability)
    reached = np.full(len(outcomes), -np.inf)
    expected = 0.0
    numbers: list[int] = []
    adds: list[float] = []
    left = list(range(len(scores)))
    for _ in range(min(count, len(scores))):
        found = np.maximum(reached[:, None], outcomes[:, left]).mean(axis=0) - expected
        place = int(np.argmax(found.round(_DIGITS))) if numbers else 0
        numbers.append(left.pop(place))
        adds.append(float(found[place]))
        expected += adds[-1]
        reached = np.maximum(reached, outcomes[:, numbers[-1]])
    return Choice(tuple(numbers), tuple(adds))


def draw_outcomes(scores: Float64, alignment: Float64, reliability: float) -> Float64:
    """Return (draws, m) of what the candidates may really give, standardised.

    Draws come in pairs of opposite errors, so that every candidate's mean is exactly its
    expectation.
    """
    spread = scores.std()
    standard = (scores - scores.mean()) / spread if spread > 0 else np.zeros_like(scores)
    values, vectors = np.linalg.eigh(alignment)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    half = np.random.default_rng(0).standard_normal((_DRAWS // 2, len(scores)))
    errors = np.concatenate([half, -half]) @ root.T
    outcomes: Float64 = reliability * standard + np.sqrt(1 - reliability**2) * errors
    return outcomes


def kernel_alignment(embeddings: Sequence[npt.NDArray[np.floating]]) -> Float64:
    """Return (m, m) linear centred kernel alignments of m embeddings (n, d) of the same texts.

    1 for embeddings that differ by a rotation, a shift and a scale.

    Source:
        Kornblith et al. 2019, Similarity of Neural Network Representations Revisited (ICML),
        section 3.
    """
    kernels = []
    for each in embeddings:
        centred = each.astype(np.float64)
        centred = centred - centred.mean(axis=0)
        kernel = (centred @ centred.T).ravel()
        size = np.linalg.norm(kernel)
        kernels.append(kernel / size if size > 0 else kernel)
    stacked = np.array(kernels)
    alignment: Float64 = stacked @ stacked.T
    np.fill_diagonal(alignment, 1.0)
    return alignment


def diverse_set(
    sources: Sequence[Source],
    scores: Float64,
    folds: Sequence[TargetAttribute],
    reads: EmbeddingKind,
    count: int,
) -> DiverseSet:
    """Choose k sources of a ranking that together promise most.

    Alignments are means over the folds. Only the best-ranked sources are candidates, and only
    some rows are compared, evenly spaced: O(m n d (d + n)) for m candidates and n rows.

    Args:
        sources: The ranked sources, best first.
        scores: (m,) their scores.
        folds: The attribute in every fold.
        reads: Which embeddings stand for a source.
        count: k.
    """
    candidates, scores = sources[:CANDIDATES], scores[:CANDIDATES]
    total = np.zeros((len(candidates),) * 2)
    for fold in folds:
        rows = np.unique(np.linspace(0, len(fold) - 1, ROWS).round().astype(np.int64))
        total += kernel_alignment(
            [Evidence(fold, each.passing()).embeddings(reads)[rows] for each in candidates]
        )
    alignment = total / len(folds)
    choice = choose(scores, alignment, count)
    names = [source.id for source in candidates]
    picks = []
    for place, (number, adds) in enumerate(zip(choice.numbers, choice.adds, strict=True)):
        likest, likeness = _likest(alignment[number], choice.numbers[:place], names)
        picks.append(Pick(source=names[number], adds=adds, likest=likest, likeness=likeness))
    passed_over = []
    for number in range(max(choice.numbers)):
        if number not in choice.numbers:
            likest, likeness = _likest(alignment[number], choice.numbers, names)
            assert likest is not None and likeness is not None  # there is a pick
            passed_over.append(PassedOver(source=names[number], likest=likest, likeness=likeness))
    return DiverseSet(picks=tuple(picks), passed_over=tuple(passed_over))


def _likest(
    row: Float64, picks: Sequence[int], names: Sequence[str]
) -> tuple[str | None, float | None]:
    if not picks:
        return None, None
    likest = max(picks, key=lambda number: (row[number], -number))
    return names[likest], float(np.clip(row[likest], 0.0, 1.0))


def check_diverse(count: int, reads: EmbeddingKind | None, scorer: str) -> None:
    """Check that a diverse set can be chosen.

    Raises:
        SettingError: The scorer looks at no embeddings by which sources could be compared.
    """
    if count and reads is None:
        raise SettingError(
            f"--diverse {count} for scorer {scorer}, which looks at no embeddings",
            expected="a scorer that reads maps or tuned encoders",
            hint="--scorer logme",
        )
