"""All strategies that a comparison knows, single ones as a model per attribute, by name.

A joint strategy may have variants, chosen by words behind its name: ``multitask:square-root``,
``sequential:sources:searched``. The whole is the name of the column in a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esm.common.errors import ValidationError
from esm.encoder.settings import BaseIdentity
from esm.strategies.protocol import encoder_size
from esm.strategies.registry import STRATEGIES, check_name, strategy

if TYPE_CHECKING:
    from esm.strategies.joint.protocol import JointStrategy


@dataclass(frozen=True)
class Known:
    """A joint strategy.

    Attributes:
        make: Makes it from its full name and the words behind it.
        words: The words it takes; of each group, at most one.
        what: What it is, in a line.
    """

    make: Callable[[str, frozenset[str]], JointStrategy]
    words: tuple[tuple[str, ...], ...]
    what: str


_SAMPLING = ("proportional", "square-root", "annealed", "uncertainty")


def _multitask(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.mixing import Sampling
    from esm.strategies.joint.multitask import Multitask

    if "then-alone" in words and "sources" not in words:
        raise ValidationError(
            f"{name} trains on the target alone from the beginning",
            expected="sources before then-alone",
            hint="multitask:sources:then-alone",
        )
    return Multitask(
        name,
        Sampling(_one_of(_SAMPLING, words, Sampling.PROPORTIONAL)),
        sources="sources" in words,
        then_alone="then-alone" in words,
    )


def _sequential(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.sequential import Sequential

    return Sequential(
        name,
        sources="sources" in words,
        searched="searched" in words,
        trains_encoder="heads-only" not in words,
    )


def _ca_mtl(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.ca_mtl import CaMtl
    from esm.strategies.joint.mixing import Sampling

    return CaMtl(name, Sampling(_one_of(_SAMPLING, words, Sampling.UNCERTAINTY)))


def _ensemble(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.ensemble import Ensemble

    return Ensemble(name, _one_of(STRATEGIES, words, STRATEGIES[0]))


def _fusion(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.fusion import AdapterFusion

    return AdapterFusion(name, sources="sources" in words)


def _stack(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.stack import Stack

    return Stack(name, source="source" in words)


def _prototype(name: str, words: frozenset[str]) -> JointStrategy:
    from esm.strategies.joint.episodic import EpisodicPrototypes
    from esm.strategies.joint.separate import Separate

    return EpisodicPrototypes(name) if words else Separate(strategy("prototype"))


_KNOWN: Mapping[str, Known] = {
    "multitask": Known(
        _multitask,
        (_SAMPLING, ("sources",), ("then-alone",)),
        "one encoder for all attributes, trained at once",
    ),
    "sequential": Known(
        _sequential,
        (("sources",), ("searched",), ("heads-only",)),
        "one encoder, trained on one attribute after another",
    ),
    "ca-mtl": Known(_ca_mtl, (_SAMPLING,), "an encoder that depends on the attribute"),
    "ensemble": Known(
        _ensemble,
        (STRATEGIES,),
        "averaged predictions of the models of several sources",
    ),
    "fusion": Known(
        _fusion,
        (("sources",),),
        "adapters of all attributes and of sources, weighed for each attribute",
    ),
    "stack": Known(
        _stack,
        (("source",),),
        "each attribute's adapter on top of one of the texts, or of a source",
    ),
    "prototype": Known(
        _prototype,
        (("sources",),),
        "the nearest mean embedding, in an encoder trained on episodes of sources",
    ),
}

JOINT_STRATEGIES = tuple(name for name in _KNOWN if name not in STRATEGIES)
"""Names of the strategies that train several attributes or make use of several sources."""


def joint_strategy(name: str) -> JointStrategy:
    """Return the strategy of this name; a single-attribute one as a model per attribute.

    Raises:
        ValidationError: There is none, or it has no such variant.
    """
    check_joint_name(name)
    base, *words = name.split(":")
    if base in _KNOWN:
        return _KNOWN[base].make(name, frozenset(words))
    from esm.strategies.joint.separate import Separate

    return Separate(strategy(base))


def stored_numbers(
    name: str, settings: Mapping[str, Any], attributes: int, base: BaseIdentity, vocabulary: int
) -> int:
    """Return about how many numbers are kept of a model, beside the encoder it started from.

    Of a joint strategy it is what a whole encoder has, which is the most but for those that keep an
    encoder per source.

    Args:
        name: Name of the strategy.
        settings: What its ``settings`` returned.
        attributes: How many attributes the model predicts.
        base: The base model.
        vocabulary: How many tokens it knows.
    """
    if ":" in name or name in JOINT_STRATEGIES:
        return encoder_size(base, vocabulary)
    return attributes * strategy(name).effort(settings, base, vocabulary).stored


def check_joint_name(name: str) -> None:
    """Refuse a name that no strategy or variant has; nothing heavy is imported.

    Raises:
        ValidationError: There is none of this name.
    """
    base, *words = name.split(":")
    if base not in _KNOWN:
        _check_single(base)
    groups = _KNOWN[base].words if base in _KNOWN else ()
    known = [word for group in groups for word in group]
    unknown = [word for word in words if word not in known]
    if unknown:
        raise ValidationError(
            f"{base} has no variant {unknown[0]!r}",
            expected=f"{base}, with {', '.join(f':{word}' for word in known)} behind it"
            if known
            else f"{base}, which has no variants",
        )
    several = [group for group in groups if sum(word in group for word in set(words)) > 1]
    if several or len(set(words)) < len(words):
        raise ValidationError(
            f"{base} cannot be {':'.join(words)} at once",
            expected=f"one of {', '.join(several[0])}" if several else "each word once",
        )


def _check_single(name: str) -> None:
    try:
        check_name(name)
    except ValidationError as error:
        known = ", ".join((*STRATEGIES, *JOINT_STRATEGIES))
        raise ValidationError(
            f"no strategy {name!r}", expected=f"one of {known}, or dapt+ and one of the first"
        ) from error


def _one_of(group: tuple[str, ...], words: frozenset[str], otherwise: str) -> str:
    return next((word for word in group if word in words), otherwise)
