"""Which labels are evidently an ordered scale: numbered labels, ratings, words of degree."""

from __future__ import annotations

import re
from collections.abc import Collection

from esm.tasks.guess.words import RATINGS, plain_words, says, stem

_FEWEST_LEVELS = 3
_NUMBERED = re.compile(r"\s*(-?\d+)\s*[_.:)\-–—]\s*\S.*|\s*(-?\d+)\s+\S.*", re.DOTALL)
_LARGEST_RATING = 10

# From lowest to highest; words of one level are separated by a bar.
_SCALES = (
    "none|no|zero / very low|minimal / low / medium|moderate|middle|mid / high / very high|extreme",
    "none|not at all / slight|mild|minor / moderate|medium / severe|serious|major"
    " / critical|extreme|very severe",
    "small / medium / large / very large",
    "poor|bad|very poor / fair|below average / average|okay|ok / good|above average"
    " / very good / excellent",
    "never / rarely|seldom / sometimes|occasionally / often|frequently / always",
    "strongly disagree / disagree|rather disagree / neutral|neither"
    " / agree|rather agree / strongly agree",
    "no|definitely no / rather no|probably no|probably not / partly|partially|maybe"
    " / rather yes|probably yes / yes|definitely yes",
    "pants fire|pants on fire / false / mostly false|barely true / half true|mixed|mixture|partly"
    " true|partially true|partly false|partially false / mostly true / true",
    "ziadna|ziadny|ziadne|nulova / velmi nizka|minimalna / nizka|mala|maly"
    " / stredna|stredny|mierna|priemerna / vysoka|vysoky|velka|velky / velmi vysoka|extremna",
    "ziadna|ziadny|ziadne / mierna|mierny|lahka / stredna|stredny|stredne zavazna"
    " / zavazna|zavazny|tazka / velmi zavazna|kriticka",
    "zla|zle / slaba|slabe / priemerna|priemerne / dobra|dobre / velmi dobra|velmi dobre"
    " / vyborna|vyborne",
    "nikdy / zriedka|malokedy / niekedy|obcas / casto / vzdy",
    "rozhodne nesuhlasim|vobec nesuhlasim|uplne nesuhlasim / nesuhlasim|skor nesuhlasim"
    " / neutralny|ani ani / suhlasim|skor suhlasim"
    " / rozhodne suhlasim|uplne suhlasim",
    "nie|rozhodne nie|urcite nie / skor nie|asi nie / ciastocne|mozno / skor ano|asi ano"
    " / ano|rozhodne ano|urcite ano",
    "nepravda|nepravdive|nepravdivy / skor nepravda|skor nepravdive|prevazne nepravdive"
    " / ciastocne pravda|ciastocne pravdive|zmiesane|polopravda|zavadzajuce"
    " / skor pravda|skor pravdive|prevazne pravdive / pravda|pravdive|pravdivy",
)


def _words(label: str) -> str:
    return " ".join(stem(word) for word in plain_words(label))


def _levels(scale: str) -> dict[str, int]:
    """Return the level of each wording."""
    levels = enumerate(scale.split("/"))
    return {_words(wording): level for level, words in levels for wording in words.split("|")}


_LEVELS = tuple(map(_levels, _SCALES))


def ordered_scale(name: str, labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    """Return the labels from lowest to highest and what says so; None where nothing does.

    They are a scale where all begin with different numbers (``1_no`` to ``5_yes``), where they are
    whole numbers from 0 to 10 at most in a column that is named like a rating, or where they are
    words of degree in English or Slovak (low, medium, high; nízka, stredná, vysoká).

    Args:
        name: The column's name.
        labels: Its distinct labels.
    """
    if len(labels) < _FEWEST_LEVELS:
        return None
    return _numbered(labels) or _ratings(name, labels) or _degrees(labels)


def _numbered(labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    numbers: dict[int, str] = {}
    for label in labels:
        found = _NUMBERED.fullmatch(label)
        if found is None:
            return None
        numbers[int(found[1] or found[2])] = label
    if len(numbers) < len(labels):
        return None
    order = tuple(numbers[number] for number in sorted(numbers))
    return order, f"its labels begin with the numbers {min(numbers)} to {max(numbers)}"


def _ratings(name: str, labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    if not says(name, RATINGS) or not all(re.fullmatch(r"-?\d{1,2}", label) for label in labels):
        return None
    order = tuple(sorted(labels, key=int))
    if int(order[0]) < -_LARGEST_RATING or int(order[-1]) > _LARGEST_RATING:
        return None
    return order, f"whole numbers from {order[0]} to {order[-1]}, named like a rating"


def _degrees(labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    for levels in _LEVELS:
        found = {levels[words]: label for label in labels if (words := _words(label)) in levels}
        if len(found) == len(labels):
            order = tuple(found[level] for level in sorted(found))
            return order, f"its labels are degrees, from {order[0]!r} to {order[-1]!r}"
    return None
