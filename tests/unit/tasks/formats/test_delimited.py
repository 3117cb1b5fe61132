import pytest

from esm.common.errors import TaskError
from esm.tasks.formats.delimited import DELIMITERS, find_delimiter, read_delimited


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_the_delimiter_is_found_whatever_the_texts_hold(tmp_path, delimiter):
    others = "".join(other for other in DELIMITERS if other != delimiter)
    rows = [f'"čaj {others}{delimiter} a ""med"""{delimiter}áno{delimiter}1'] * 3
    text = "\n".join([delimiter.join(["text", "súhlas", "stupeň"]), *rows])
    assert find_delimiter(text) == delimiter
    table = read_delimited(tmp_path / "x.csv", text, delimiter)
    assert table == {
        "text": [f'čaj {others}{delimiter} a "med"'] * 3,
        "súhlas": ["áno"] * 3,
        "stupeň": [1] * 3,
    }


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("text\njedna, dva\ntri", ","),
        ("text;label\nAhoj, svet, a hor sa;x\nNie;y", ";"),
        ("text;label, ktorý\nAhoj;x\nNie, nie, nie;y", ";"),
        ("text;skóre\nAhoj;0,5\nNie;0,7", ";"),
        ("a;b,c;d\n1;2,3;4\n5;6,7;8", ";"),
        ("text\tlabel\njeden|dva;tri, štyri\tx", "\t"),
        ('"a;b;c",d\n"x;y;z",e', ","),
        ("\n\ntext|label\nx|y", "|"),
        ("text;label\rx;y\rx;y", ";"),
        ("text;label\r\nx;y\r\nx, z;y", ";"),
        ("", ","),
    ],
)
def test_the_delimiter_is_the_one_that_divides_the_rows_alike(text, delimiter):
    assert find_delimiter(text) == delimiter


def test_an_unclosed_quote_does_not_hide_the_delimiter():
    text = "text;label\nx;y\n" + '"' + "long, text; " * 20_000
    assert find_delimiter(text) == ";"


def test_commas_are_decimal_where_they_separate_no_cells(tmp_path):
    text = 'text{0}x\na{0}"0,5"\nb{0}"1,25"\n'
    assert read_delimited(tmp_path, text.format(";"), ";")["x"] == [0.5, 1.25]
    assert read_delimited(tmp_path, text.format(","), ",")["x"] == ["0,5", "1,25"]


def test_some_columns_stay_strings(tmp_path):
    text = "text;x\na;1,2\nb;3\nc;\n"
    assert read_delimited(tmp_path, text, ";", as_strings=frozenset({"x"}))["x"] == [
        "1,2",
        "3",
        None,
    ]


def test_columns_with_no_name_and_no_value_are_left_out(tmp_path):
    assert read_delimited(tmp_path, "text;x;\na;1;\nb;2;\n", ";") == {
        "text": ["a", "b"],
        "x": [1, 2],
    }


def test_rows_that_do_not_fit_name_the_delimiter_and_no_text(tmp_path):
    with pytest.raises(
        TaskError, match=r"cells between ';': Expected 2 .* line 2, saw 3"
    ) as caught:
        read_delimited(tmp_path, "a;b\ntajné;1;2\n", ";")
    assert "--delimiter" in str(caught.value)
    assert "tajné" not in str(caught.value)


def test_a_delimiter_is_one_character(tmp_path):
    with pytest.raises(TaskError, match=r"delimiter ';;' has 2 characters; expected one"):
        read_delimited(tmp_path, "a;;b\n", ";;")


def test_blank_lines_are_no_rows(tmp_path):
    text = "\n  \ntext;x\n\na;1\n   \nb;2\n\n\n"
    assert read_delimited(tmp_path, text, ";") == {"text": ["a", "b"], "x": [1, 2]}


def test_blank_lines_of_a_single_column_are_rows_but_at_its_ends(tmp_path):
    text = '\ntext\nprvý\n""\n   \n\n"druhý, tretí"\n\n   \n'
    found = read_delimited(tmp_path, text, ",")
    assert found == {"text": ["prvý", None, None, None, "druhý, tretí"]}


def test_blank_lines_do_not_hide_the_delimiter():
    assert find_delimiter("   \n\ntext;x\na b, c;1\n") == ";"


def test_rows_that_end_early_are_told(tmp_path, caplog):
    text = "text;x;\na;1;\nb\nc;3\nd;4;\n"
    table = read_delimited(tmp_path / "posts.csv", text, ";")
    assert table == {"text": ["a", "b", "c", "d"], "x": [1, None, 3, 4]}
    (said,) = caplog.messages
    assert "posts.csv: 1 of 4 rows have fewer cells than the header (the first is row 2)" in said
