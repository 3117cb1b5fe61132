"""Real datasets that share texts are flagged, and unrelated ones are not; nothing is trained."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from esm.pool.fingerprints import Fingerprint, FingerprintKey
from esm.ranking.leaks.copies import TargetNumbers
from esm.ranking.leaks.overlap import near_share, overlap_of, sketch_rows
from esm.tasks.identity import normal_form
from esm.tasks.load import load_task
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Target
from tests.paths import DATA

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "tasks").is_dir(), reason="needs the test data (ESM_DATA, or ../shared/data)"
    ),
]

# As the README of the data counts them, over all splits.
SHARED = {("coaid", "covid-fake-news"): 297, ("sst2", "subj"): 2639}
UNRELATED = ("trec-question-type", "scicite", "ag-news")
KEY = FingerprintKey(bytes(range(32)), np.zeros(2, dtype=np.float32))


@cache
def task(name):
    return load_task(TaskSpec(location=str(DATA / "tasks" / name)))


@cache
def fingerprint(name):
    """As a pool keeps it, but for the sketches."""
    return Fingerprint.of(KEY, task(name), lambda rows: np.zeros((len(rows), 2)))


@cache
def numbers(name):
    return TargetNumbers([Target(name, {"label": task(name)})], KEY)


def overlap(target, source):
    return overlap_of(numbers(target).matches(fingerprint(source)), "label")


def forms(name, *splits):
    """Texts of four words or twenty characters; a retweet is the text itself."""
    rows = task(name).splits
    found = {
        normal_form(text).removeprefix("rt ")
        for split in splits or rows
        for text in rows[split].texts
    }
    return {text for text in found if len(text.split()) >= 4 or len(text) >= 20}


@pytest.mark.parametrize(("first", "second"), SHARED)
def test_tasks_that_share_texts_are_flagged_whichever_is_the_target(first, second):
    for target, source in ((first, second), (second, first)):
        matches = numbers(target).matches(fingerprint(source))
        shared = len(matches.trained) + len(matches.others)
        # The README's normal form is not quite ours.
        assert abs(shared - SHARED[first, second]) <= 1
        found = overlap(target, source)
        assert found.num_tests == len(forms(target, "test") & forms(source, "train"))
        assert found.tests == found.num_tests / len(forms(target, "test"))
        assert found.num_texts == len(forms(target) & forms(source, "train"))
        assert found.texts == found.num_texts / len(forms(target))
        assert found.flagged
        assert found.largest > 0.02
        assert matches.share < 0.5  # an independent dataset, and not the target's own data


def test_unrelated_tasks_are_not_flagged():
    for target in ("coaid", "sst2"):
        for source in UNRELATED:
            found = overlap(target, source)
            assert found.num_texts == found.num_tests == 0
            assert not found.flagged


# ------------------------------------------------------------------------------------------ near


@pytest.fixture(scope="module")
def embedded(offline_encoder):
    """120 texts of some tasks with their embeddings; 40 of sst2's and of subj's are the same."""
    names = ("sst2", "subj", "coaid", *UNRELATED)
    texts = {name: list(dict.fromkeys(task(name).train.texts))[:120] for name in names}
    both = sorted(set(task("sst2").train.texts) & set(task("subj").train.texts))[:40]
    for name in ("sst2", "subj"):
        texts[name] = [*both, *(text for text in texts[name] if text not in both)][:120]
    texts["coaid, retold"] = [_retold(text, i) for i, text in enumerate(texts["coaid"])]
    return {name: (rows, offline_encoder.embed(rows).last) for name, rows in texts.items()}


@pytest.fixture(scope="module")
def centre(embedded):
    """The mean of the tasks' mean embeddings, as a pool's key would hold it."""
    means = [rows.mean(axis=0) for _, rows in embedded.values()]
    return np.mean(means, axis=0).astype(np.float32)


@pytest.fixture(scope="module")
def sketched(embedded, centre):
    key = FingerprintKey(bytes(range(32)), centre)
    return {name: sketch_rows(key, texts, None, rows) for name, (texts, rows) in embedded.items()}


def truly_near(embedded, centre, target, source):
    """Share of the target's texts with a centred cosine of at least 0.9 to one of the source."""
    rows = [embedded[name][1].astype(np.float64) - centre for name in (target, source)]
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in rows)
    return float(((first @ second.T).max(axis=1) >= 0.9).mean())


def _retold(text, number):
    """Leave out a word and add an address: no exact copy any more."""
    words = text.split()
    return " ".join([*words[:-1], "https://t.co/x"] if len(words) > 5 else [*words, str(number)])


def near(sketched, target, source):
    none = np.empty(0, dtype=np.uint64)
    rows = Fingerprint(none, none, sketched[source], len(sketched[source]))
    return near_share(rows, sketched[target])


def test_near_copies_are_found_and_unrelated_tasks_have_none(sketched, embedded, centre):
    assert near(sketched, "sst2", "subj") == pytest.approx(40 / 120, abs=0.02)
    assert near(sketched, "subj", "sst2") == pytest.approx(40 / 120, abs=0.02)
    exact = truly_near(embedded, centre, "coaid", "coaid, retold")
    assert exact > 0.25
    assert near(sketched, "coaid", "coaid, retold") == pytest.approx(exact, abs=0.08)
    for target in ("sst2", "coaid"):
        for source in UNRELATED:
            assert near(sketched, target, source) == 0.0
