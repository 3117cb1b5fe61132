import datetime
import zipfile

import openpyxl
import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.files import read_table
from esm.tasks.formats.xlsx import read_workbook, sheet_names
from esm.tasks.spec import ColumnSpec, TaskSpec


def save(path, rows, title="Príspevky", further=()):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    for name in further:
        book.create_sheet(name).append([f"v hárku {name}"])
        book[name].append([1])
    book.save(path)
    return path


def test_texts_numbers_dates_and_truth_values(tmp_path):
    day = datetime.datetime(2024, 5, 1)
    rows = [
        ["text", "postoj", "stupeň", "skóre", "deň", "overené"],
        ["Ľšč ťžý\náíé úäň ô", "áno", 3, 0.5, day, True],
        ["Druhý", None, 2, 1, None, False],
    ]
    assert read_workbook(save(tmp_path / "a.xlsx", rows)) == {
        "text": ["Ľšč ťžý\náíé úäň ô", "Druhý"],
        "postoj": ["áno", None],
        "stupeň": [3, 2],
        "skóre": [0.5, 1],
        "deň": ["2024-05-01", None],
        "overené": [True, False],
    }


def test_numbers_that_were_entered_as_texts(tmp_path):
    rows = [["text", "x", "y", "z"], ["a", "1", "0,5", "1"], [2024, "2", "0,25", "dva"]]
    table = read_workbook(save(tmp_path / "a.xlsx", rows))
    assert table == {"text": ["a", "2024"], "x": [1, 2], "y": [0.5, 0.25], "z": ["1", "dva"]}


def test_empty_rows_unnamed_columns_and_errors_of_formulas(tmp_path):
    rows = [
        [None, None],
        [None, "text", None, "x", None],
        [1, "a", "b", "#N/A"],
        [],
        ["  ", None],
        [2, "c"],
    ]
    assert read_workbook(save(tmp_path / "a.xlsx", rows)) == {
        "unnamed_0": [1, 2],
        "text": ["a", "c"],
        "unnamed_2": ["b", None],
        "x": [None, None],
    }


def test_merged_header_cells(tmp_path):
    path = save(tmp_path / "a.xlsx", [["text", "postoj", None], ["a", "áno", "nie"]])
    book = openpyxl.load_workbook(path)
    book.active.merge_cells("B1:C1")
    book.save(path)
    assert list(read_workbook(path)) == ["text", "postoj", "unnamed_2"]


def test_the_value_of_a_formula_is_the_one_that_was_stored(tmp_path):
    path = save(tmp_path / "a.xlsx", [["text", "x"], ["a", "=1+1"]])
    changed = tmp_path / "b.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(b"<f>1+1</f><v></v>", b"<f>1+1</f><v>2</v>")
            content = content.replace(b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>")
            new.writestr(name, content)
    assert read_workbook(changed)["x"] == [2]


def test_the_first_sheet_is_read_unless_another_is_named(tmp_path, caplog):
    path = save(tmp_path / "a.xlsx", [["text"], ["a"]], further=("Kódy", "Hárok 3"))
    assert read_workbook(path) == {"text": ["a"]}
    assert caplog.messages == ["a.xlsx: sheet 'Príspevky' is read, the first of 3; --sheet chooses"]
    caplog.clear()
    assert read_table(path, TaskSpec(location="x", sheet="Kódy")) == {"v hárku Kódy": [1]}
    assert not caplog.messages
    with pytest.raises(TaskError, match="no sheet 'X'; expected one of 'Príspevky', 'Kódy', "):
        read_workbook(path, "X")


def test_columns_of_lists_stay_strings(tmp_path):
    path = save(tmp_path / "a.xlsx", [["text", "x"], ["a", "1,2"], ["b", 3]])
    spec = TaskSpec(location="x", columns={"x": ColumnSpec(separator=",")})
    assert read_table(path, spec)["x"] == ["1,2", "3"]


def test_workbooks_that_cannot_be_read(tmp_path):
    path = save(tmp_path / "a.xlsx", [["text", "x", "text"], ["a", 1, 2]])
    with pytest.raises(TaskError, match="several columns called 'text'"):
        read_table(path)
    with pytest.raises(TaskError, match="has no rows"):
        read_table(save(tmp_path / "b.xlsx", [["text", "x"]]))
    with pytest.raises(TaskError, match="has no rows"):
        read_table(save(tmp_path / "c.xlsx", []))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TaskError, match="truncated, encrypted or no XLSX workbook"):
        read_table(path)


def test_the_first_sheet_that_is_shown(tmp_path, caplog):
    path = save(tmp_path / "a.xlsx", [["zoznam"], ["x"]], further=("Dáta", "Kódy"))
    book = openpyxl.load_workbook(path)
    book["Príspevky"].sheet_state = "hidden"
    book["Kódy"].sheet_state = "veryHidden"
    book.active = 1
    book.save(path)
    assert read_workbook(path) == {"v hárku Dáta": [1]}
    assert " ".join(caplog.messages) == (
        "a.xlsx: sheet 'Dáta' is read, the only one that is shown (hidden: 'Príspevky', 'Kódy');"
        " --sheet chooses"
    )
    assert sheet_names(path) == ["Dáta"]
    assert read_workbook(path, "Príspevky") == {"zoznam": ["x"]}
    assert caplog.messages[1:] == ["a.xlsx: sheet 'Príspevky' is hidden in the workbook"]


def test_hidden_rows_are_read_and_counted(tmp_path, caplog):
    path = save(tmp_path / "a.xlsx", [["text"], ["a"], [None], ["b"], ["c"]])
    book = openpyxl.load_workbook(path)
    for row in (2, 3, 5):  # the third is empty
        book.active.row_dimensions[row].hidden = True
    book.save(path)
    assert read_workbook(path)["text"] == ["a", "b", "c"]
    assert "2 hidden rows are read as well: remove the ones" in " ".join(caplog.messages)


def test_a_merged_label_holds_for_all_its_rows(tmp_path, caplog):
    rows = [["text", "postoj", "škoda"], ["a", "áno", 1], ["b", None, 2], ["c", "nie", 3], ["d"]]
    path = save(tmp_path / "a.xlsx", rows)
    book = openpyxl.load_workbook(path)
    for cells in ("B2:B3", "B4:B5", "C4:C5"):
        book.active.merge_cells(cells)
    book.save(path)
    assert read_workbook(path) == {
        "text": ["a", "b", "c", "d"],
        "postoj": ["áno", "áno", "nie", "nie"],
        "škoda": [1, 2, 3, 3],
    }
    said = " ".join(caplog.messages)
    assert "merged cells have the value of their first one (2 in 'postoj', 1 in 'škoda')" in said


def test_formulas_that_were_never_computed(tmp_path, caplog):
    rows = [["text", "x", "y"], ["a", "=1+1", 1], ["b", "=2+2", 2], ["c", 3, 3]]
    assert read_workbook(save(tmp_path / "a.xlsx", rows))["x"] == [None, None, 3]
    said = " ".join(" ".join(caplog.messages).split())
    assert (
        "2 formulas have no stored value and are read as empty (in 'x'): open and save the" in said
    )
