import stat
from collections import Counter

import numpy as np
import pytest

from esm.common.caches import cache_folder
from esm.common.errors import TaskError
from esm.common.storage import read_json
from esm.tasks.identity import row_keys
from esm.tasks.splits.draw import joined_keys, split_rows, strata
from esm.tasks.splits.stored import SplitDraw, split_places, stored_division


def divide(places, texts, groups=None, *, columns=("text",), **drawing):
    keys = row_keys(texts, None)
    joined = keys if groups is None else joined_keys(keys, groups)
    how = {"test_share": 0.2} | drawing if "folds" not in drawing else drawing
    return stored_division(
        places,
        keys,
        joined,
        strata([text[-1] for text in texts]),
        SplitDraw(columns=columns, **how),
    )


@pytest.fixture
def texts():
    return [f"text {i} {'ab'[i % 2]}" for i in range(40)]


@pytest.fixture
def places(tmp_path):
    return split_places(tmp_path / "data.csv", "data")


def on_test_side(texts, found):
    return {text for text, part in zip(texts, found.part, strict=True) if part == 1}


def parts_by_text(texts, found):
    return dict(zip(texts, found.part.tolist(), strict=True))


# ----------------------------------------------------------------------------------- hold-outs


def test_a_split_is_made_once_and_kept_privately_without_texts(places, texts, tmp_path):
    made = divide(places, texts)
    assert (Counter(made.part.tolist()), made.new) == ({0: 32, 1: 8}, 0)
    assert made.path == tmp_path / "data.csv.split.json"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert "text 1" not in made.path.read_text()


def test_a_hold_out_is_the_one_that_splitting_rows_gives(places, texts):
    _, second = split_rows(row_keys(texts, None), strata([text[-1] for text in texts]), 0.3, 5)
    made = divide(places, texts, test_share=0.3, seed=5)
    np.testing.assert_array_equal(np.flatnonzero(made.part), second)


def test_rows_keep_their_side_when_others_come_go_and_move(places, texts):
    made = divide(places, texts)
    later = ["new a", "new b", *reversed(texts[5:])]
    found = divide(places, later)
    assert on_test_side(later, found) == on_test_side(texts, made) & set(later)
    assert found.new == 2
    assert found.part[:2].tolist() == [0, 0]


def test_whatever_is_drawn_differently_is_stored_by_itself(places, texts):
    first = divide(places, texts, seed=0)
    second = divide(places, texts, seed=1)
    divide(places, texts, columns=("other",))
    divide(places, texts, test_share=0.5)
    divide(places, texts, files=("train", "test"))
    assert on_test_side(texts, first) != on_test_side(texts, second)
    assert on_test_side(texts, divide(places, texts, seed=0)) == on_test_side(texts, first)
    assert len(read_json(first.path)["divisions"]) == 5


def test_other_data_under_the_same_name_are_split_anew(places, texts):
    divide(places, texts)
    others = [f"other {text}" for text in texts]
    assert divide(places, others).part.sum() == 8
    assert divide(places, others).new == 0
    assert len(read_json(places[0])["divisions"]) == 1


# -------------------------------------------------------------------------------------- groups


def test_a_new_row_goes_where_its_group_is(places, texts):
    groups = [f"author {i // 4}" for i in range(40)]
    made = divide(places, texts, groups, group="author")
    side = dict(zip(groups, made.part.tolist(), strict=True))
    assert set(side.values()) == {0, 1}
    test_author = next(group for group, part in side.items() if part == 1)
    train_author = next(group for group, part in side.items() if part == 0)
    later = [*texts, "more a", "more b", "else a"]
    found = divide(places, later, [*groups, test_author, train_author, "new"], group="author")
    assert found.part[-3:].tolist() == [1, 0, 0]
    assert found.part[:40].tolist() == made.part.tolist()


def test_groups_that_new_rows_join_all_go_to_test(places, texts):
    groups = [f"author {i // 4}" for i in range(40)]
    made = divide(places, texts, groups, group="author")
    test_row = int(np.argmax(made.part == 1))
    train_row = int(np.argmax(made.part == 0))
    # The author of a training text has now posted a test text too.
    found = divide(places, [*texts, texts[test_row]], [*groups, groups[train_row]], group="author")
    moved = [row for row in range(40) if groups[row] == groups[train_row]]
    assert found.part[moved].tolist() == [1] * 4
    assert found.new == 0


# --------------------------------------------------------------------------------------- folds


def test_folds_are_stored_per_repetition(places, texts):
    first = divide(places, texts, folds=5, repeat=0)
    second = divide(places, texts, folds=5, repeat=1)
    assert Counter(first.part.tolist()) == dict.fromkeys(range(5), 8)
    assert first.part.tolist() != second.part.tolist()
    turned = texts[::-1]
    assert parts_by_text(turned, divide(places, turned, folds=5)) == parts_by_text(texts, first)
    labels = Counter((part, text[-1]) for text, part in zip(texts, first.part, strict=True))
    assert set(labels.values()) == {4}  # each fold has four rows of each class


def test_a_new_row_falls_into_a_fold_by_its_hash_whatever_else_is_new(places, texts):
    made = divide(places, texts, folds=5)
    some = divide(places, [*texts, "new a"], folds=5)
    many = divide(places, ["newer b", *texts[7:], "new a"], folds=5)
    assert (made.new, some.new, many.new) == (0, 1, 2)
    assert some.part[-1] == many.part[-1] == int(row_keys(["new a"], None)[0][:8], 16) % 5
    assert many.part[1:-1].tolist() == made.part[7:].tolist()


# -------------------------------------------------------------------------------------- places


def test_the_cache_folder_serves_where_the_data_cannot_be_written(tmp_path, texts):
    (tmp_path / "blocked").write_text("a file, so that nothing can be written below it")
    places = split_places(tmp_path / "blocked" / "data.csv", "data")
    made = divide(places, texts)
    assert made.path.parent == cache_folder() / "splits"
    assert on_test_side(texts, divide(places, texts)) == on_test_side(texts, made)


def test_the_cache_tells_two_files_of_one_name_apart(tmp_path):
    first = split_places(tmp_path / "a" / "data.csv", "data")
    second = split_places(tmp_path / "b" / "data.csv", "data")
    assert first[-1] != second[-1]
    assert split_places(None, "owner--name") == (
        cache_folder() / "splits" / "owner--name.split.json",
    )


def test_a_damaged_split_is_not_made_anew(places, texts):
    made = divide(places, texts)
    made.path.write_text(made.path.read_text()[:-30])
    with pytest.raises(TaskError, match=r"stored split .* is damaged, .*; .* delete it"):
        divide(places, texts)
    made.path.write_text('{"version": 2, "divisions": [], "extra": 1}')
    with pytest.raises(TaskError, match="is damaged"):
        divide(places, texts)
