import numpy as np
import pytest

from esm.common.errors import TaskError
from esm.tasks.arrange import arrange
from esm.tasks.load import load_target
from esm.tasks.raw import RawData
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec
from esm.tasks.task import Problem, SplitName

LONG = {"attribute_column": "atribút", "value_column": "hodnota"}


def raw(**splits):
    return RawData(id="posts", splits={SplitName(name): table for name, table in splits.items()})


def table(rows, names=("text", "atribút", "hodnota")):
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def arranged(rows, names=("text", "atribút", "hodnota"), **options):
    spec = TaskSpec(location="x", **{**LONG, **options})
    return arrange(raw(train=table(rows, names)), spec)


# ---------------------------------------------------------------------------------- long files


def test_a_long_file_becomes_a_row_per_text_and_a_column_per_attribute():
    found = arranged(
        [
            ("Ťava", "postoj", "áno"),
            ("Žaba", "postoj", "nie"),
            ("Ťava", "miera", "0,5"),
            ("Kôň", "miera", "2"),
            ("Žaba", "miera", None),
            ("Ťava", " postoj ", "áno "),
        ]
    )
    assert found.train == {
        "text": ["Ťava", "Žaba", "Kôň"],
        "postoj": ["áno", "nie", None],
        "miera": [0.5, None, 2.0],
    }
    assert found.described
    assert list(found.known) == ["postoj", "miera"]


def test_rows_of_a_pair_are_grouped_by_both_texts():
    names = ("text", "druhý", "atribút", "hodnota")
    rows = [("a", "b", "x", 1), ("a", "c", "x", 2), ("a", "b", "y", 3)]
    assert arranged(rows, names, text_pair="druhý").train == {
        "text": ["a", "a"],
        "druhý": ["b", "c"],
        "x": [1, 2],
        "y": [3, None],
    }


def test_rows_without_a_text_stay_apart_and_have_no_labels():
    found = arranged([(None, "x", "a"), ("", "x", "b"), ("t", "x", "a")])
    assert found.train["x"] == [None, None, "a"]


def test_several_values_are_a_list_of_a_multi_label_attribute():
    rows = [("t", "emócie", "strach"), ("t", "emócie", "hnev"), ("u", "emócie", "strach")]
    columns = {"emócie": ColumnSpec(kind="multi-label")}
    found = arranged([*rows, ("v", "iné", "x")], columns=columns)
    assert found.train["emócie"] == [["strach", "hnev"], ["strach"], None]
    assert found.train["iné"] == [None, None, "x"]
    joined = [("t", "emócie", "strach; hnev"), ("t", "emócie", "hnev;žiaľ"), ("u", "emócie", ";")]
    columns = {"emócie": ColumnSpec(separator=";")}
    assert arranged(joined, columns=columns).train["emócie"] == [["strach", "hnev", "žiaľ"], []]
    listed = [("t", "emócie", '["strach"]'), ("t", "emócie", "[]"), ("u", "emócie", ["hnev"])]
    assert arranged(listed, kind="multi-label").train["emócie"] == [["strach"], ["hnev"]]


def test_several_values_of_another_attribute_are_refused_with_their_number():
    rows = [("t", "x", "a"), ("t", "x", "b"), ("u", "x", "a"), ("u", "x", "c"), ("v", "x", "a")]
    with pytest.raises(TaskError, match=r"'x' has several values for 2 of its 3 texts") as caught:
        arranged(rows)
    assert 'kind = "multi-label"' in str(caught.value)


def test_columns_of_the_split_are_kept_where_each_text_has_one_value():
    names = ("text", "atribút", "hodnota", "autor", "časť", "iné")
    rows = [
        ("t", "x", "a", "Eva", "train", 1),
        ("t", "y", "b", None, "train", 2),
        ("u", "x", "b", "Ján", "test", 3),
    ]
    split = SplitSpec(group="autor", column="časť")
    found = arranged(rows, names, split=split).train
    assert list(found) == ["text", "autor", "časť", "x", "y"]
    assert (found["autor"], found["časť"]) == (["Eva", "Ján"], ["train", "test"])
    with pytest.raises(TaskError, match="column 'autor' has several values for 1 texts"):
        arranged([*rows, ("t", "z", "b", "Ján", "train", 4)], names, split=split)


