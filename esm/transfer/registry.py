"""Strategies by name; a strategy's libraries are imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from esm.errors import ValidationError

if TYPE_CHECKING:
    from esm.transfer.strategy import Strategy

# Name: module in this package and class in it, the default first.
_CLASSES = {
    "houlsby": "houlsby.Houlsby",
    "pfeiffer": "pfeiffer.Pfeiffer",
    "lora": "lora.Lora",
    "ia3": "ia3.Ia3",
    "full": "full.Full",
    "features": "features.Features",
    "head": "head.Head",
    "gradual": "gradual.Gradual",
    "prototype": "prototype.Prototype",
    "knn": "knn.Knn",
    "scratch": "scratch.Scratch",
    "tfidf": "tfidf.Tfidf",
}

STRATEGIES = tuple(_CLASSES)
"""Names of the strategies, the default first."""


def strategy(name: str) -> Strategy:
    """Return the strategy of this name.

    Raises:
        ValidationError: There is none.
    """
    check_name(name)
    module, _, kind = _CLASSES[name].partition(".")
    found: Strategy = getattr(import_module(f"esm.transfer.{module}"), kind)()
    return found


def check_name(name: str) -> None:
    """Refuse a name that no strategy has; nothing is imported.

    Raises:
        ValidationError: There is none of this name.
    """
    if name not in _CLASSES:
        raise ValidationError(f"no strategy {name!r}", expected=f"one of {', '.join(STRATEGIES)}")


def check_own(own: Iterable[str], names: Iterable[str]) -> None:
    """Refuse settings of strategies that are not used: one of them is misspelt.

    Args:
        own: Names such as ``lora.rank``.
        names: The strategies in use.

    Raises:
        ValidationError: A setting is of none of them.
    """
    used = set(names)
    for key in own:
        if key.partition(".")[0] not in used:
            raise ValidationError(
                f"the setting {key!r} is of no strategy in use",
                expected=f"a name that begins with {' or '.join(f'{n}.' for n in sorted(used))}",
            )
