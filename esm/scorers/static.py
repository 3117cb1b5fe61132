"""Static: the sources that did best on other datasets first, whatever the target.

On public tables of results (158 models, 36 targets) this order has a regret that no published
selector is far below; it takes measured results, where the others take none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esm.common.errors import PoolError, RankingError
from esm.metrics.rankings import dataset_of, static_scores
from esm.scorers.base import Evidence, Scorer, TargetAttribute


@dataclass(frozen=True, eq=False)
class Static(Scorer):
    """Mean performance of each source over the targets of other datasets.

    Attributes of one dataset share their texts: results on another attribute of the target's own
    data are left out, they would flatter the order.

    Attributes:
        results: Performance by target id (``dataset/attribute``) and source id.
    """

    results: Mapping[str, Mapping[str, float]]
    name = "static"
    unit = "mean performance on other datasets"

    def score(self, evidence: Evidence) -> float:
        """Return the mean performance, as the results state it.

        Raises:
            RankingError: There are no results on other datasets.
            PoolError: There are none of this source.
        """
        assert evidence.source is not None
        means = evidence.target.once(self.name, lambda: self._means(evidence.target))
        source = evidence.source.id
        if source not in means:
            raise PoolError(
                f"the results have nothing on source {source} outside the target's own dataset",
                expected="a row with that source and another target",
            )
        return means[source]

    def _means(self, target: TargetAttribute) -> dict[str, float]:
        own = dataset_of(target.task.id)
        elsewhere = {name: found for name, found in self.results.items() if dataset_of(name) != own}
        if not elsewhere:
            raise RankingError(
                f"results on {', '.join(sorted(self.results)[:3]) or 'no target'} only",
                expected=f"results on datasets other than {own}",
                hint="--results with more targets",
            )
        return static_scores(elsewhere, target.task.id)