def test_the_attributes_of_all_splits_are_those_of_the_training_rows():
    train, test = table([("t", "x", "a"), ("u", "y", "b")]), table([("v", "x", "a"), ("v", "z", 1)])
    found = arrange(raw(train=train, test=test), TaskSpec(location="x", **LONG))
    assert found.splits[SplitName.TEST] == {"text": ["v"], "x": ["a"], "y": [None]}


def test_what_a_long_file_lacks_is_said():
    rows = [("t", "x", "a"), ("u", None, "b")]
    with pytest.raises(TaskError, match="1 rows of posts have a value and name no attribute"):
        arranged(rows)
    with pytest.raises(TaskError, match="only one column is named; expected the column of"):
        arranged(rows, value_column=None)
    with pytest.raises(TaskError, match="no column 'kde' in the training rows"):
        arranged(rows, value_column="kde")
    with pytest.raises(TaskError, match="no column 'text'"):
        arranged(rows, ("post", "atribút", "hodnota"))
    with pytest.raises(TaskError, match="attribute 'text' of posts is called like a column"):
        arranged([("t", "text", "a")])
    with pytest.raises(TaskError, match="column 'atribút' of posts names no attribute"):
        arranged([("t", None, None)])
    with pytest.raises(TaskError, match="text column 'text' of posts holds list values"):
        arranged([(["t"], "x", "a")])


# ------------------------------------------------------------------------------- label columns


def test_cells_with_several_labels_become_lists():
    data = raw(train={"text": ["t", "u", "v"], "emócie": ["a; b", ";", None]})
    spec = TaskSpec(location="x", columns={"emócie": ColumnSpec(separator=";")})
    assert arrange(data, spec).train["emócie"] == [["a", "b"], [], None]


def test_a_column_of_which_something_is_said_is_an_attribute(tmp_path):
    rows = [f"Príspevok číslo {i};{i / 7:.4f};{i};{i % 2}" for i in range(50)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["text;miera;id;postoj", *rows]), encoding="utf-8")
    columns = {"miera": ColumnSpec(kind="regression")}
    target = load_target(TaskSpec(location=str(path), columns=columns))
    assert list(target.attributes) == ["miera", "postoj"]


def test_a_column_that_is_not_there_and_an_empty_separator():
    data = raw(train={"text": ["t"], "emócie": ["a"]})
    with pytest.raises(TaskError, match="no column 'emocie' in the training rows of posts"):
        arrange(data, TaskSpec(location="x", columns={"emocie": ColumnSpec()}))
    with pytest.raises(TaskError, match="separator of column 'emócie' is empty"):
        arrange(data, TaskSpec(location="x", columns={"emócie": ColumnSpec(separator="")}))


def test_a_long_csv_file_loads_as_a_target(tmp_path):
    rows = ["príspevok;atribút;hodnota"]
    for i in range(40):
        rows += [f"Príspevok číslo {i};postoj;{'áno' if i % 2 else 'nie'}"]
        rows += [f"Príspevok číslo {i};miera;{i / 8:.3f}".replace(".", ",")]
        rows += [f"Príspevok číslo {i};emócie;{e}" for e in ("strach", "hnev")[: i % 3]]
    path = tmp_path / "dlhý.csv"
    path.write_bytes("\r\n".join(rows).encode("cp1250"))
    columns = {"emócie": ColumnSpec(kind="multi-label")}
    spec = TaskSpec(location=str(path), text="príspevok", columns=columns, language="sk", **LONG)
    target = load_target(spec)
    problems = {name: task.problem for name, task in target.attributes.items()}
    assert problems == {
        "postoj": Problem.CLASSIFICATION,
        "miera": Problem.REGRESSION,
        "emócie": Problem.MULTILABEL,
    }
    postoj = target.attributes["postoj"]
    assert postoj.label_names == ("nie", "áno")
    assert len(postoj.train) + len(postoj.test) == 40
    assert np.isclose(target.attributes["miera"].train.labels.max(), 39 / 8, atol=0.5)
    assert target.attributes["emócie"].dropped == {"no label": 14}
    assert postoj.metadata.language == "sk"
