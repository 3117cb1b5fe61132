"""Rank a pool's sources for several targets: base model and entries are read once for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from esm.common.errors import EsmError, RankingError, TaskError
from esm.common.runtime import progress
from esm.pool.base_model import load_base
from esm.pool.pool import Pool, Skipped
from esm.ranking.rank import choose, rank_targets
from esm.ranking.result import RankConfig, Ranking
from esm.scorers.registry import Results
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from esm.encoder.cache import EmbeddingCache


def rank_several(
    specs: Sequence[TaskSpec],
    pool: Pool,
    config: RankConfig | None = None,
    *,
    cache: EmbeddingCache | None = None,
    device: str = "auto",
    base: str | None = None,
    results: Results | None = None,
) -> Iterator[Ranking | Skipped]:
    """Rank sources for one target after the other, each as :func:`~esm.ranking.rank.rank_sources`.

    A target that cannot be ranked is left out and named, unless the settings are strict.

    Cost: loading the base model and reading the pool's records once; per target, its embeddings
    and the maps, which are read again so that memory does not grow with the pool or the targets.

    Args:
        specs: The targets.
        pool: The pool.
        config: Settings; None for the defaults.
        cache: Cache of embeddings; None for the default one.
        device: Device to embed on.
        base: Base model the caller has in mind; None for the pool's. Another one is refused.
        results: Measured results on other targets, for the scorer ``static``.

    Yields:
        Per target, in the order given, its ranking, or why there is none.

    Raises:
        TaskError: A target is named twice.
        PoolError: The pool is damaged or was built with another base model.
        RankingError: No target could be ranked, or no source has such a licence.
        SettingError: The scorer does not go with the other settings.
    """
    config = config or RankConfig()
    _refuse_twice(specs)
    offer = choose(pool, config, results)
    encoder = load_base(pool, device, model=base, max_chunks=config.max_chunks)
    ranked: set[str] = set()
    failed: list[Skipped] = []
    with progress("ranking targets", total=len(specs)) as advance:
        for spec in specs:
            try:
                targets = load_targets(spec)
                if targets[0].id in ranked:
                    raise TaskError(
                        f"{spec.location}: a target before it is called {targets[0].id} too",
                        hint="write it a specification with esm tasks init, with an id of its own",
                    )
                ranking = rank_targets(
                    spec, targets, encoder, pool, config, cache=cache, offer=offer
                )
                ranked.add(ranking.target)
                yield ranking
            except EsmError as error:
                if config.strict:
                    raise
                failed.append(Skipped(spec.id or spec.location, str(error)))
                yield failed[-1]
            advance(1)
    if specs and not ranked:
        reasons = "; ".join(f"{skip.source}: {skip.reason}" for skip in failed[:3])
        raise RankingError(f"none of the {len(specs)} targets can be ranked ({reasons})")


def _refuse_twice(specs: Sequence[TaskSpec]) -> None:
    """Refuse a target that is named twice before anything is computed."""
    for place, spec in enumerate(specs):
        if spec in specs[:place]:
            raise TaskError(
                f"target {spec.id or spec.location} is named twice", expected="each target once"
            )
