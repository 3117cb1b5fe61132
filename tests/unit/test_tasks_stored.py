import stat

import pytest

from esm.errors import TaskError
from esm.storage import read_json
from esm.tasks.split import row_keys, strata
from esm.tasks.stored import cache_folder, split_places, stored_split


def split(places, texts, seed=0, columns=("text",)):
    values = [text[-1] for text in texts]
    return stored_split(places, row_keys(texts, None), strata(values), columns=columns, seed=seed)


@pytest.fixture
def texts():
    return [f"text {i} {'ab'[i % 2]}" for i in range(40)]


@pytest.fixture
def places(tmp_path):
    return split_places(tmp_path / "data.csv", "data")


def sides(texts, found):
    return {texts[i] for i in found.test}


def test_a_split_is_made_once_and_kept_privately_without_texts(places, texts, tmp_path):
    made = split(places, texts)
    assert (len(made.train), len(made.test), made.new) == (32, 8, 0)
    assert made.path == tmp_path / "data.csv.split.json"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert "text 1" not in made.path.read_text()


def test_rows_keep_their_side_when_others_come_go_and_move(places, texts):
    made = split(places, texts)
    later = ["new a", "new b", *reversed(texts[5:])]
    found = split(places, later)
    assert sides(later, found) == sides(texts, made) & set(later)
    assert found.new == 2
    assert {0, 1} <= set(found.train.tolist())


def test_each_seed_and_text_column_has_its_own_split(places, texts):
    first = split(places, texts, seed=0)
    second = split(places, texts, seed=1)
    split(places, texts, columns=("other",))
    assert sides(texts, first) != sides(texts, second)
    assert sides(texts, split(places, texts, seed=0)) == sides(texts, first)
    assert len(read_json(first.path)["splits"]) == 3


def test_other_data_under_the_same_name_are_split_anew(places, texts):
    split(places, texts)
    others = [f"other {text}" for text in texts]
    assert len(split(places, others).test) == 8
    assert split(places, others).new == 0
    assert len(read_json(places[0])["splits"]) == 1


def test_the_cache_folder_serves_where_the_data_cannot_be_written(tmp_path, texts):
    (tmp_path / "blocked").write_text("a file, so that nothing can be written below it")
    places = split_places(tmp_path / "blocked" / "data.csv", "data")
    made = split(places, texts)
    assert made.path.parent == cache_folder() / "splits"
    assert sides(texts, split(places, texts)) == sides(texts, made)


def test_the_cache_tells_two_files_of_one_name_apart(tmp_path):
    first = split_places(tmp_path / "a" / "data.csv", "data")
    second = split_places(tmp_path / "b" / "data.csv", "data")
    assert first[-1] != second[-1]
    assert split_places(None, "owner--name") == (
        cache_folder() / "splits" / "owner--name.split.json",
    )


def test_a_damaged_split_is_not_made_anew(places, texts):
    made = split(places, texts)
    made.path.write_text(made.path.read_text()[:-30])
    with pytest.raises(TaskError, match=r"stored split .* is damaged; .* delete it"):
        split(places, texts)
    made.path.write_text('{"version": 1, "splits": [], "extra": 1}')
    with pytest.raises(TaskError, match="is damaged"):
        split(places, texts)
