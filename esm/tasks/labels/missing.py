"""Labels that stand for "no answer": -1, 99, N/A, neviem, bez odpovede, keine Angabe."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from esm.tasks.guess.words import plain_words, wordings
from esm.tasks.labels.names import spelling_key

NO_ANSWER = "no answer"

# Without case and accents, as plain_words makes them; whole labels only.
_SAYS_NOTHING = wordings(
    "n a|na|null|nan|nil|missing value|not answered|no answer|no response|unanswered"
    "|no annotation|not annotated|unannotated|no label|unlabeled|unlabelled|no gold label"
    "|don t know|dont know|do not know|dunno|i don t know|i do not know|idk"
    "|don t know no answer|prefer not to say|prefer not to answer|rather not say"
    "|refused to answer|declined to answer|skipped|skip|not applicable|not specified"
    "|not stated|not given|not available|no data"
    "|neviem|neviem posudit|neviem sa vyjadrit|neviem odpovedat|neviem neodpovedal"
    "|bez odpovede|ziadna odpoved|neodpovedal|neodpovedala|neodpovedali|neodpovedam"
    "|nezodpovedane|neuvedene|neuvedeny|neuvedena|neuviedol|neuviedla|nechcem odpovedat"
    "|odmietol odpovedat|neoznacene|neanotovane|nehodnotene|nehodnotim|preskocene"
    "|nevim|nevim neodpovedel|nevim posoudit|bez odpovedi|zadna odpoved|neodpovedel"
    "|neodpovedela|nezodpovezeno|neuvedeno|nechci odpovedet|odmitl odpovedet|neoznaceno"
    "|neanotovano|nehodnoceno|preskoceno|nelze aplikovat"
    "|nie wiem|nie wiem trudno powiedziec|trudno powiedziec|brak odpowiedzi|bez odpowiedzi"
    "|brak danych|nie podano|nie dotyczy|odmowa odpowiedzi|nie chce odpowiadac"
    "|pominieto|nie oznaczono"
    "|weiss nicht|weisz nicht|weiß nicht|ich weiss nicht|keine angabe|keine angaben|k a"
    "|keine antwort|nicht beantwortet|ohne antwort|keine auskunft|nicht zutreffend"
    "|ubersprungen|nicht annotiert|weiss nicht keine angabe"
)
# Beside an ordered scale these are no level either; elsewhere they may well be a class.
_SAYS_UNSURE = wordings(
    "unknown|unsure|not sure|cannot tell|can t tell|cannot say|can t say|cannot judge|unclear"
    "|undecided|hard to say|impossible to tell|other|unclassified"
    "|nezname|neznamy|neznama|neda sa urcit|neda sa posudit|nejasne|nejasny|tazko povedat"
    "|neurcene|neznamo|nelze urcit|nelze posoudit|tezko rici|neurceno"
    "|nieznane|nie da sie okreslic|niejasne|nie mozna ocenic"
    "|unbekannt|unklar|unsicher|nicht beurteilbar|schwer zu sagen|kann ich nicht beurteilen"
)
_SIGNS = frozenset({"-", "--", "---", "?", "??", "???", ".", "..", "...", "/", "*", "#", "x/x"})
_NUMBER_AND_WORDS = re.compile(
    r"\s*\(?(-?\d+)\)?\s*[_.:=)\-–—]*\s*[(\[]?\s*(\D+?)\s*[)\]]?\s*", re.DOTALL
)
_WHOLE = re.compile(r"-?\d+(\.0+)?")
# The numbers that surveys and statistics programs write where there is no answer.
_BELOW_ZERO = frozenset(
    {-1, -2, -3, -4, -5, -6, -7, -8, -9, -66, -77, -88, -95, -96, -97, -98, -99}
    | {-666, -777, -888, -997, -998, -999, -9998, -9999, -99999}
)
_ABOVE = frozenset({66, 77, 88, 95, 96, 97, 98, 99, 666, 777, 888, 995, 996, 997, 998, 999})
_FAR_ABOVE = _ABOVE | {8888, 9996, 9997, 9998, 9999, 99999, 999999}
# A scale on which both signs mean something.
_TWO_SIDED = wordings(
    "sentiment|polarity|valence|stance|attitude|opinion|position|direction|change|trend|balance"
    "|polarita|nalada|postoj|nazor|smer|zmena|sentyment|stanowisko|haltung|stimmung|meinung"
)
_FEWEST_CLASSES = 2
_FAR_BELOW = -66
_LOWEST_BESIDE_CODES = -20
_ONE_DIGIT = (8, 9)


def says_nothing(name: str) -> bool:
    """Return whether a label is a wording of "no answer", alone or behind its number."""
    words = " ".join(plain_words(name.replace("ß", "ss")))
    if words in _SAYS_NOTHING or spelling_key(name) in _SIGNS or name.strip() in _SIGNS:
        return True
    numbered = _NUMBER_AND_WORDS.fullmatch(name)
    return numbered is not None and " ".join(plain_words(numbered[2])) in _SAYS_NOTHING


def says_unsure(name: str) -> bool:
    """Return whether a label says that nobody could tell, which is no level of a scale."""
    return " ".join(plain_words(name)) in _SAYS_UNSURE


def missing_codes(column: str, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Return the labels that stand for "no answer", the commonest first.

    Words are known in Slovak, Czech, Polish, German and English. A number is a code where the
    others leave a gap: below zero where all others are not, or 99 where the others end at 20. At
    least two different labels are left.

    Args:
        column: The column's name: a sentiment from -1 to 1 has no codes.
        counts: Rows of each label, by its name.
    """
    # A plus and a minus are two classes.
    numbers = {name: float(name) for name in counts if _is_number(name)}
    words = {
        name
        for name in counts
        if name not in numbers and says_nothing(name) and not ("+" in counts and name == "-")
    }
    others = len(counts) - len(words) - len(numbers)
    if others:  # beside words, a number is a code or a class like them
        all_codes = set(numbers.values()) <= _BELOW_ZERO | _FAR_ABOVE
        codes = set(numbers) if all_codes else set()
    else:
        codes = _number_codes(column, numbers)
    if len(counts) - len(words | codes) < _FEWEST_CLASSES:
        # Beside a word a code is no second class; -1 beside 1 is one.
        words, codes = (set(), set()) if others else (words, set())
    if len(counts) - len(words) < _FEWEST_CLASSES:
        words = set()
    return tuple(sorted(words | codes, key=lambda name: (-counts[name], name)))


