"""Strategies by name; a strategy's libraries are imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from esm.common.errors import ValidationError

if TYPE_CHECKING:
    from esm.strategies.protocol import Strategy

# Name: module in this package and class in it, the default first.
_CLASSES = {
    "houlsby": "houlsby.Houlsby",
    "pfeiffer": "pfeiffer.Pfeiffer",
    "lora": "lora.Lora",
    "ia3": "ia3.Ia3",
    "prompt": "prompt.Prompt",
    "full": "full.Full",
    "features": "features.Features",
    "head": "head.Head",
    "aux-lm": "aux_lm.AuxLm",
    "gradual": "gradual.Gradual",
    "prototype": "prototype.Prototype",
    "knn": "knn.Knn",
    "scratch": "scratch.Scratch",
    "tfidf": "tfidf.Tfidf",
}

STRATEGIES = (*_CLASSES, "dapt")
"""Names of the strategies, the default first; ``dapt+NAME`` pre-trains before any of them."""

_DAPT = "dapt"
_THEN = "full"  # what follows where nothing is named


def strategy(name: str) -> Strategy:
    """Return the strategy of this name.

    Raises:
        ValidationError: There is none, or it cannot follow ``dapt``.
    """
    check_name(name)
    first, _, then = name.partition("+")
    if first == _DAPT:
        from esm.strategies.dapt import Dapt

        return Dapt(strategy(then or _THEN), name)
    module, _, kind = _CLASSES[name].partition(".")
    found: Strategy = getattr(import_module(f"esm.strategies.{module}"), kind)()
    return found


def parts(name: str) -> tuple[str, ...]:
    """Return the names of the strategies that make up one, in their order.

    Example:
        >>> parts("dapt+lora"), parts("full")
        (('dapt', 'lora'), ('full',))
    """
    return tuple(name.split("+"))


def reads_unlabelled(name: str) -> bool:
    """Whether a strategy trains on texts without labels too, so that they decide its result."""
    return parts(name)[0] == _DAPT


def check_name(name: str) -> None:
    """Refuse a name that no strategy has; nothing is imported.

    Raises:
        ValidationError: There is none of this name.
    """
    first, plus, then = name.partition("+")
    known = first == _DAPT and (then in _CLASSES or not plus)
    if not known and name not in _CLASSES:
        raise ValidationError(
            f"no strategy {name!r}",
            expected=f"one of {', '.join(STRATEGIES)}, or {_DAPT}+ and one of the others",
        )


def check_own(own: Iterable[str], names: Iterable[str]) -> None:
    """Refuse settings of strategies that are not used: one of them is misspelt.

    Args:
        own: Names such as ``lora.rank``.
        names: The strategies in use.

    Raises:
        ValidationError: A setting is of none of them.
    """
    used = {part for name in names for part in parts(name)}
    for key in own:
        if key.partition(".")[0] not in used:
            raise ValidationError(
                f"the setting {key!r} is of no strategy in use",
                expected=f"a name that begins with {' or '.join(f'{n}.' for n in sorted(used))}",
            )
