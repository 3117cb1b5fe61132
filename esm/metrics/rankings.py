"""How good a ranking is, judged by measured performance: regret@k, NDCG, rank correlations.

Every value is the expectation over the orders of tied scores, in closed form, so a scorer that
gives all sources the same score is worth exactly as much as a random order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from esm.common.errors import RankingError

NO_TRANSFER = "none"
DEFAULT_KS = (1, 3, 5)

Measures = dict[str, float | None]
_Array = npt.NDArray[np.float64]


def measures(
    scores: Mapping[str, float],
    performance: Mapping[str, float],
    ks: Iterable[int] = DEFAULT_KS,
    *,
    target: str = "",
) -> Measures:
    """Judge one target's ranking by what the sources really gave.

    The sources S are those with a performance, without ``none`` (no transfer is no source) and
    without the target's own row. A scored source without performance cannot be judged and is
    left out. A source with performance but no score can never be picked, yet counts where the
    best source and the ideal order are looked for.

    * ``regret@k``: 100 · (max over S of T - max over the k best-ranked of T) / max over S of T,
      percent, 0 is perfect; null where the maximum is not positive. A k beyond the list takes
      the whole list.
    * ``regret_published@k``: the same, but the maximum over S, above and below the line, is taken
      over a column that also holds the target's own row, as in Schulte et al.'s evaluation code.
      Equal to ``regret@k`` where that row is absent or not the best.
    * ``ndcg``, ``ndcg_exp``: over the whole list, with gain T and 2^(100 T) - 1. A tied block
      contributes its mean gain at each of its ranks. Null where the ideal sum is not positive.
    * ``spearman``, ``kendall`` (tau-b): over the sources that have both numbers. Ties in T are
      ties (mid-ranks, tau-b's correction); ties in the scores are broken at random and averaged,
      which gives 0 for a constant scorer. Null for fewer than two sources or a constant T.

    Cost: O(n²) time and memory for Kendall, O(n log n) for the rest.

    Args:
        scores: Score by source id, higher is better, any finite number.
        performance: T by source id, already averaged over seeds, in [-1, 1].
        ks: The cut-offs of regret.
        target: Id of the target (``dataset/attribute``); tells which rows are its own.

    Raises:
        RankingError: A number is not finite, T is out of range, or a cut-off is not positive.

    Source:
        Renggli et al. 2022, "Which Model to Transfer?", and Poth et al. 2021, "What to Pre-Train
        on?", for regret@k; davidschulte/hf-dataset-selector at 4756f1e, utils/eval_utils.py, for
        the published forms; McSherry and Najork 2008 for NDCG under ties.

    Example:
        >>> judged = measures({"a": 2.0, "b": 1.0}, {"a": 0.6, "b": 0.8}, ks=[1])
        >>> round(judged["regret@1"], 6)
        25.0
    """
    cutoffs = _checked_cutoffs(ks)
    _check_numbers(scores, performance)
    truth = {source: performance[source] for source in sources_of(performance, target)}
    scored = sorted(truth.keys() & scores.keys())
    blocks = _tied_blocks(
        np.array([scores[source] for source in scored]),
        np.array([truth[source] for source in scored]),
    )
    everything = np.array(list(truth.values()))
    own = [value for source, value in performance.items() if is_own(source, target)]

    result: Measures = {}
    for k in cutoffs:
        result[f"regret@{k}"] = _regret(blocks, everything, k)
    for k in cutoffs:
        result[f"regret_published@{k}"] = _regret(blocks, np.append(everything, own), k)
    result["ndcg"] = _ndcg(blocks, everything)
    result["ndcg_exp"] = _ndcg(
        [_exponential_gain(block) for block in blocks], _exponential_gain(everything)
    )
    result["spearman"] = _spearman(blocks)
    result["kendall"] = _kendall(blocks)
    return result


def random_measures(
    performance: Mapping[str, float], ks: Iterable[int] = DEFAULT_KS, *, target: str = ""
) -> Measures:
    """Return the exact expectation of every measure over all orders of the sources."""
    return measures(dict.fromkeys(performance, 0.0), performance, ks, target=target)


def static_scores(truth: Mapping[str, Mapping[str, float]], target: str) -> dict[str, float]:
    """Score each source by its mean performance on the other targets: blind to this one.

    Targets of other datasets are used where there are any, since attributes of one dataset share
    their texts and would flatter the order; else the other attributes of the same dataset.

    Args:
        truth: T by target id and source id.
        target: The target to score for.

    Returns:
        Score by source id; empty where there is no other target.
    """
    others = [name for name in sorted(truth) if name != target]
    elsewhere = [name for name in others if dataset_of(name) != dataset_of(target)]
    seen: dict[str, list[float]] = {}
    for name in elsewhere or others:
        for source in sources_of(truth[name], name):
            seen.setdefault(source, []).append(truth[name][source])
    return {source: float(np.mean(values)) for source, values in sorted(seen.items())}


def dataset_of(target: str) -> str:
    """Return the dataset's part of a target id: what stands before its attribute.

    Example:
        >>> dataset_of("covid-infodemic-en/harmful"), dataset_of("sst2")
        ('covid-infodemic-en', 'sst2')
    """
    dataset, separator, _ = target.rpartition("/")
    return dataset if separator else target


def is_own(source: str, target: str) -> bool:
    """Whether a row of the results is the target's own: trained on itself, not transferred."""
    return source in {target, dataset_of(target)}


def sources_of(performance: Mapping[str, float], target: str) -> list[str]:
    """Return the sources of a target's results, by id: neither ``none`` nor the target itself."""
    return [
        source
        for source in sorted(performance)
        if source != NO_TRANSFER and not is_own(source, target)
    ]


def _checked_cutoffs(ks: Iterable[int]) -> list[int]:
    cutoffs = sorted(set(ks))
    if not cutoffs or cutoffs[0] < 1:
        raise RankingError(
            f"cut-offs {cutoffs}", expected="one or more positive integers", hint="--k 1,3,5"
        )
    return cutoffs


def _check_numbers(scores: Mapping[str, float], performance: Mapping[str, float]) -> None:
    for source, score in scores.items():
        if not np.isfinite(score):
            raise RankingError(
                f"source {source} has score {score}",
                expected="a finite number",
                hint="leave the source out: it then counts as never picked",
            )
    for source, value in performance.items():
        if not -1 <= value <= 1:
            raise RankingError(
                f"source {source} has performance {value}",
                expected="a fraction in [0, 1] (in [-1, 1] for a correlation)",
                hint="divide percentages by 100",
            )


def _tied_blocks(scores: _Array, truth: _Array) -> list[_Array]:
    """Return the performances of equally scored sources together, best score first."""
    if len(scores) == 0:
        return []
    order = np.argsort(-scores, kind="stable")
    return np.split(truth[order], np.flatnonzero(np.diff(scores[order])) + 1)


# ------------------------------------------------------------------------------------- regret


def _regret(blocks: Sequence[_Array], candidates: _Array, k: int) -> float | None:
    if not blocks or candidates.max() <= 0:
        return None
    best = float(candidates.max())
    return 100 * (best - _expected_best(blocks, k)) / best


def _expected_best(blocks: Sequence[_Array], k: int) -> float:
    """Return the expected maximum of T among the k best-ranked.

    Blocks that lie within the first k are picked whole. Of the block that crosses k, the picks
    are a random subset, whose maximum is its i-th largest value with a known probability.
    """
    best = -np.inf
    left = k
    for block in blocks:
        if len(block) >= left:
            largest_first = np.sort(block)[::-1]
            chances = _maximum_of_subset(len(block), left)
            return float(chances @ np.maximum(largest_first, best))
        best = max(best, float(block.max()))
        left -= len(block)
    return best


def _maximum_of_subset(size: int, picks: int) -> _Array:
    """Return the chance that the i-th largest of ``size`` is the largest of ``picks`` of them.

    It is C(size - i, picks - 1) / C(size, picks) for i = 1, 2, ...; computed as a product of the
    ratios of neighbours, so that no binomial coefficient overflows.
    """
    remaining = np.arange(size - 1, 0, -1, dtype=np.float64)
    ratios = np.maximum(remaining - (picks - 1), 0) / remaining
    return np.cumprod(np.concatenate([[picks / size], ratios]))


# --------------------------------------------------------------------------------------- NDCG


def _exponential_gain(performance: _Array) -> _Array:
    gain: _Array = np.exp2(100 * performance) - 1
    return gain


def _ndcg(blocks: Sequence[_Array], ideal_gains: _Array) -> float | None:
    ideal = float(np.sort(ideal_gains)[::-1] @ _discounts(len(ideal_gains)))
    if not blocks or ideal <= 0:
        return None
    expected_gains = np.concatenate([np.full(len(block), block.mean()) for block in blocks])
    return float(expected_gains @ _discounts(len(expected_gains))) / ideal


def _discounts(length: int) -> _Array:
    discounts: _Array = 1 / np.log2(np.arange(2, length + 2))
    return discounts


# -------------------------------------------------------------------------- rank correlations


def _spearman(blocks: Sequence[_Array]) -> float | None:
    """Return the expected correlation of ranks.

    A random order of ties leaves the spread of the ranks as it is, and the correlation is linear
    in the ranks: its expectation is that of the mid-ranks over the spread of a full order.
    """
    if (truth := _varied(blocks)) is None:
        return None
    n = len(truth)
    true_ranks = _midranks(truth) - (n + 1) / 2
    ranks = _midranks(_block_scores(blocks)) - (n + 1) / 2
    spread = n * (n**2 - 1) / 12
    return float(ranks @ true_ranks / np.sqrt(spread * (true_ranks @ true_ranks)))


def _kendall(blocks: Sequence[_Array]) -> float | None:
    """Return the expected tau-b: a tied pair is as often concordant as discordant."""
    if (truth := _varied(blocks)) is None:
        return None
    n = len(truth)
    true_order = _pair_signs(truth)
    agreement = (_pair_signs(_block_scores(blocks)) * true_order).sum()
    untied = np.abs(true_order).sum()
    return float(agreement / np.sqrt(n * (n - 1.0) * untied))


def _varied(blocks: Sequence[_Array]) -> _Array | None:
    """Return all performances in ranked order, or None where no order of them is defined."""
    if not blocks:
        return None
    truth = np.concatenate(blocks)
    return truth if np.ptp(truth) > 0 else None


def _block_scores(blocks: Sequence[_Array]) -> _Array:
    """Return scores of the same order and ties: higher for earlier blocks."""
    return np.repeat(-np.arange(len(blocks), dtype=np.float64), [len(block) for block in blocks])


def _midranks(values: _Array) -> _Array:
    """Return ranks from 1 (smallest), ties sharing the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: _Array = np.cumsum(counts) - (counts - 1) / 2
    return middles[inverse]


def _pair_signs(values: _Array) -> npt.NDArray[Any]:
    """Return (n, n) signs of the differences, every pair twice."""
    return np.sign(values[:, None] - values[None, :])
