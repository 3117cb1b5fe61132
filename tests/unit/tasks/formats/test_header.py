"""What stands around a table, in text tables and in workbooks."""

import datetime

import openpyxl
import pytest

from esm.tasks.formats.delimited import find_delimiter
from esm.tasks.formats.header import find_header, num_second_headers, num_totals
from tests.unit.tasks.formats.told import read, write

BODY = [[f"veta číslo {n} o čaji", "áno" if n % 2 else "nie", str(n % 3)] for n in range(12)]
HEAD = ["text", "postoj", "stupeň"]
TITLE = ["Export 5. 3. 2024", None, None]


def workbook(path, rows, merge=()):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for cells in merge:
        book.active.merge_cells(cells)
    book.save(path)
    return path


def as_csv(rows, delimiter=";"):
    return "".join(
        delimiter.join("" if cell is None else cell for cell in row) + "\n" for row in rows
    )


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([HEAD, *BODY], 0),
        ([TITLE, HEAD, *BODY], 1),
        ([TITLE, [None, "strana 1", None], HEAD, *BODY], 2),
        ([["text", None, None], *BODY], 0),  # the row below comes again: no names
        ([["text", None, None], ["prvá veta", "x", "1"], ["druhá veta", "y", "2"]], 0),
        ([["text"], ["prvá veta"]], 0),
        ([HEAD], 0),
        ([], 0),
    ],
)
def test_the_header_is_below_titles(rows, place):
    assert find_header(rows) == place


@pytest.mark.parametrize("title", ["Export 5. 3. 2024;;\n", "Moja tabuľka\n\n", "Export;;\n;;\n"])
def test_titles_of_text_tables(tmp_path, caplog, title):
    content = title + as_csv([HEAD, *BODY])
    assert find_delimiter(content) == ";"
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert list(table) == HEAD
    assert len(table["text"]) == 12
    assert said == "a.csv: rows left out: 1 above the header (titles)"


def test_a_column_of_sentences_has_no_title(tmp_path, caplog):
    content = "príspevok\n" + "".join(f"ano {n}, iste {n}\n" for n in range(30))
    table, said = read(write(tmp_path / "a.csv", content.replace(",", " -")), caplog)
    assert list(table) == ["príspevok"]
    assert said == ""


def test_titles_and_group_titles_of_workbooks(tmp_path, caplog):
    path = workbook(tmp_path / "a.xlsx", [TITLE, HEAD, *BODY], ["A1:C1"])
    table, said = read(path, caplog)
    assert list(table) == HEAD
    assert said == "a.xlsx: rows left out: 1 above the header (titles)"
    groups = [["text", "Anotácia", None], [None, "postoj", "stupeň"]]
    path = workbook(tmp_path / "b.xlsx", [*groups, *BODY], ["A1:A2", "B1:C1"])
    table, said = read(path, caplog)
    assert list(table) == HEAD
    assert len(table["text"]) == 12
    assert said == "b.xlsx: rows left out: 1 above the header (titles)"


def test_a_second_header_as_qualtrics_writes_it(tmp_path, caplog):
    wordings = ["Čo sa tu píše?", "Aký je postoj?", "Ako veľmi?"]
    ids = ['{"ImportId":"QID1"}', '{"ImportId":"QID2"}', '{"ImportId":"QID3"}']
    quoted = as_csv([['"' + cell.replace('"', '""') + '"' for cell in ids]])
    content = as_csv([HEAD, wordings]) + quoted + as_csv(BODY)
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table["stupeň"] == [int(row[2]) for row in BODY]
    assert said == "a.csv: rows left out: 2 below it (a second header)"
    assert num_second_headers([wordings, ids, *BODY]) == 2
    assert num_second_headers(BODY) == 0


@pytest.mark.parametrize("word", ["Spolu", "Celkem:", "TOTAL", "Gesamt", "razem: 12"])
def test_totals_at_the_end(tmp_path, caplog, word):
    last = [[word, None, "18"], [None, "priemer", "1,5"]]
    path = workbook(tmp_path / "a.xlsx", [HEAD, *BODY, *last])
    table, said = read(path, caplog)
    assert len(table["text"]) == 12
    assert said == "a.xlsx: rows left out: 2 at the end (totals)"
    table, said = read(write(tmp_path / "a.csv", as_csv([HEAD, *BODY, *last])), caplog)
    assert len(table["text"]) == 12
    assert "2 at the end (totals)" in said


@pytest.mark.parametrize(
    "last", [["Spolu to zvládneme", "áno", "1"], ["Total", "nie", "1"], ["a", "b", "1"]]
)
def test_rows_that_are_no_totals(last):
    assert num_totals([*BODY, last]) == 0
    assert num_totals([["Spolu", "3"]]) == 0  # nothing would be left


def test_spreadsheet_errors_are_empty_and_told(tmp_path, caplog):
    rows = [["- nie je to tak", "áno"], ["#NAME?", "nie"], ["text", "#N/A"], ["iný", "#DIV/0!"]]
    content = as_csv([["text", "x"], *rows])
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table == {
        "text": ["- nie je to tak", None, "text", "iný"],
        "x": ["áno", "nie", None, None],
    }
    assert said == (
        "a.csv: cells with a spreadsheet's error are read as empty: 1 in 'text' (#NAME?), 2 in 'x'"
        " (#DIV/0!, #N/A); a text that begins with = + or - was taken for a formula: format the"
        " column as text and enter it again"
    )
    table, said = read(workbook(tmp_path / "a.xlsx", [["text", "x"], *rows[1:]]), caplog)
    assert table["text"] == [None, "text", "iný"]
    assert "1 in 'text' (#NAME?)" in said


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (["1-3", "2. feb", "1-3", "2. feb"], 2),
        (["1-Jan", "2-III", "1-Jan", "2-III"], 4),
        (["Máj-12", "a", "a", "a"], 1),
        (["1-3", "2-4", "1-3", "2-4"], 0),
        (["2024-01-02", "2024-01-03", "a", "a"], 0),
    ],
)
def test_labels_that_became_dates_in_text_tables(tmp_path, caplog, labels, count):
    content = as_csv([["text", "vek"], *(["veta", label] for label in labels)])
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table["vek"] == labels
    assert (f"column 'vek' has dates for labels ({count} of 4 cells)" in said) == (count > 0)


def test_labels_that_became_dates_in_workbooks(tmp_path, caplog):
    day = datetime.datetime(2024, 2, 1)
    rows = [
        ["text", "vek", "deň"],
        *([f"veta {n}", "5-20", day] for n in range(4)),
        ["x", day, day],
    ]
    rows[1][2] = datetime.datetime(2024, 2, 2)
    _, said = read(workbook(tmp_path / "a.xlsx", rows), caplog)
    assert "column 'vek' has dates for labels (1 of 5 cells)" in said
    assert "'deň'" not in said
    path = tmp_path / "b.xlsx"
    book = openpyxl.Workbook()
    for row in [["text", "vek"], *(["veta", datetime.date(2024, n % 2 + 1, 2)] for n in range(4))]:
        book.active.append(row)
    for number in range(2, 6):
        book.active.cell(number, 2).number_format = "d\\-mmm"
    book.save(path)
    _, said = read(path, caplog)
    assert "column 'vek' has dates for labels (4 of 4 cells)" in said
