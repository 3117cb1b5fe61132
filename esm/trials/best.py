"""The best models of a comparison: which ones label new texts."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from esm.common.errors import ValidationError
from esm.trials.compare_models import AGAIN, ModelStore
from esm.trials.comparison import Comparison
from esm.trials.winners import Winner


def best_models(
    run: Path, comparison: Comparison, attributes: Collection[str] = ()
) -> tuple[Winner, ...]:
    """Return the models of the best strategy of each attribute, one per seed and fold.

    Args:
        run: Folder of the comparison.
        comparison: Its result.
        attributes: Names of attributes; none means all that have a best strategy.

    Raises:
        ValidationError: An attribute is not of this comparison or has no best strategy that can
            predict, or its models are not there.
    """
    if unknown := [name for name in attributes if name not in comparison.attributes]:
        raise ValidationError(
            f"attribute {', '.join(unknown)} is not in {run}",
            expected=f"some of {', '.join(comparison.attributes)}",
        )
    chosen = [name for name in comparison.attributes if name in (attributes or comparison.models)]
    without = [name for name in chosen if name not in comparison.models]
    if without or not chosen:
        raise ValidationError(
            f"{run} has no model for {', '.join(without) or 'any attribute'}: no strategy has all"
            " its runs",
            expected="a finished comparison",
            hint=AGAIN,
        )
    store = ModelStore(run)
    found = []
    for name in chosen:
        models = store.models(comparison.models[name], name)
        found.append(Winner(name, models[0].record.key.source, models))
    return tuple(found)
