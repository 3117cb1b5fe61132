"""Words of column names and labels without case and accents, to compare them with known ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_ENDINGS = re.compile(r"[aeiouy]+$")
_SHORTEST_INFLECTED = 4


def plain_words(name: object) -> tuple[str, ...]:
    """Return the words of a name, without case and accents.

    Example:
        >>> plain_words("Dátum_príspevku"), plain_words("userName2")
        (('datum', 'prispevku'), ('user', 'name', '2'))
    """
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))
    decomposed = unicodedata.normalize("NFKD", spread.casefold())
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    return tuple(re.findall(r"[^\W\d_]+|\d+", plain))


def stem(word: str) -> str:
    """Return a plain word without its vowels at the end: ``nizka`` and ``nizke`` are one word."""
    return _ENDINGS.sub("", word) if len(word) >= _SHORTEST_INFLECTED else word


def stems(words: str) -> tuple[str, ...]:
    """Return the stems of plain words that are separated by blanks."""
    return tuple(dict.fromkeys(stem(word) for word in words.split()))


def wordings(listed: str) -> frozenset[str]:
    """Return wordings that are separated by bars."""
    return frozenset(listed.split("|"))


def says(name: object, known: Collection[str]) -> bool:
    """Return whether one of a name's words is among these, whatever its ending.

    Args:
        name: A column's name.
        known: Stems, see :func:`stems`.
    """
    return any(stem(word) in known for word in plain_words(name))


def says_only(name: object, known: Collection[str]) -> bool:
    """Return whether all of a name's words are among these stems."""
    return all(stem(word) in known for word in plain_words(name))


TEXTS = stems(
    "text post tweet content body article message comment statement document"
    " prispevok clanok obsah sprava komentar vyrok znenie prispevek clanek zprava"
)
# Ordered: the first one that repeats is proposed as the group.
SENDERS = stems(
    "author autor user username uzivatel pouzivatel account ucet profil profile speaker recnik"
    " source zdroj domain domena publisher vydavatel outlet media medium page stranka channel kanal"
)
OCCASIONS = stems("claim tvrdenie event udalost thread vlakno conversation diskusia")
ANNOTATORS = stems(
    "annotator anotator anotatorka coder koder rater labeler labeller worker hodnotitel"
)
ROW_NUMBERS = stems(
    "id ids index idx uuid guid key nr number hash code cislo c poradie row riadok kod"
)
# What stands beside these words in a name and changes nothing: author_id, post_url.
FILLERS = stems(
    "id ids name names handle screen url key of the post posts tweet text article"
    " meno nazov prispevku clanku textu"
)
AMOUNTS = stems(
    "like likes share shares retweet retweets comments followers following friends reactions views"
    " count num length age year lajky zdielania komentare reakcie sledovatelia pocet dlzka vek rok"
)
RATINGS = stems(
    "rating rate score stars scale level degree grade severity intensity certainty confidence"
    " likert agreement skore hodnotenie hviezdicky skala stupen miera uroven zavaznost intenzita"
    " istota dovera znamka skodlivost hodnoceni mira"
    " hodnotite hodnotit ohodnotte ocena bewertung bewerten"
)
ATTRIBUTE_NAMES = stems(
    "attribute atribut property vlastnost question otazka aspect aspekt dimension dimenzia"
    " criterion kriterium variable premenna znak"
)
VALUES = stems("value hodnota label answer odpoved annotation anotacia rating hodnotenie")

# What annotation tools and survey programs write beside what was annotated: whole names.
TOOL_COLUMNS = wordings(
    "lead time|annotation id|annotations id|annotation ids|completed by|updated by|created by"
    "|reviewed by|updated at|created at|created|updated|modified|draft created at|started at"
    "|finished at|submitted at|submitted|submit date|start time|end time|start date|end date"
    "|recorded date|completion time|time|timestamp|time stamp|time taken|time spent|duration"
    "|duration s|duration ms|duration sec|duration seconds|duration in seconds|elapsed"
    "|total annotations|cancelled annotations|total predictions|comment count"
    "|unresolved comment count|comments|comment|project|inner id|file upload|result count"
    "|parent prediction|parent annotation|last action|import id|input hash|task hash|session id"
    "|annotator id|view id|ip|ip address|user agent|response id|response type|progress"
    "|user language|options|meta|metadata|level 0|unnamed 0|unnamed 1|email|e mail"
    "|email address|email adresa|prediction score|model version|model|queue|mislabeled"
    "|casova peciatka|casove razitko|zeitstempel|sygnatura czasowa|znacnik czasu"
    "|e mailova adresa|emailova adresa|adres e mail|e mail adresse"
)
# The same, where the column holds truth values or numbers; its words may well be classes.
TOOL_FIGURES = wordings(
    "agreement|was cancelled|cancelled|ground truth|is labeled|is labelled|overlap|skipped"
    "|reviewed|finished|status|answer time|honeypot|draft"
)
# What a model writes beside a text: fractions with many digits, nearly all of them different.
MACHINE_SCORES = stems("score priority probability prob confidence uncertainty logit margin")
IDS = wordings("id|ids|idx|index|uuid|guid|hash")
