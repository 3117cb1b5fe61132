"""Which class a label belongs to, however it is spelled; and classes that look alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from esm.tasks.guess.words import wordings
from esm.tasks.labels.names import label_name, look, spelling_key

# Without case, accents stay. Single letters are left out: T, F and N may be true, false, neither.
_TRUE = wordings("1|true|yes|áno|ano|tak|ja|wahr|prawda|vrai|oui|igaz|igen")
_FALSE = wordings("0|false|no|nie|ne|nein|falsch|fałsz|faux|non|hamis|nem")


def truth(name: str) -> bool | None:
    """Return whether a label says yes or no, in any of several languages; None for neither."""
    key = spelling_key(name)
    return True if key in _TRUE else False if key in _FALSE else None


@dataclass(frozen=True)
class Spellings:
    """The classes of one attribute, and how else they may be written.

    Attributes:
        classes: Class of every label that is known, by its name.
        by_key: Class of each key (see :func:`~esm.tasks.labels.names.spelling_key`) that only one
            class has.
        by_truth: The classes for yes and no, where there are these two alone.
    """

    classes: Mapping[str, str]
    by_key: Mapping[str, str] = field(default_factory=dict)
    by_truth: Mapping[bool, str] = field(default_factory=dict)

    def find(self, name: str) -> str:
        """Return a label's class; a label that is none keeps its name."""
        if name in self.classes:
            return self.classes[name]
        found = self.by_key.get(spelling_key(name))
        said = _side(name, self.by_truth.values()) if found is None and self.by_truth else None
        return found or (name if said is None else self.by_truth[said])


def find_spellings(
    counts: Mapping[str, int],
    declared: Iterable[str] = (),
    merge: Mapping[str, str] | None = None,
) -> Spellings:
    """Return the classes of the training rows, without joining any two that may be different.

    Labels that differ in case alone stay different classes where the training rows have both.
    Where the classes are declared, all spellings are read as those. A column of which every label
    says yes or no (``áno``, ``TRUE``, ``0``) has two classes, called by their commonest spelling.

    Args:
        counts: Training rows of each label.
        declared: The classes that there are, in the order or the names of a description.
        merge: Labels that the specification reads as another one.
    """
    told = {label_name(old): label_name(new) for old, new in (merge or {}).items()}
    joined: Counter[str] = Counter()
    for name, count in counts.items():
        joined[told.get(name, name)] += count
    stated = [name for name in dict.fromkeys(map(label_name, declared)) if name not in told]
    by_key = _unambiguous(stated)
    classes = {name: by_key.get(spelling_key(name), name) for name in joined}
    classes |= {name: name for name in stated}
    by_truth: dict[bool, str] = {}
    sides = {name: _side(name, joined) for name in joined}
    if not stated and set(sides.values()) == {True, False}:
        for side in (True, False):
            names = [name for name in joined if sides[name] is side]
            by_truth[side] = min(
                names, key=lambda name: (-joined[name], name != name.lower(), name)
            )
        classes = {name: by_truth[side] for name, side in sides.items() if side is not None}
    by_key = _unambiguous(classes.values()) | by_key
    classes |= {old: classes.get(new, new) for old, new in told.items()}
    return Spellings(classes, by_key, by_truth)


def _side(name: str, words: Iterable[str]) -> bool | None:
    """Return what a label says; a letter says what the words do that begin with it."""
    key = spelling_key(name)
    if len(key) > 1 or not key.isalpha():
        return truth(name)
    said = {truth(word) for word in words if len(word) > 1 and spelling_key(word)[:1] == key}
    return said.pop() if len(said) == 1 else None


def _unambiguous(names: Iterable[str]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(spelling_key(name), set()).add(name)
    return {key: next(iter(of_key)) for key, of_key in found.items() if len(of_key) == 1}


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the sets of classes that hardly differ: in case, accents, script or a dot."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        found.setdefault(look(name), []).append(name)
    return [tuple(alike) for alike in found.values() if len(alike) > 1]
