"""Which labels are evidently an ordered scale: numbered labels, ratings, words of degree."""

from __future__ import annotations

import re
from collections.abc import Collection

from esm.tasks.guess.words import RATINGS, plain_words, says, stem
from esm.tasks.raw import is_number

_FEWEST_LEVELS = 3
_NUMBERED = re.compile(r"[(\[]?(-?\d+)[)\]]?(?:\s*[_.:)=\-–—]+\s*\S.*|\s+\S.*)", re.DOTALL)
_WHOLE = re.compile(r"-?\d+")
# The ends of a scale in a question: (1 = not at all, 5 = completely).
_RANGE_IN_NAME = re.compile(r"[(\[]\s*[01]\s*(?:-|–|to|až|az|do|bis)\s*(?:[3-9]|10)\s*[)\]]")
_ENDS_IN_NAME = re.compile(r"\b\d+\s*[=:–-]\s*[^\W\d].*?\b\d+\s*[=:–-]\s*[^\W\d]", re.DOTALL)
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
    "strongly disagree|completely disagree|totally disagree / disagree"
    " / rather disagree|somewhat disagree|slightly disagree / neutral|neither|neither agree nor"
    " disagree / rather agree|somewhat agree|slightly agree / agree"
    " / strongly agree|completely agree|totally agree",
    "definitely no|definitely not|certainly not / no / rather no|probably no|probably not"
    " / partly|partially|maybe / rather yes|probably yes|probably / yes"
    " / definitely yes|definitely|certainly",
    "pants fire|pants on fire / false / mostly false|barely true / half true|mixed|mixture|partly"
    " true|partially true|partly false|partially false / mostly true / true",
    "ziadna|ziadny|ziadne|nulova / velmi nizka|minimalna / nizka|mala|maly"
    " / stredna|stredny|mierna|priemerna / vysoka|vysoky|velka|velky / velmi vysoka|extremna",
    "ziadna|ziadny|ziadne / mierna|mierny|lahka / stredna|stredny|stredne zavazna"
    " / zavazna|zavazny|tazka / velmi zavazna|kriticka",
    "velmi zla|velmi zle / zla|zle / slaba|slabe / priemerna|priemerne / dobra|dobre"
    " / velmi dobra|velmi dobre"
    " / vyborna|vyborne",
    "nikdy / zriedka|malokedy / niekedy|obcas / casto / vzdy",
    "rozhodne nesuhlasim|vobec nesuhlasim|uplne nesuhlasim / nesuhlasim / skor nesuhlasim"
    " / neutralny|neutralne|ani ani|ani suhlasim ani nesuhlasim / skor suhlasim / suhlasim"
    " / rozhodne suhlasim|uplne suhlasim",
    "rozhodne nie|urcite nie|vobec nie / nie / skor nie|asi nie / ciastocne|mozno"
    " / skor ano|asi ano / ano / rozhodne ano|urcite ano",
    "nepravda|nepravdive|nepravdivy / skor nepravda|skor nepravdive|prevazne nepravdive"
    " / ciastocne pravda|ciastocne pravdive|zmiesane|polopravda|zavadzajuce"
    " / skor pravda|skor pravdive|prevazne pravdive / pravda|pravdive|pravdivy",
    "zadna|zadny|zadne|nulova / velmi nizka|velmi nizky|minimalni / nizka|nizky|mala|maly"
    " / stredni|prumerna|prumerny|mirna / vysoka|vysoky|velka|velky"
    " / velmi vysoka|velmi vysoky|extremni",
    "zadna|zadny|zadne / mirna|mirny|lehka|lehky / stredni|stredne zavazna|stredne zavazny"
    " / zavazna|zavazny|vazna|tezka / velmi zavazna|velmi vazna|kriticka",
    "velmi spatna|velmi spatne|velmi spatny / spatna|spatne|spatny / slaba|slabe"
    " / prumerna|prumerne / dobra|dobre / velmi dobra|velmi dobre / vyborna|vyborne",
    "nikdy / zridka|malokdy / nekdy|obcas / casto / vzdy|vzdycky",
    "rozhodne nesouhlasim|vubec nesouhlasim|zcela nesouhlasim / nesouhlasim / spise nesouhlasim"
    " / neutralni|ani ani|ani souhlasim ani nesouhlasim / spise souhlasim / souhlasim"
    " / rozhodne souhlasim|zcela souhlasim",
    "rozhodne ne|urcite ne|vubec ne / ne / spise ne|asi ne / castecne|mozna"
    " / spise ano|asi ano / ano / rozhodne ano|urcite ano",
    "nepravda|nepravdive|nepravdivy / spise nepravda|spise nepravdive|prevazne nepravdive"
    " / castecne pravda|castecne pravdive|polopravda|zavadejici"
    " / spise pravda|spise pravdive|prevazne pravdive / pravda|pravdive|pravdivy",
    "brak|zaden|zadna|zadne|zerowy|zerowa / bardzo niski|bardzo niska|minimalny|minimalna"
    " / niski|niska|mały|mała / sredni|srednia|umiarkowany|umiarkowana"
    " / wysoki|wysoka|duzy|duza / bardzo wysoki|bardzo wysoka|bardzo duzy|ekstremalny|ekstremalna",
    "zły|zła|bardzo zły / słaby|słaba / przecietny|przecietna|sredni / dobry|dobra"
    " / bardzo dobry|bardzo dobra / doskonały|doskonała",
    "nigdy / rzadko / czasami|czasem|niekiedy / czesto / zawsze",
    "zdecydowanie sie nie zgadzam|zdecydowanie nie zgadzam sie|całkowicie sie nie zgadzam"
    " / nie zgadzam sie / raczej sie nie zgadzam|raczej nie zgadzam sie"
    " / neutralny|neutralnie|ani tak ani nie / raczej sie zgadzam|raczej zgadzam sie"
    " / zgadzam sie / zdecydowanie sie zgadzam|zdecydowanie zgadzam sie|całkowicie sie zgadzam",
    "zdecydowanie nie|na pewno nie / nie / raczej nie / czesciowo|moze|byc moze / raczej tak / tak"
    " / zdecydowanie tak|na pewno tak",
    "fałsz|nieprawda / raczej fałsz|raczej nieprawda / czesciowo prawda|połprawda"
    " / raczej prawda / prawda",
    "kein|keine|keiner|gar nicht|uberhaupt nicht / sehr gering|sehr niedrig|minimal"
    " / gering|niedrig|klein|wenig|schwach / mittel|mittlere|mittelmassig|moderat|massig"
    " / hoch|gross|stark|viel / sehr hoch|sehr gross|sehr stark|extrem",
    "schlecht|sehr schlecht|mangelhaft / ausreichend|eher schlecht"
    " / befriedigend|mittelmassig|durchschnittlich / gut|eher gut / sehr gut / ausgezeichnet",
    "nie|niemals / selten / manchmal|gelegentlich / oft|haufig / immer",
    "stimme gar nicht zu|stimme uberhaupt nicht zu|lehne vollig ab / stimme nicht zu|lehne ab"
    " / stimme eher nicht zu / neutral|teils teils|weder noch|unentschieden / stimme eher zu"
    " / stimme zu / stimme voll zu|stimme voll und ganz zu|stimme vollig zu",
    "trifft gar nicht zu|trifft uberhaupt nicht zu / trifft nicht zu / trifft eher nicht zu"
    " / teils teils|neutral / trifft eher zu / trifft zu|trifft voll zu|trifft voll und ganz zu",
    "not at all / a little|a bit|slightly|somewhat / moderately / quite|a lot / very"
    " / extremely|completely",
    "vobec|vobec nie / trochu|malo / stredne / dost|celkom / velmi / uplne",
    "vubec|vubec ne / trochu|malo / stredne / dost|hodne / velmi|velice / zcela|uplne",
    "wcale|wcale nie / troche|mało / srednio / dosc / bardzo / całkowicie",
    "gar nicht|uberhaupt nicht / ein wenig|wenig|etwas / mittelmassig|teilweise / ziemlich / sehr"
    " / vollig|ausserst",
    "auf keinen fall|bestimmt nicht / nein / eher nein|eher nicht / teils|teilweise|vielleicht"
    " / eher ja / ja / auf jeden fall|bestimmt",
    "falsch / eher falsch|uberwiegend falsch / teilweise wahr|teils wahr|halbwahr"
    " / eher wahr|uberwiegend wahr / wahr",
)


