"""Which language texts are in: as declared, else by a detector, with its uncertainty.

Declarations are read by langcodes: ISO 639 and BCP 47 codes, and the names in CLDR.

The detector is py3langid (a naive Bayes classifier over byte n-grams, 130 languages and more):
Lui and Baldwin 2012, "langid.py: An off-the-shelf language identification tool". It runs offline.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esm.tasks.task import TaskMetadata


import functools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNDETERMINED = "und"
MULTILINGUAL = "mul"

MOST_TEXTS = 400
# The start of a text tells its language; a whole article only costs time.
_MOST_CHARACTERS = 1000
_FEWEST_VOTES = 3.0
_SMALLEST_SHARE = 0.6

_WORDS_OF_A_VOTE = 2
_WORD = re.compile(r"[^\W\d_]{2,}")

# Web addresses, @handles and #tags are in no language; nor are digits.
_NOISE = re.compile(r"https?://\S+|www\.\S+|[@#]\w+|\d+")

# Words for several languages, and ISO 639-2 codes that stand for none.
_SEVERAL = frozenset({"multilingual", "multi", MULTILINGUAL})
_NO_LANGUAGE = frozenset({UNDETERMINED, "mis", "zxx"})
_AROUND = " \t\n-_."
_SEPARATORS = re.compile(r"[,;/+&|]|\band\b")
# The detector's names of languages that CLDR prefers to call otherwise.
_DETECTED_AS = {"fil": "tl", "nb": "no"}


@dataclass(frozen=True)
class Language:
    """The language of texts.

    Attributes:
        code: ISO 639-1 code where there is one, else ISO 639-3; ``"und"`` where the texts do not
            tell.
        declared: Whether the data declare it; what was detected then stands in ``detected``.
        detected: What the detector says.
        share: Share of the detector's votes for ``detected``. A text votes with the detector's
            confidence, so that short texts count less, and words that other texts have as well
            count once.
        error: Standard error of the share; never 0, also where all votes agree.
        texts: Texts that were looked at.
        runner_up: The language with the second most votes, None where there is none.
    """

    code: str
    declared: bool
    detected: str
    share: float
    error: float
    texts: int
    runner_up: str | None

    @property
    def contradicted(self) -> bool:
        """Whether the detector knows the declared language and is sure of another one."""
        return self.code in _detectable() and self.detected not in (self.code, UNDETERMINED)


def language_codes(declared: str) -> tuple[str, ...]:
    """Return the codes in a declaration: ``"en"``, ``"English"``, ``"slk-Latn"``, ``"sk, cs"``.

    Names may be in any language that CLDR knows. Names and codes that are not known are left out;
    scripts and regions are not looked at. Where the detector knows a language by another code
    (Bokmål and Norwegian, Mandarin and Chinese, Filipino and Tagalog), it is the detector's.

    Example:
        >>> language_codes("Slovak and ces-Latn")
        ('sk', 'cs')
    """
    found = [code for part in _SEPARATORS.split(declared) for code in _codes(part.strip(_AROUND))]
    return tuple(dict.fromkeys(found))


@functools.lru_cache(maxsize=4096)
def _codes(part: str) -> tuple[str, ...]:
    """Return the codes of one language, or of several between blanks."""
    words = part.split()
    # In a sentence only English names count: "is" and "no" are codes, "some" a name of Fasu.
    of_words = [_of_code(word) for word in words]
    if not all(of_words):
        of_words = [_of_name(word) for word in words if len(words) == 1 or _in_english(word, word)]
    whole = _of_name(part) if len(words) > 1 and any(_in_english(part, w) for w in words) else None
    found = (whole,) if whole else of_words
    return tuple(code for code in found if code)


def _of_code(tag: str) -> str | None:
    from langcodes import Language as Tag
    from langcodes.tag_parser import LanguageTagError

    try:
        language = Tag.get(tag.replace("_", "-")).language
    except LanguageTagError:
        return None
    # "x-..." and the codes from qaa to qtz are for private use: they say nothing to others.
    if not language or "-" in language or language in _NO_LANGUAGE or "qaa" <= language <= "qtz":
        return None
    tagged = Tag.make(language=language)
    if not tagged.is_valid():
        return None
    one, whole = (
        _DETECTED_AS.get(code or "", code)
        for code in (language, tagged.prefer_macrolanguage().language)
    )
    return whole if whole in _detectable() and one not in _detectable() else one


def _of_name(name: str) -> str | None:
    if name.casefold() in _SEVERAL:
        return MULTILINGUAL
    tag = _named(name)
    return None if tag is None else _of_code(tag)


def _named(name: str) -> str | None:
    """Return the tag of a language by its name in any language; None where it is not known."""
    from langcodes import find

    if len(name) < 3 or not name.isprintable():  # a zero byte ends langcodes with another error
        return None
    try:
        return find(name).language
    except LookupError:
        return None


def _in_english(name: str, word: str) -> bool:
    """Whether a word is part of the English name of the language that is called by a name."""
    from langcodes import Language as Tag

    tag = _named(name)
    return tag is not None and word.casefold() in Tag.get(tag).language_name("en").casefold()


def detect(texts: Sequence[str], declared: str = "", *, seed: int = 0) -> Language:
    """Return the language of texts; what is declared wins over what is detected.

    Looks at a seeded sample of 400 texts (50 ms; loading the detector takes a second).

    Args:
        texts: The texts.
        declared: What the data say of their language; empty where they say nothing.
        seed: Seed of the sample.
    """
    ballots = _ballots(_sample(texts, seed))
    votes: dict[str, float] = {}
    for ballot in ballots:
        votes[ballot.language] = votes.get(ballot.language, 0.0) + ballot.weight
    total = sum(votes.values())
    ranked = sorted(((lang, vote) for lang, vote in votes.items() if vote), key=lambda of: -of[1])
    share = ranked[0][1] / total if total else 0.0
    error = _error(share, ballots)
    sure = total >= _FEWEST_VOTES and share >= _SMALLEST_SHARE and ranked[0][0] not in _NO_LANGUAGE
    detected = ranked[0][0] if sure else UNDETERMINED
    codes = language_codes(declared)
    code = detected if not codes else codes[0] if len(codes) == 1 else MULTILINGUAL
    return Language(
        code=code,
        declared=bool(codes),
        detected=detected,
        share=share,
        error=error,
        texts=sum(ballot.copies for ballot in ballots),
        runner_up=ranked[1][0] if len(ranked) > 1 else None,
    )


@dataclass(frozen=True)
class _Ballot:
    """The vote of all copies of a text: for what, how sure, and how much of it is evidence."""

    language: str
    confidence: float
    evidence: float
    copies: int

    @property
    def weight(self) -> float:
        return self.confidence * self.evidence


def _ballots(texts: Sequence[str]) -> list[_Ballot]:
    """Return the votes of the texts that have letters.

    A word tells of its language once, in however many texts it stands: each text that has it has
    its share of that. A text with two words of its own counts in full, four hundred times "ok"
    together as half a text.
    """
    cleaned = [_NOISE.sub(" ", text[:_MOST_CHARACTERS]).strip() for text in texts]
    copies = Counter(text for text in cleaned if any(letter.isalpha() for letter in text))
    words = {text: set(_WORD.findall(text.casefold())) for text in copies}
    texts_with = Counter(word for of_text in words.values() for word in of_text)
    ballots = []
    for text, count in copies.items():
        new = sum(1 / texts_with[word] for word in words[text])
        evidence = min(1.0, new / _WORDS_OF_A_VOTE)
        language, confidence = _detector().classify(text)
        ballots.append(_Ballot(language, confidence, evidence, count))
    return ballots


def _error(share: float, ballots: Sequence[_Ballot]) -> float:
    """Return the standard error of a share; a unanimous vote of few texts is not certain.

    It is the standard deviation of the beta distribution that follows from a uniform prior, with
    Kish's effective size of a weighted sample for the number of votes, and never more of them than
    there is evidence.
    """
    weights = [ballot.weight for ballot in ballots]
    squares = sum(weight**2 for weight in weights)
    effective = sum(weights) ** 2 / squares if squares else 0.0
    effective = min(effective, sum(ballot.evidence for ballot in ballots))
    mean = (share * effective + 1) / (effective + 2)
    return math.sqrt(mean * (1 - mean) / (effective + 3))


def _sample(texts: Sequence[str], seed: int) -> list[str]:
    import numpy as np

    if len(texts) <= MOST_TEXTS:
        return list(texts)
    # Sorted first, so that the sample does not hang on the order of the rows.
    ordered = sorted(texts)
    rows = np.random.default_rng(seed).choice(len(ordered), MOST_TEXTS, replace=False)
    return [ordered[row] for row in rows]


@functools.cache
def _detector() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # Normalised, the scores are probabilities that are calibrated for the length of the text.
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@functools.cache
def _detectable() -> frozenset[str]:
    return frozenset(_detector().labels)


def with_language(metadata: TaskMetadata, texts: Sequence[str]) -> TaskMetadata:
    """Return a task's metadata with the language that was detected, where none is declared."""
    if metadata.language:
        return metadata
    found = detect(texts).code
    return metadata if found == UNDETERMINED else replace(metadata, language=found)
