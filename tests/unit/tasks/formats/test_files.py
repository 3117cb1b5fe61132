import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.files import read_data, read_table


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def test_words_that_pandas_takes_for_null_are_texts(tmp_path):
    words = ["None", "NA", "null", "nan", "n/a"]
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(f"{word},x\n" for word in words))
    assert read_table(path)["text"] == words


def test_empty_cells_are_null_and_words_are_labels(tmp_path):
    path = write(tmp_path / "a.csv", "text,stance,grade\none,None,1\ntwo,,\nthree,for,2\n")
    table = read_table(path)
    assert table["stance"] == ["None", None, "for"]
    assert table["grade"] == [1, None, 2]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2"], [1, -2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e3", "-.5"], [1000.0, -0.5]),
        (["007", "012"], ["007", "012"]),
        (["1", "two"], ["1", "two"]),
        (["True", "False"], ["True", "False"]),
    ],
)
def test_a_csv_column_holds_numbers_where_every_cell_is_one(tmp_path, cells, values):
    path = write(tmp_path / "a.csv", "text,x\n" + "".join(f"t,{cell}\n" for cell in cells))
    assert read_table(path)["x"] == values


def test_the_word_nan_in_a_column_of_numbers_is_not_a_number(tmp_path):
    values = read_table(write(tmp_path / "a.csv", "text,x\na,0.5\nb,NaN\n"))["x"]
    assert values[0] == 0.5
    assert values[1] != values[1]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_separators_quotes_and_line_breaks_in_texts(tmp_path, name, separator):
    text = f'"one{separator} ""two""\nthree"'
    path = write(tmp_path / name, f"text{separator}label\n{text}{separator}a\n")
    assert read_table(path) == {"text": [f'one{separator} "two"\nthree'], "label": ["a"]}


def test_byte_order_mark_and_unnamed_index_column(tmp_path):
    path = write(tmp_path / "a.csv", ",text\n0,one\n1,two\n", "utf-8-sig")
    assert read_table(path) == {"unnamed_0": [0, 1], "text": ["one", "two"]}


def test_a_column_that_changes_type_far_down(tmp_path):
    rows = "".join(f"text {i},{i % 5}\n" for i in range(11_000))
    path = write(tmp_path / "a.csv", "text,label\n" + rows + "last,other\n")
    assert read_table(path)["label"][-2:] == ["4", "other"]


def test_jsonl_lists_nulls_and_mixed_values(tmp_path):
    rows = [
        {"text": "one", "labels": ["a", "b"], "x": 1},
        {"text": "two", "labels": [], "x": "many"},
        {"text": "three", "labels": None, "x": None},
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = read_table(path)
    assert table["labels"] == [["a", "b"], [], None]
    assert table["x"] == [1, "many", None]


def test_parquet(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b"], "x": [0.5, None]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet") == {"text": ["a", "b"], "x": [0.5, None]}


def test_the_file_name_gives_the_id(tmp_path):
    raw = read_data(write(tmp_path / "Moje údaje (2).csv", "text\nahoj\n"))
    assert raw.id == "Moje-udaje-2"


def test_texts_leave_no_copy_in_the_cache_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    read_table(write(tmp_path / "a.csv", "text\nsecret\n"))
    assert not (tmp_path / "cache").exists()


def test_nothing_is_printed(tmp_path, capfd):
    read_table(write(tmp_path / "a.jsonl", '{"text": "a"}\n'))
    assert capfd.readouterr() == ("", "")


# --------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_empty_file(tmp_path, name):
    path = write(tmp_path / name, "")
    with pytest.raises(TaskError, match=r"is empty; expected .* at least one row"):
        read_table(path)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_file_of_blank_lines(tmp_path, name):
    with pytest.raises(TaskError, match="is empty"):
        read_table(write(tmp_path / name, "\n \n"))


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_byte_order_mark_and_nothing_else(tmp_path, name, content):
    with pytest.raises(TaskError, match="is empty"):
        read_table(write(tmp_path / name, content, "utf-8-sig"))


def test_header_without_rows(tmp_path):
    with pytest.raises(TaskError, match="has no rows"):
        read_table(write(tmp_path / "a.csv", "text,label\n"))
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(TaskError, match="has no rows"):
        read_table(tmp_path / "a.parquet")


def test_rows_with_more_cells_than_the_header(tmp_path):
    message = "Expected 2 fields in line {}, saw 3"
    with pytest.raises(TaskError, match=message.format(2)):
        read_table(write(tmp_path / "a.csv", "text,label\na,b,c\nd,e,f\n"))
    with pytest.raises(TaskError, match=message.format(3)):
        read_table(write(tmp_path / "b.csv", "text,label\na,b\nd,e,f\n"))


def test_unclosed_quote_where_no_line_is_a_row(tmp_path):
    with pytest.raises(TaskError, match="EOF inside string"):
        read_table(write(tmp_path / "a.csv", 'text,label\na,b\nc,d\n"e,f\ng\n'))


def test_two_columns_of_one_name(tmp_path):
    with pytest.raises(TaskError, match="several columns called 'a'"):
        read_table(write(tmp_path / "a.csv", "a,a\n1,2\n"))


def test_broken_json_names_the_line_and_not_the_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": secret}\n')
    with pytest.raises(TaskError, match="line 2: Expecting value at character 10") as caught:
        read_table(path)
    assert "secret" not in str(caught.value)


def test_json_lines_that_are_no_objects(tmp_path):
    with pytest.raises(TaskError, match="line 1: not an object"):
        read_table(write(tmp_path / "a.jsonl", "[1, 2]\n[3]\n"))


def test_truncated_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TaskError, match="truncated or not Parquet"):
        read_table(path)


def test_unknown_kind_of_file_and_absent_file(tmp_path):
    with pytest.raises(TaskError, match=r"is a \.pdf file; expected one of \.csv, \.tsv"):
        read_table(write(tmp_path / "a.pdf", "x"))
    with pytest.raises(TaskError, match=r"is a \.xls file; .* save it as \.xlsx"):
        read_table(write(tmp_path / "a.xls", "x"))
    with pytest.raises(TaskError, match="no file"):
        read_table(tmp_path / "absent.csv")


def test_a_file_with_a_name_that_many_have_is_called_by_its_folder(tmp_path):
    (tmp_path / "hotel-reviews").mkdir()
    for name in ("train.csv", "first.csv"):
        (tmp_path / "hotel-reviews" / name).write_text("text,label\na,1\n", encoding="utf-8")
    assert read_data(tmp_path / "hotel-reviews" / "train.csv").id == "hotel-reviews"
    assert read_data(tmp_path / "hotel-reviews" / "first.csv").id == "first"
