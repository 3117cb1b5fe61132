"""Words by which columns are called in English and Slovak (some in Czech), as stems."""

from __future__ import annotations

from esm.tasks.guess.words import stems

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
)
ATTRIBUTE_NAMES = stems(
    "attribute atribut property vlastnost question otazka aspect aspekt dimension dimenzia"
    " criterion kriterium variable premenna znak"
)
VALUES = stems("value hodnota label answer odpoved annotation anotacia rating hodnotenie")