def _words(label: str) -> str:
    return " ".join(stem(word) for word in plain_words(label))


def _levels(scale: str) -> dict[str, int]:
    """Return the level of each wording."""
    levels = enumerate(scale.split("/"))
    return {_words(wording): level for level, words in levels for wording in words.split("|")}


_LEVELS = tuple(map(_levels, _SCALES))


def is_rating(name: str) -> bool:
    """Return whether a column is named like a rating, or its name says what its ends mean."""
    return says(name, RATINGS) or any(form.search(name) for form in (_ENDS_IN_NAME, _RANGE_IN_NAME))


def ordered_scale(name: str, labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    """Return the labels from lowest to highest and what says so; None where nothing does.

    They are a scale where all begin with different numbers (``1_no``, ``2``, ``3_yes``), where
    they are whole numbers from 0 to 10 at most in a column that is named like a rating, or where
    they are words of degree in English, Slovak, Czech, Polish or German (low, medium, high; nízka,
    stredná, vysoká).

    Args:
        name: The column's name.
        labels: Its distinct labels, without those that stand for no answer.
    """
    if len(labels) < _FEWEST_LEVELS:
        return None
    return _numbered(labels) or _ratings(name, labels) or _degrees(labels)


def _numbered(labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    numbers: dict[int, str] = {}
    for label in labels:
        found = None if is_number(label) else _NUMBERED.fullmatch(label)
        if found is None and not _WHOLE.fullmatch(label):
            return None
        numbers[int(label if found is None else found[1])] = label
    # Bare numbers alone are ratings, or the names of classes.
    if len(numbers) < len(labels) or all(map(is_number, labels)):
        return None
    order = tuple(numbers[number] for number in sorted(numbers))
    return order, f"its labels begin with the numbers {min(numbers)} to {max(numbers)}"


def _ratings(name: str, labels: Collection[str]) -> tuple[tuple[str, ...], str] | None:
    if not is_rating(name) or not all(re.fullmatch(r"-?\d{1,2}", label) for label in labels):
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
