"""Lines as fastText takes them."""

from tests.unit.tasks.formats.told import read, write


def test_one_label_a_line_is_a_class(tmp_path, caplog):
    content = (
        "__label__za dobrý, čaj\n\nbez značky\n__label__proti zlý\tčaj\n" + "__label__za x\n" * 9
    )
    table, said = read(write(tmp_path / "train.txt", content), caplog)
    assert table["text"][:3] == ["dobrý, čaj", "bez značky", "zlý\tčaj"]
    assert table["label"][:3] == ["za", None, "proti"]
    assert said == (
        "train.txt: read as fastText lines: 'label' holds one label a row, so classes; 1 of 12 rows"
        " have no label and count as not annotated"
    )


def test_several_labels_are_a_set(tmp_path, caplog):
    content = "__label__a __label__b-c text one\n__label__a , text two\n"
    table, said = read(write(tmp_path / "a.txt", content), caplog)
    assert table == {"text": ["text one", "text two"], "label": [["a", "b-c"], ["a"]]}
    assert "sets of labels" in said


def test_a_text_that_speaks_of_a_label_is_none(tmp_path, caplog):
    content = "text,x\nsay __label__a,1\n__label__b is a mark,2\n"
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert (list(table), said) == (["text", "x"], "")
