"""Which language texts are in: as declared, else by a detector, with its uncertainty.

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

# The detector's code for what is in no language.
_NO_LANGUAGE = "zxx"
_WORDS_OF_A_VOTE = 2
_WORD = re.compile(r"[^\W\d_]{2,}")

# Web addresses, @handles and #tags are in no language; nor are digits.
_NOISE = re.compile(r"https?://\S+|www\.\S+|[@#]\w+|\d+")

_NAMES = {
    "bulgarian": "bg",
    "croatian": "hr",
    "czech": "cs",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hungarian": "hu",
    "italian": "it",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "serbian": "sr",
    "slovak": "sk",
    "slovenian": "sl",
    "spanish": "es",
    "ukrainian": "uk",
    "multilingual": MULTILINGUAL,
    "multi": MULTILINGUAL,
}
_THREE_LETTERS = {
    "bul": "bg",
    "ces": "cs",
    "cze": "cs",
    "deu": "de",
    "ger": "de",
    "eng": "en",
    "spa": "es",
    "fra": "fr",
    "fre": "fr",
    "hrv": "hr",
    "hun": "hu",
    "ita": "it",
    "pol": "pl",
    "por": "pt",
    "ron": "ro",
    "rum": "ro",
    "rus": "ru",
    "slk": "sk",
    "slo": "sk",
    "slv": "sl",
    "srp": "sr",
    "ukr": "uk",
}


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
        """Whether the detector is sure of another language than the declared one."""
        known = self.code not in (UNDETERMINED, MULTILINGUAL)
        return known and self.detected not in (self.code, UNDETERMINED)


def declared_codes(declared: str) -> tuple[str, ...]:
    """Return the codes in a declaration: ``"en"``, ``"English"``, ``"slk-Latn"``, ``"sk, cs"``.

    Names and codes that are not known are left out.

    Example:
        >>> declared_codes("Slovak and ces-Latn")
        ('sk', 'cs')
    """
    words = re.split(r"[\s,;/+&]+", declared.casefold())
    found = [_code(re.split(r"[-_]", word)[0]) for word in words]
    return tuple(dict.fromkeys(code for code in found if code))


def _code(word: str) -> str | None:
    if word in _NAMES:
        return _NAMES[word]
    if word in _THREE_LETTERS:
        return _THREE_LETTERS[word]
    return word if word == MULTILINGUAL or word in _detectable() else None


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
    sure = total >= _FEWEST_VOTES and share >= _SMALLEST_SHARE and ranked[0][0] != _NO_LANGUAGE
    detected = ranked[0][0] if sure else UNDETERMINED
    codes = declared_codes(declared)
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
