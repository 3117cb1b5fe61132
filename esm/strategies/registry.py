"""Strategies by name: a line for each; a strategy's libraries are imported when it is asked for.

A strategy may have variants, chosen by words behind its name: ``multitask:square-root``,
``sequential:sources:searched``. The whole is the name of the column in a comparison. ``dapt+NAME``
pre-trains before any of those that train every attribute for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from esm.common.errors import ValidationError

if TYPE_CHECKING:
    from esm.strategies.protocol import Strategy
    from esm.strategies.single import Single


@dataclass(frozen=True)
class Known:
    """A strategy.

    Attributes:
        where: Module in this package, and class in it.
        words: The words it takes; of each group, at most one.
    """

    where: str
    words: tuple[tuple[str, ...], ...] = ()


_SAMPLING = ("proportional", "square-root", "annealed", "uncertainty")

# Strategies that train every attribute for itself, the default first.
_SINGLE = {
    "houlsby": Known("houlsby.Houlsby"),
    "pfeiffer": Known("pfeiffer.Pfeiffer"),
    "lora": Known("lora.Lora"),
    "ia3": Known("ia3.Ia3"),
    "prompt": Known("prompt.Prompt"),
    "full": Known("full.Full"),
    "features": Known("features.Features"),
    "head": Known("head.Head"),
    "aux-lm": Known("aux_lm.AuxLm"),
    "gradual": Known("gradual.Gradual"),
    "prototype": Known("prototype.Prototype", (("sources",),)),
    "knn": Known("knn.Knn"),
    "scratch": Known("scratch.Scratch"),
    "tfidf": Known("tfidf.Tfidf"),
}

_DAPT = "dapt"
_THEN = "full"  # what follows where nothing is named

STRATEGIES = (*_SINGLE, _DAPT)
"""Names of the strategies that train every attribute for itself, the default first."""

_JOINT = {
    "multitask": Known("joint.multitask.Multitask", (_SAMPLING, ("sources",), ("then-alone",))),
    "sequential": Known(
        "joint.sequential.Sequential", (("sources",), ("searched",), ("heads-only",))
    ),
    "ca-mtl": Known("joint.ca_mtl.CaMtl", (_SAMPLING,)),
    "ensemble": Known("joint.ensemble.Ensemble", (STRATEGIES,)),
    "fusion": Known("joint.fusion.AdapterFusion", (("sources",),)),
    "stack": Known("joint.stack.Stack", (("source",),)),
}

JOINT_STRATEGIES = tuple(_JOINT)
"""Names of the strategies that train several attributes or make use of several sources."""

_KNOWN: Mapping[str, Known] = _SINGLE | _JOINT


def strategy(name: str) -> Strategy:
    """Return the strategy of this name.

    Raises:
        ValidationError: There is none, it has no such variant, or it cannot follow ``dapt``.
    """
    check_name(name)
    first, _, then = name.partition("+")
    if first == _DAPT:
        from esm.strategies.dapt import Dapt

        return Dapt(single_strategy(then or _THEN), name)
    base, *words = name.split(":")
    module, _, kind = _KNOWN[base].where.rpartition(".")
    found: type[Strategy] = getattr(import_module(f"esm.strategies.{module}"), kind)
    return found.variant(name, frozenset(words))


def single_strategy(name: str) -> Single:
    """Return the strategy of this name, which trains every attribute for itself.

    Raises:
        ValidationError: There is none, or it trains several attributes together.
    """
    from esm.strategies.single import Single

    check_single(name)
    found = strategy(name)
    assert isinstance(found, Single)
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


def check_single(name: str) -> None:
    """Refuse a name that no strategy has that trains every attribute for itself.

    Raises:
        ValidationError: There is none of this name.
    """
    if not _is_single(name):
        raise ValidationError(
            f"no strategy {name!r}",
            expected=f"one of {', '.join(STRATEGIES)}, or {_DAPT}+ and one of the others",
        )


def check_name(name: str) -> None:
    """Refuse a name that no strategy or variant has; nothing heavy is imported.

    Raises:
        ValidationError: There is none of this name.
    """
    base, *words = name.split(":")
    if base not in _KNOWN and not _is_single(base):
        known = ", ".join((*STRATEGIES, *JOINT_STRATEGIES))
        raise ValidationError(
            f"no strategy {base!r}",
            expected=f"one of {known}, or {_DAPT}+ and one of the first",
        )
    groups = _KNOWN[base].words if base in _KNOWN else ()
    known_words = [word for group in groups for word in group]
    unknown = [word for word in words if word not in known_words]
    if unknown:
        raise ValidationError(
            f"{base} has no variant {unknown[0]!r}",
            expected=f"{base}, with {', '.join(f':{word}' for word in known_words)} behind it"
            if known_words
            else f"{base}, which has no variants",
        )
    several = [group for group in groups if sum(word in group for word in set(words)) > 1]
    if several or len(set(words)) < len(words):
        raise ValidationError(
            f"{base} cannot be {':'.join(words)} at once",
            expected=f"one of {', '.join(several[0])}" if several else "each word once",
        )


def _is_single(name: str) -> bool:
    first, plus, then = name.partition("+")
    return name in _SINGLE or (first == _DAPT and (then in _SINGLE or not plus))


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
