import datetime

import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.cells import column_names, parse_column


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", " 2 ", ""], [1, 2, None]),
        (["1", "2.5", None], [1.0, 2.5, None]),
        ([1, 2.5, None], [1, 2.5, None]),
        ([True, None], [True, None]),
        (["007", "1"], ["007", "1"]),
        ([1, "two", 3.0, True], ["1", "two", "3", "True"]),
        ([1, "2"], [1, 2]),
        (["0,5", "-1,25"], ["0,5", "-1,25"]),
        (['["a", "b"]', "[]", None], [["a", "b"], [], None]),
        (["['a', 'b']", "[1, 2.0]"], [["a", "b"], ["1", "2"]]),
        (["[a]", "[]"], ["[a]", "[]"]),
        (['["a"]', "b"], ['["a"]', "b"]),
        (['[["a"]]', "[]"], ['[["a"]]', "[]"]),
        ([["a"], None], [["a"], None]),
        ([None, ""], [None, None]),
    ],
)
def test_a_column_is_what_all_its_cells_are(cells, values):
    found = parse_column(cells)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_decimal_commas():
    assert parse_column(["0,5", "-1,25", "3", None], decimal_comma=True) == [0.5, -1.25, 3.0, None]
    assert parse_column(["0,5", "1,2,3"], decimal_comma=True) == ["0,5", "1,2,3"]
    assert parse_column(["00,5"], decimal_comma=True) == ["00,5"]


def test_dates_are_written_as_in_iso_8601():
    cells = [
        datetime.datetime(2024, 3, 1),
        datetime.datetime(2024, 3, 1, 12, 30),
        datetime.date(2024, 2, 29),
        datetime.time(8, 5),
    ]
    assert parse_column(cells) == ["2024-03-01", "2024-03-01T12:30:00", "2024-02-29", "08:05:00"]


def test_names_of_columns():
    assert column_names([" a ", None, "", 2024.0], "x") == ["a", "unnamed_1", "unnamed_2", "2024"]
    with pytest.raises(TaskError, match="x has several columns called 'a'"):
        column_names(["a", " a"], "x")


def test_dots_that_may_stand_between_thousands_are_left_to_the_reader_of_labels():
    assert parse_column(["1.200", "950", "12.000"]) == ["1.200", "950", "12.000"]
    assert parse_column(["3.667", "4.000"]) == [3.667, 4.0]
    assert parse_column(["0.25", "1"]) == [0.25, 1.0]
