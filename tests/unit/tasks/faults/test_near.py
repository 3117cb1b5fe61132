import numpy as np
import pytest

from esm.tasks.faults import near
from esm.tasks.faults.near import near_copies

WORDS = [
    f"{verb}{ending}"
    for verb in ("tvrd", "skrýv", "popier", "predáv")
    for ending in (
        "í",
        "á",
        "ame",
        "ajú",
        "ať",
        "ali",
        "aním",
    )
]


def posts(count, seed=0):
    rng = np.random.default_rng(seed)
    drawn = (rng.choice(WORDS, size=rng.integers(3, 15)) for _ in range(count))
    return list(dict.fromkeys(" ".join(words) for words in drawn))


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_no_pair_is_missed_and_none_made_up(threshold, monkeypatch):
    monkeypatch.setattr(near, "_BLOCK", 7)  # several blocks, and several parts of a block
    texts = posts(200)[:150]
    texts += [f"{text} dnes" for text in texts[:30]]
    whole = near._vectors(texts)
    cosines = (whole @ whole.T).toarray()
    np.fill_diagonal(cosines, 0.0)
    expected = (cosines >= threshold).any(axis=1)
    assert near_copies(texts, threshold=threshold).tolist() == expected.tolist()
    across = near_copies(texts[150:], texts[:150], threshold)
    assert across.tolist() == (cosines[150:, :150] >= threshold).any(axis=1).tolist()
    assert across.any()


def test_texts_without_ngrams_are_like_nothing():
    assert near_copies(["no", "ok", "áno"]).tolist() == [False] * 3
    assert near_copies(["no"], ["príspevok o vakcínach"]).tolist() == [False]
