"""Which sources a comparison makes use of, for each attribute and for all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from esm.common.errors import EsmError, ValidationError
from esm.pool.pool import Pool, PoolEntry, Skipped
from esm.ranking.aggregate import aggregate_rankings
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.result import Ranking
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target
from esm.trials.settings import AUTO, ComparisonConfig


@dataclass(frozen=True)
class Choice:
    """The sources of a comparison.

    Attributes:
        by_attribute: Entries of the pool, the most promising first, for each attribute.
        together: The same for all attributes together: usable for every one of them.
        skipped: Sources that were left out, with the reason.
    """

    by_attribute: Mapping[str, tuple[PoolEntry, ...]] = field(default_factory=dict)
    together: tuple[PoolEntry, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    def of(self, attributes: Sequence[str]) -> tuple[PoolEntry, ...]:
        """Return the sources for one attribute, or for several that are trained together."""
        if len(attributes) == 1:
            return self.by_attribute.get(attributes[0], ())
        return self.together


def choose_sources(
    config: ComparisonConfig,
    spec: TaskSpec,
    targets: Sequence[Target],
    attributes: Sequence[str],
    pool: Pool | None,
    ranking: Ranking | None,
) -> Choice:
    """Choose sources as the settings say.

    A source that saw test texts of the target is left out, and named. An attribute's order begins
    with its diverse set, where the ranking has one; for several attributes together the order is
    that of the mean rank over them.

    Args:
        config: Settings; of the ranked sources the best ``top`` are taken.
        spec: The target's specification.
        targets: The target, in all its folds.
        attributes: Names of the attributes that are compared.
        pool: Where the sources are; None where none are wanted.
        ranking: Their order; None where they are named.

    Raises:
        ValidationError: There is no pool or no ranking where one is needed, a source has no such
            name, or the ranking does not hold an attribute.
    """
    if not config.sources:
        return Choice()
    if pool is None:
        raise ValidationError(
            f"source {', '.join(config.sources)} without a pool",
            expected="the folder of a pool, or a ranking, which names one",
            hint="--pool DIR or --ranking FILE",
        )
    siblings = DerivedSources(spec, targets)
    named = config.sources != (AUTO,)
    orders = _named(config, attributes) if named else _ranked(ranking, attributes)
    together = config.sources if named else _together(ranking, attributes)
    entries, skipped = _entries({one for order in orders.values() for one in order}, pool, named)
    usable = {}
    for name in attributes:
        found = {one: entries[one] for one in orders[name] if one in entries}
        usable[name], refused = siblings.usable(name, found)
        skipped += refused
    count = None if named else config.top
    return Choice(
        by_attribute={
            name: tuple(usable[name][one] for one in orders[name] if one in usable[name])[:count]
            for name in attributes
        },
        together=tuple(
            entries[one] for one in together if all(one in found for found in usable.values())
        )[:count],
        skipped=tuple(skipped),
    )


def _named(config: ComparisonConfig, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(attributes, config.sources)


def _ranked(ranking: Ranking | None, attributes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    if ranking is None:
        raise ValidationError(
            "the best-ranked source was asked for, and there is no ranking",
            expected="a ranking",
            hint="--ranking FILE, or --pool DIR to rank its sources first",
        )
    if absent := [name for name in attributes if name not in ranking.attributes]:
        raise ValidationError(
            f"attribute {', '.join(absent)} is not in the ranking",
            expected=f"some of {', '.join(ranking.attributes)}",
        )
    return {name: tuple(ranking.attributes[name].preference) for name in attributes}


def _together(ranking: Ranking | None, attributes: Sequence[str]) -> tuple[str, ...]:
    if ranking is None:
        return ()
    lines = aggregate_rankings({name: ranking.attributes[name] for name in attributes})
    return tuple(line.source for line in lines if not line.missing)


def _entries(
    names: set[str], pool: Pool, named: bool
) -> tuple[dict[str, PoolEntry], list[Skipped]]:
    """Read the entries; one that was named has to be there."""
    entries: dict[str, PoolEntry] = {}
    skipped: list[Skipped] = []
    for source in sorted(names):
        try:
            entries[source] = pool.entry(source)
        except EsmError as error:
            if named:
                raise ValidationError(
                    f"source {source} cannot be used: {error}",
                    expected="ids of sources of the pool",
                    hint=f"esm show {pool.folder}",
                ) from error
            skipped.append(Skipped(source, str(error)))
    return entries, skipped
