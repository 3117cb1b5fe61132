"""How much of a target a source holds: exactly, and nearly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esm.pool.fingerprints import Fingerprint, FingerprintKey, informative_rows
from esm.pool.pool import PoolEntry
from esm.ranking.leaks.copies import TargetNumbers
from esm.ranking.leaks.derived import DerivedSources
from esm.ranking.leaks.overlap import (
    Overlap,
    Overlaps,
    TargetSketches,
    near_share,
    overlap_of,
    overlap_warnings,
    percent,
    sketch_rows,
)
from esm.tasks.load import load_targets
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task
from tests.small_world import source_record

WIDTH = 32
KEY = FingerprintKey(bytes(range(32)), np.zeros(WIDTH, dtype=np.float32))


def line(number):
    return f"this is the post with the number {number}"


def examples(texts):
    return Examples(tuple(texts), None, np.zeros(len(texts), dtype=np.int64))


def a_task(train, **splits):
    rows = {SplitName.TRAIN: examples(train)}
    rows |= {SplitName(name): examples(texts) for name, texts in splits.items()}
    return Task("t", Problem.CLASSIFICATION, Metric.ACCURACY, ("no", "yes"), rows)


def no_embedding(rows):
    return np.ones((len(rows), WIDTH), dtype=np.float32)


def fingerprint(task):
    return Fingerprint.of(KEY, task, no_embedding)


def lines(start, stop):
    return [line(i) for i in range(start, stop)]


# ----------------------------------------------------------------------------------------- exact


def test_shares_are_counted_by_hand():
    """Of 100 texts, 80 to train and 20 to test on, the source has 10 of each, 5 elsewhere."""
    target = Target("posts", {"a": a_task(lines(0, 80), test=lines(80, 100))})
    source = a_task(lines(70, 90) + lines(200, 300), test=lines(60, 75))
    found = overlap_of(TargetNumbers([target], KEY).matches(fingerprint(source)), "a")
    assert (found.num_texts, found.num_tests) == (20, 10)
    assert (found.texts, found.tests) == (0.2, 0.5)
    assert found.other == 0.1
    assert (found.near, found.near_tests) == (None, None)
    assert found.flagged
    assert found.largest == 0.5


def test_copies_differ_in_case_punctuation_and_addresses():
    target = Target("posts", {"a": a_task(lines(0, 10))})
    source = a_task(["RT @you: This is the POST, with the number 3! https://t.co/x", "other words"])
    found = overlap_of(TargetNumbers([target], KEY).matches(fingerprint(source)), "a")
    assert found.num_texts == 1
    assert found.tests is None


def test_short_texts_do_not_count_unless_most_are_short():
    polite = ["thank you", "good morning", "ok"]
    mixed = Target("posts", {"a": a_task(lines(0, 10) + polite)})
    short = Target("posts", {"a": a_task(polite + lines(0, 1))})
    source = fingerprint(a_task([*polite, line(50)]))
    assert overlap_of(TargetNumbers([mixed], KEY).matches(source), "a").num_texts == 0
    found = overlap_of(TargetNumbers([short], KEY).matches(source), "a")
    assert (found.num_texts, found.texts) == (3, 0.75)


def test_attributes_on_other_rows_share_other_texts():
    target = Target("posts", {"a": a_task(lines(0, 10)), "b": a_task(lines(5, 25))})
    matches = TargetNumbers([target], KEY).matches(fingerprint(a_task(lines(0, 10))))
    assert overlap_of(matches, "a").texts == 1.0
    assert overlap_of(matches, "b").texts == 0.25
    assert matches.share == 10 / 25


def test_every_text_of_a_target_in_folds_is_a_test_text():
    folds = [
        Target("posts", {"a": a_task(lines(0, 5), test=lines(5, 10))}, fold=0),
        Target("posts", {"a": a_task(lines(5, 10), test=lines(0, 5))}, fold=1),
    ]
    matches = TargetNumbers(folds, KEY).matches(fingerprint(a_task(lines(0, 4))))
    found = overlap_of(matches, "a")
    assert (found.num_texts, found.num_tests, found.tests) == (4, 4, 0.4)
    assert matches.seen_tests("a") == 4


@pytest.mark.parametrize(
    ("held", "of", "flagged"),
    [(0, 100, False), (2, 400, False), (3, 4000, True), (2, 100, True), (1, 100, True)],
)
def test_three_texts_or_one_per_cent_are_flagged(held, of, flagged):
    target = Target("posts", {"a": a_task(lines(0, of))})
    source = fingerprint(a_task(lines(of - held, of + 50)))
    assert overlap_of(TargetNumbers([target], KEY).matches(source), "a").flagged is flagged


# ------------------------------------------------------------------------------------------ near


def turned(vectors, cosine, rng):
    """Vectors at this cosine to others, each in a direction of its own."""
    other = rng.standard_normal(vectors.shape)
    length = (vectors**2).sum(axis=1, keepdims=True)
    other -= (other * vectors).sum(axis=1, keepdims=True) / length * vectors
    other *= np.sqrt(length / (other**2).sum(axis=1, keepdims=True))
    return cosine * vectors + math.sqrt(1 - cosine**2) * other


def brute_force(source, target, population):
    """The definition: bits that differ, pair by pair, and the share that follows from them."""
    near = 0
    for sketch in source:
        bits = [np.unpackbits(sketch ^ other).sum() for other in target]
        near += min(bits) <= 256 * math.acos(0.9) / math.pi
    return min(1.0, near * population / len(source) / len(target)) if near >= 3 else 0.0


@pytest.mark.parametrize("copies", [0, 2, 3, 40, 100])
@pytest.mark.parametrize("cosine", [0.6, 0.9, 0.98])
def test_near_shares_equal_those_of_brute_force(copies, cosine):
    rng = np.random.default_rng(copies)
    mine = rng.standard_normal((150, WIDTH))
    theirs = rng.standard_normal((100, WIDTH))
    theirs[:copies] = turned(mine[:copies], cosine, rng)
    source = Fingerprint(
        np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64), KEY.sketches(theirs), 400
    )
    target = KEY.sketches(mine)
    assert near_share(source, target) == pytest.approx(brute_force(source.sketches, target, 400))


def test_the_estimated_share_is_about_the_true_one():
    """200 of 1,000 texts have a copy among 5,000, of which 512 are sketched: 20 in the sample."""
    rng = np.random.default_rng(0)
    mine = rng.standard_normal((1000, WIDTH))
    theirs = rng.standard_normal((5000, WIDTH))
    theirs[:200] = turned(mine[:200], 0.99, rng)
    drawn = rng.choice(5000, 512, replace=False)
    none = np.empty(0, dtype=np.uint64)
    found = near_share(
        Fingerprint(none, none, KEY.sketches(theirs[drawn]), 5000), KEY.sketches(mine)
    )
    assert found == (drawn < 200).sum() * 5000 / 512 / 1000
    assert found == pytest.approx(0.2, abs=0.1)  # two standard errors


def test_a_small_source_that_copies_all_of_itself_is_no_more_than_it_is():
    rng = np.random.default_rng(0)
    mine = rng.standard_normal((200, WIDTH))
    none = np.empty(0, dtype=np.uint64)
    small = Fingerprint(none, none, KEY.sketches(mine[:50]), 50)
    assert near_share(small, KEY.sketches(mine)) == 0.25
    # Many near copies of one text are not more than all of the target.
    many = Fingerprint(none, none, KEY.sketches(mine[:1].repeat(50, axis=0)), 5000)
    assert near_share(many, KEY.sketches(mine[:10])) == 1.0
    assert near_share(many, KEY.sketches(mine[:0])) == 0.0


def test_pairs_compare_with_pairs_only():
    sketches = KEY.sketches(np.random.default_rng(0).standard_normal((20, WIDTH)))
    none = np.empty(0, dtype=np.uint64)
    source = Fingerprint(none, none, sketches, 20)
    singles = TargetSketches(False, sketches, sketches[:10])
    assert singles.shares(source, is_pair=False) == (1.0, 1.0)
    assert singles.shares(source, is_pair=True) == (None, None)
    assert TargetSketches(False, sketches).shares(source, is_pair=False) == (1.0, None)
    assert singles.shares(Fingerprint(none, none, sketches[:0], 0), False) == (None, None)


def test_only_distinct_texts_that_tell_are_sketched():
    texts = [line(0), "ok", line(1), line(0).upper(), line(2)]
    vectors = np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32)
    assert list(informative_rows(texts, None).values()) == [0, 2, 4]
    found = sketch_rows(KEY, texts, None, vectors)
    assert (found == KEY.sketches(vectors[[0, 2, 4]])).all()
    assert len(sketch_rows(KEY, texts, ["a b c d"] * 5, vectors)) == 4


# --------------------------------------------------------------------------------- what follows


@pytest.fixture
def spec(tmp_path):
    return write(tmp_path / "posts.csv", range(100))


def write(path, numbers):
    rows = [f"{line(i)},{'ab'[i % 2]},{'xy'[i // 2 % 2]}" for i in numbers]
    path.write_text("\n".join(["text,tone,topic", *rows]) + "\n", encoding="utf-8")
    return TaskSpec(location=str(path), attributes=("tone",))


def entry_of(spec, folder, name="other"):
    """An entry that keeps the numbers of all rows of a file as its training texts."""
    texts = [row.split(",")[0] for row in spec.path.read_text(encoding="utf-8").split("\n")[1:-1]]
    fingerprint(a_task(texts)).save(folder, KEY)
    return PoolEntry(source_record(name, spec), folder=folder, manifest=None)


def test_a_source_above_the_limit_is_refused_and_says_why(spec, tmp_path):
    entry = entry_of(write(tmp_path / "other.csv", range(98, 300)), tmp_path / "entry")
    siblings = DerivedSources(spec, load_targets(spec), KEY)
    assert Overlaps(siblings).refusal(entry, "tone") is None
    assert Overlaps(siblings, most=0.5).refusal(entry, "tone") is None
    test = load_targets(spec)[0].attributes["tone"].test.texts
    tests = sum(text in test for text in lines(98, 100))
    reason = Overlaps(siblings, most=0.01).refusal(entry, "tone")
    assert reason == (
        f"it holds 2.0 % of its texts, {percent(tests / len(test))} of its test texts: more than"
        " --exclude-overlap 0.01 allows"
    )


def test_siblings_are_refused_for_test_texts_and_never_flagged(spec, tmp_path):
    targets = load_targets(spec)
    siblings = DerivedSources(spec, targets, KEY)
    whole = entry_of(write(tmp_path / "copy.csv", range(100)), tmp_path / "whole")
    assert "hold 20 test texts" in Overlaps(siblings).refusal(whole, "tone")
    folder = tmp_path / "clean"
    fingerprint(targets[0].attributes["tone"]).save(folder, KEY)
    clean = PoolEntry(source_record("posts/topic", spec), folder=folder, manifest=None)
    strict = Overlaps(siblings, most=0.0)
    assert strict.refusal(clean, "tone") is None
    found = strict.of(clean, "tone")
    assert (found.texts, found.tests, found.flagged) == (0.8, 0.0, False)


def test_near_copies_are_looked_for_once_and_count(spec, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((50, WIDTH))
    entry = entry_of(write(tmp_path / "other.csv", range(500, 600)), tmp_path / "entry")
    found = fingerprint(a_task(lines(500, 600)))
    near = Fingerprint(found.train, found.other, KEY.sketches(vectors[:10]), 100)
    near.save(entry.folder, KEY)
    calls = []

    def sketches():
        calls.append(1)
        return TargetSketches(False, KEY.sketches(vectors[:40]), KEY.sketches(vectors[40:]))

    overlaps = Overlaps(DerivedSources(spec, load_targets(spec), KEY), sketches, most=0.5)
    shared = overlaps.of(entry, "tone")
    assert (shared.texts, shared.tests, shared.near, shared.near_tests) == (0.0, 0.0, 1.0, 0.0)
    assert shared.flagged
    assert "about 100 % nearly" in overlaps.refusal(entry, "tone")
    assert overlaps.of(entry, "tone") == shared
    assert len(calls) == 1


def test_what_is_not_known_is_said_and_not_refused(spec, tmp_path):
    other = write(tmp_path / "other.csv", range(100, 150))
    entry = PoolEntry(source_record("other", other), folder=tmp_path / "none", manifest=None)
    overlaps = Overlaps(DerivedSources(spec, load_targets(spec), KEY), most=0.0)
    assert overlaps.of(entry, "tone") is None
    assert overlaps.refusal(entry, "tone") is None
    assert overlaps.count_unknown([entry]) == 1
    known = entry_of(other, tmp_path / "known")
    assert Overlaps(DerivedSources(spec, load_targets(spec), KEY)).count_unknown([known]) == 0


def an_overlap(texts, *, flagged=True, **more):
    return Overlap(
        texts=texts, tests=0.0, num_texts=9, num_tests=0, other=0, flagged=flagged, **more
    )


def test_warnings_name_the_worst_first():
    assert overlap_warnings({"a": {"s": an_overlap(0.001, flagged=False), "t": None}}, 0) == ()
    lines = {f"s{i}": an_overlap(0.01 * i) for i in range(1, 8)}
    told, untold = overlap_warnings({"a": lines, "b": {"s1": an_overlap(0.5)}}, 3)
    assert told.startswith(
        "7 sources hold texts of the target: s1 (50 % of its texts, 0 % of its test texts), s7"
        " (7.0 % of its texts"
    )
    assert ", 2 more. What such a source gains" in told
    assert untold.startswith("of 3 sources the pool does not keep")
    (one,) = overlap_warnings({"a": {"s": an_overlap(0.02, near=0.1, near_tests=0.2)}}, 0)
    assert one.startswith("1 source holds")
    assert "about 10 % nearly, about 20 % of the test texts nearly" in one
