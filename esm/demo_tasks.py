"""The demo's data: generated source tasks and a target whose best sources are known beforehand.

The target is a set of posts about invented remedies with three attributes, each carried by one
relation of :mod:`esm.demo_grammar`. For each attribute one source task teaches the same relation
in another genre: that is the planted answer. The controls have the size and the texts of the best
source for the attribute that is validated, but other labels.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from esm import demo_grammar as grammar
from esm.demo_grammar import Words, expand
from esm.storage import atomic_folder, to_json

SOURCE_TRAIN_ROWS = 500
SOURCE_TEST_ROWS = 100
TARGET_TRAIN_ROWS = 200
TARGET_TEST_ROWS = 400
LABEL_NOISE = 0.05
TYPO_SHARE = 0.15
ANNOTATED_SHARE = 0.7

TARGET_ID = "remedy-posts"
LICENSE = "Apache-2.0 (generated; every remedy, illness and place is invented)"

Write = Callable[[int, np.random.Generator], str]


@dataclass(frozen=True)
class DemoTasks:
    """Where the generated tasks lie, and what is known about them.

    Attributes:
        sources: One task folder per source task.
        target: Folder of the multi-attribute target.
        planted: Id of the source that teaches the same relation, by attribute of the target.
        validated: The attribute whose planted source has the controls below.
        controls: Ids of the sources that must not win, by what they share with the planted one.
    """

    sources: tuple[Path, ...]
    target: Path
    planted: Mapping[str, str]
    validated: str
    controls: Mapping[str, str]


PLANTED = MappingProxyType(
    {"endorsed": "garden-claims", "first_hand": "travel-witness", "advice": "kitchen-swaps"}
)
VALIDATED = "endorsed"
CONTROLS = MappingProxyType(
    {"shared vocabulary": "garden-plants", "shuffled labels": "garden-shuffled"}
)


# ---------------------------------------------------------------------- one sentence per relation


def _view(words: Words, frames: Sequence[str], endorsed: int, rng: np.random.Generator) -> str:
    """The writer holds one of two opposite claims and rejects the other."""
    works, fails = _choice(grammar.WORKS, rng), _choice(grammar.FAILS, rng)
    mine, theirs = (works, fails) if endorsed else (fails, works)
    return expand(
        _choice(frames, rng),
        {**grammar.COMMON, **words, "mine": (mine,), "theirs": (theirs,)},
        rng,
    )


def _witness(words: Words, first_hand: int, rng: np.random.Generator) -> str:
    """The writer went through something, or someone else did and the writer knows of it."""
    someone = expand("{relative}", grammar.COMMON, rng)
    doer, hearer = ("i", someone) if first_hand else (someone, "i")
    return expand(
        _choice(grammar.WITNESS, rng), {**words, "doer": (doer,), "hearer": (hearer,)}, rng
    )


def _advice(words: Words, folk: int, rng: np.random.Generator) -> str:
    """Of a home-made and a bought or prescribed thing, one is advised instead of the other."""
    home, shop = (expand(pattern, words, rng) for pattern in ("{folk}", "{clinic}"))
    pick, drop = (home, shop) if folk else (shop, home)
    return expand(_choice(grammar.ADVICE, rng), {"pick": (pick,), "drop": (drop,)}, rng)


def _choice(items: Sequence[str], rng: np.random.Generator) -> str:
    return items[int(rng.integers(len(items)))]


# ----------------------------------------------------------------------------------- whole texts


def _dress(sentences: Sequence[str], words: Words, rng: np.random.Generator) -> str:
    """Join sentences as people post them: opener, closer, hashtags, a typo here and there."""
    parts = [sentence + "." for sentence in sentences]
    if rng.random() < 0.3:
        parts.insert(0, _choice(grammar.COMMON["opener"], rng))
    if rng.random() < 0.3:
        parts.append(_choice(grammar.COMMON["closer"], rng))
    if rng.random() < 0.3:
        parts.append(_choice(words["tag"], rng))
    text = " ".join(parts)
    return _with_typo(text, rng) if rng.random() < TYPO_SHARE else text


def _with_typo(text: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters inside one longer word."""
    starts = [match.start() for match in re.finditer(r"[a-z]{5,}", text)]
    if not starts:
        return text
    at = starts[int(rng.integers(len(starts)))] + 1 + int(rng.integers(2))
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _garden_claim(endorsed: int, crop: str, rng: np.random.Generator) -> str:
    words = {**grammar.GARDEN, "crop": grammar.GARDEN[crop]}
    sentence = _view(words, grammar.VIEWS + grammar.VIEWS_IN_FORUMS, endorsed, rng)
    return _dress([sentence], words, rng)


def _garden_by_view(label: int, rng: np.random.Generator) -> str:
    return _garden_claim(label, _choice(("flower", "vegetable"), rng), rng)


def _garden_by_crop(label: int, rng: np.random.Generator) -> str:
    return _garden_claim(int(rng.integers(2)), ("flower", "vegetable")[label], rng)


def _travel(label: int, rng: np.random.Generator) -> str:
    return _dress([_witness(grammar.TRAVEL, label, rng)], grammar.TRAVEL, rng)


def _kitchen(label: int, rng: np.random.Generator) -> str:
    return _dress([_advice(grammar.KITCHEN, label, rng)], grammar.KITCHEN, rng)


def _ticket(label: int, rng: np.random.Generator) -> str:
    topic = ("account", "billing", "delivery")[label]
    return _dress([expand(f"{{{topic}}}, {{plea}}", grammar.TICKETS, rng)], grammar.TICKETS, rng)


def _post(labels: Mapping[str, int | None], rng: np.random.Generator) -> str:
    """Write a target post that says something about each attribute whose label is not None."""
    words = grammar.POSTS
    sentences = []
    if (endorsed := labels["endorsed"]) is not None:
        sentences.append(_view(words, grammar.VIEWS + grammar.VIEWS_IN_POSTS, endorsed, rng))
    if (first_hand := labels["first_hand"]) is not None:
        sentences.append(_witness(words, first_hand, rng))
    if (folk := labels["advice"]) is not None:
        sentences.append(_advice(words, folk, rng))
    return _dress(sentences, words, rng)
