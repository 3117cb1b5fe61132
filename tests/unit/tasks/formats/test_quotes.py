"""Quotes that do not follow the rule."""

import pytest

from esm.tasks.formats.quotes import are_escaped, find_fault, line_by_line
from tests.unit.tasks.formats.told import read, write


def test_escaped_quotes(tmp_path, caplog):
    content = (
        'text,x\n"povedal \\"áno, iste\\" a odišiel",1\n"C:\\\\dom\\nový \\"x\\"",2\n'
        '"koniec \\\\",3\n'
    )
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table == {
        "text": ['povedal "áno, iste" a odišiel', 'C:\\dom\\nový "x"', "koniec \\"],
        "x": [1, 2, 3],
    }
    assert said == ""


def test_a_backslash_at_the_end_of_a_cell_escapes_nothing(tmp_path, caplog):
    content = 'text,x\n"C:\\",1\n"a ""b"" \\",2\n'
    table, _ = read(write(tmp_path / "a.csv", content), caplog)
    assert table == {"text": ["C:\\", 'a "b" \\'], "x": [1, 2]}
    assert not are_escaped(content, ",")


def test_quotes_inside_cells_without_quotes_stay(tmp_path, caplog):
    content = 'id;text;x\n1;rúra 5" je dosť;a\n2;„nie“ hovorí;b\n3;tab\tv texte;c\n'
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table["text"] == ['rúra 5" je dosť', "„nie“ hovorí", "tab\tv texte"]
    assert said == ""


def test_a_quote_that_is_never_closed_swallows_no_row(tmp_path, caplog):
    rows = [f"{n};veta číslo {n};a" for n in range(9)]
    rows[2] = '2;"rozhlas hovorí, že;a'
    rows[6] = '6;rúra 5" je dosť;a'
    rows[7] = '7;"v úvodzovkách; celá";a'
    table, said = read(write(tmp_path / "a.csv", "\n".join(["id;text;x", *rows]) + "\n"), caplog)
    assert table["id"] == [*range(9)]
    assert table["text"][2] == '"rozhlas hovorí, že'
    assert table["text"][7] == "v úvodzovkách; celá"
    assert said == (
        "a.csv: quotes do not fit in 1 lines (4), such as one that is never closed: each line is"
        " read as a row and these quotes as they stand"
    )


def test_a_quote_open_to_the_end(tmp_path, caplog):
    table, said = read(write(tmp_path / "a.csv", 'text,x\na,b\n"c,d\ne,f\n'), caplog)
    assert table == {"text": ["a", '"c', "e"], "x": ["b", "d", "f"]}
    assert "quotes do not fit in 1 lines (3)" in said


def test_texts_of_several_lines_are_whole(tmp_path, caplog):
    content = 'text,x\n"prvý, riadok\ndruhý, riadok",a\n"tretí, ""x""\nštvrtý",b\n'
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table["text"] == ["prvý, riadok\ndruhý, riadok", 'tretí, "x"\nštvrtý']
    assert said == ""


def test_what_fits_in_no_way_is_told(tmp_path, caplog):
    content = 'text,x\n"prvý\nriadok",a\n"druhý" ešte,b\n"tretí\n\nriadok",c\n'
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert len(table["text"]) == 3
    assert "a.csv: the quotes around line 4 do not fit: rows may stand in one cell" in said


@pytest.mark.parametrize(
    ("text", "line"),
    [('a,b\n"c",d\n', 0), ('a,b\n"c" x,d\n', 2), ('a,b\nc,d\n"e,f\n', 3), ('a"b,c\n', 0)],
)
def test_the_first_fault(text, line):
    assert find_fault(text, ",") == line


def test_lines_that_are_no_rows():
    assert line_by_line("a,b\nc\n", ",") is None
    assert line_by_line('a,b\n\n"c,d\n', ",") == ([["a", "b"], ['"c', "d"]], [3])


@pytest.mark.parametrize(
    ("line", "delimiter"), [("sep=;", ";"), ('"sep=\t"', "\t"), ("SEP=|", "|"), ("sep=,", ",")]
)
def test_a_line_that_says_the_delimiter(tmp_path, caplog, line, delimiter):
    content = f"{line}\r\ntext{delimiter}x\r\na. b{delimiter}1\r\n"
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert (table, said) == ({"text": ["a. b"], "x": [1]}, "")