def unsure_labels(labels: Iterable[str]) -> set[str]:
    """Return the labels that are no level where the others are an ordered scale."""
    return {name for name in labels if says_unsure(name)}


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return name.strip().lower() not in ("nan", "inf", "-inf", "infinity", "-infinity")


def _number_codes(column: str, numbers: Mapping[str, float]) -> set[str]:
    """Return which of a column's numbers are codes."""
    values = set(numbers.values())
    far = {value for value in values & _BELOW_ZERO if value <= _FAR_BELOW}
    plain = values - far
    if far and (not plain or min(plain) < _LOWEST_BESIDE_CODES):
        far, plain = set(), values
    near = plain & _BELOW_ZERO
    rest = plain - near
    if (
        not rest
        or min(rest) < 0
        or _TWO_SIDED & set(plain_words(column))
        # -2, -1, 0, 1, 2 is a scale; -2, -1 beside 0 to 4 are codes.
        or (len(near) > 1 and max(rest) <= -min(near))
    ):
        near, rest = set(), plain
    codes = far | near | {value for value in rest if _stands_apart(value, rest)}
    return {name for name, value in numbers.items() if value in codes}


def _stands_apart(value: float, rest: Collection[float]) -> bool:
    """Return whether a number is a code above the others: 99 behind 5, 9 behind 1 to 5."""
    if value not in _FAR_ABOVE and value not in _ONE_DIGIT:
        return False
    others = {other for other in rest if other not in _FAR_ABOVE}
    if value in _ONE_DIGIT:
        # 8 is one where 9 is one as well.
        others -= {9.0, 8.0} if 9 in others else {9.0}
    if len(others) < _FEWEST_CLASSES or max(others) >= value:
        return False
    highest = max(others)
    if value in _ONE_DIGIT:
        whole = all(other.is_integer() for other in others)
        return whole and highest <= 5 and len(others) == highest - min(others) + 1
    if value in _ABOVE:
        return highest <= (20 if value < 100 else 120)
    return highest < value / 10
