from __future__ import annotations

from esm.report.splits import fold_notes, split_tables
from esm.report.table import plain
from esm.trials.standard_errors import OutOfFold


def described(**split):
    fields = {"column": "", "group": "", "groups": {}, "folds": 0, "repeats": 0} | split
    return {"id": "posts", "split": fields}


def test_a_hold_out_of_groups():
    groups = {"train": 16, "test": 4}
    (table,) = split_tables(described(method="grouped", group="autor", groups=groups))
    assert plain(table) == (
        "posts: a stratified hold-out of whole groups\n"
        "rows   groups of 'autor'\n"
        "train                 16\n"
        "test                   4\n"
        "rows of one group, and of one text, are on one side\n"
    )


def test_a_column_and_folds():
    (table,) = split_tables(described(method="column", column="časť", groups={"train": 9}))
    assert table.title == "posts: the split that a column names ('časť')"
    split = {"groups": {"train": 60}, "folds": 5, "repeats": 2}
    (table,) = split_tables(described(method="k-fold", **split))
    assert table.title == "posts: folds: 5, drawn 2 times"
    assert table.rows == [("all", "60")]
    assert split_tables({"id": "posts", "split": None}) == []


def test_what_folds_say_of_the_choice():
    assert fold_notes(0, None) == []
    assert len(fold_notes(5, None)) == 1
    found = OutOfFold(gain=0.0312, standard_error=0.01, picks={"moods": 1, "claims": 4})
    assert fold_notes(5, found)[1] == (
        "chosen by each fold's own training rows, judged on its test rows: gain +3.1 ± 1.0;"
        " chosen: claims (4), moods (1)"
    )
