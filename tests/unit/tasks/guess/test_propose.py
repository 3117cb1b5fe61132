import csv
import io

import openpyxl
import pandas as pd
import pytest

from esm.common.errors import TaskError
from esm.tasks.guess.propose import propose
from esm.tasks.guess.roles import Role
from esm.tasks.spec import RareClasses, SplitMethod

N = 120
SUBJECTS = ("Vláda", "Lekár", "Sused", "Vakcína", "Televízia")


def posts(count=N):
    return [f"{SUBJECTS[i % 5]} údajne skrýva ľuďom pravdu č. {i}" for i in range(count)]


def write(path, table, encoding="utf-8", delimiter=","):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter)
    writer.writerows([list(table), *zip(*table.values(), strict=True)])
    path.write_bytes(stream.getvalue().encode(encoding))
    return path


def cycle(*values, count=N):
    return [values[i % len(values)] for i in range(count)]


def role_of(proposal, name):
    return next(guess.role for guess in proposal.guesses if guess.name == name)


def test_a_slovak_spreadsheet_as_a_whole(tmp_path):
    table = {
        "id": range(N),
        "príspevok": posts(),
        "autor": [f"autor {i % 25}" for i in range(N)],
        "postoj": cycle("súhlasí", "nesúhlasí", "neutrálny"),
        "závažnosť": cycle("nízka", "stredná", "vysoká", ""),
        "emócie": cycle("strach; hnev", "hnev", "", ";"),
    }
    path = write(tmp_path / "p.csv", table, "cp1250", ";")
    proposal = propose(path)
    spec = proposal.spec
    assert (spec.location, spec.text, spec.text_pair) == (str(path), "príspevok", None)
    assert (spec.encoding, spec.delimiter) == ("cp1250", ";")
    assert spec.attributes == ("postoj", "závažnosť", "emócie")
    assert {name: how.kind for name, how in spec.columns.items()} == {
        "postoj": "classification",
        "závažnosť": "ordinal",
        "emócie": "multi-label",
    }
    assert spec.columns["závažnosť"].order == ("nízka", "stredná", "vysoká")
    assert spec.columns["emócie"].separator == ";"
    assert (spec.split.method, spec.split.group) == (SplitMethod.K_FOLD, "autor")
    assert [guess.name for guess in proposal.guesses] == list(table)
    assert role_of(proposal, "autor") is Role.GROUP
    assert role_of(proposal, "id") is Role.NONE
    assert "120 labelled rows" in proposal.reasons["split"]
    assert proposal.reasons["language"].startswith('language = "sk"  # detected')
    assert proposal.rows == N
    said = " ".join([*proposal.reasons.values(), *(guess.why for guess in proposal.guesses)])
    assert not any(text in said for text in table["príspevok"])


@pytest.mark.parametrize(
    ("rows", "group", "method"),
    [
        (120, None, SplitMethod.K_FOLD),
        (600, None, SplitMethod.STRATIFIED),
        (600, "autor", SplitMethod.GROUPED),
    ],
)
def test_the_split_hangs_on_rows_and_groups(tmp_path, rows, group, method):
    table = {"text": posts(rows), "postoj": cycle("áno", "nie", count=rows)}
    if group:
        table[group] = [f"a{i % 25}" for i in range(rows)]
    split = propose(write(tmp_path / "p.csv", table)).spec.split
    assert (split.method, split.group) == (method, group)


def test_rows_without_label_do_not_count_for_the_split(tmp_path):
    table = {"text": posts(600), "postoj": cycle("áno", "nie", "", count=600)}
    assert propose(write(tmp_path / "p.csv", table)).spec.split.method is SplitMethod.K_FOLD


def test_a_split_column_is_taken_and_rare_classes_counted_in_its_training_rows(tmp_path):
    table = {
        "text": posts(),
        "časť": cycle("train", "test"),
        # 4 training rows of c, 8 rows in all.
        "postoj": ["c" if i < 8 else "ab"[i % 2 ^ i // 2 % 2] for i in range(N)],
    }
    spec = propose(write(tmp_path / "p.csv", table)).spec
    assert (spec.split.method, spec.split.column) == (SplitMethod.COLUMN, "časť")
    assert spec.columns["postoj"].rare is RareClasses.LEAVE_OUT


@pytest.mark.parametrize(
    ("labels", "rare"),
    [
        (["a", "b"] * 57 + ["c"] * 6, RareClasses.KEEP),
        (["a", "b"] * 58 + ["c"] * 4, RareClasses.LEAVE_OUT),
        (["nízka", "stredná"] * 58 + ["vysoká"] * 4, RareClasses.MERGE),
        (["a; b", "b"] * 58 + ["c; a"] * 4, RareClasses.LEAVE_OUT),
        # Of two classes none can be spared.
        (["a"] * 116 + ["c"] * 4, RareClasses.KEEP),
    ],
)
def test_a_minimum_per_class_where_classes_are_rare(tmp_path, labels, rare):
    proposal = propose(write(tmp_path / "p.csv", {"text": posts(), "x": labels}))
    how = proposal.spec.columns["x"]
    assert (how.rare, how.min_per_class) == (rare, 1 if rare is RareClasses.KEEP else 5)
    about = next(guess.about_rare for guess in proposal.guesses if guess.name == "x")
    assert ("4" in about) == (rare is not RareClasses.KEEP)


def test_a_hold_out_takes_a_fifth_of_a_rare_class_away(tmp_path):
    table = {"text": posts(600), "x": ["c"] * 6 + cycle("a", "b", count=594)}
    assert propose(write(tmp_path / "p.csv", table)).spec.columns["x"].min_per_class == 5


def test_a_pair_task_with_repeated_first_texts_is_grouped_by_them(tmp_path):
    table = {
        "tvrdenie": [f"Tvrdenie, že číslo {i % 40} je pravda" for i in range(N)],
        "dôkaz": posts(),
        "vzťah": cycle("podporuje", "vyvracia"),
    }
    spec = propose(write(tmp_path / "p.tsv", table, delimiter="\t")).spec
    assert (spec.text, spec.text_pair) == ("tvrdenie", "dôkaz")
    assert spec.split.group == "tvrdenie"
    assert (spec.attributes, spec.delimiter) == (("vzťah",), None)


# --------------------------------------------------------------------------------- long files


def long_table(names=("atribút", "hodnota"), **more):
    rows = [
        (text, name, value)
        for i, text in enumerate(posts(40))
        for name, value in (
            ("postoj", ["súhlasí", "nesúhlasí"][i % 2]),
            ("hodnotenie", i % 3 + 1),
            ("emócia", ["hnev", "strach"][i % 2]),
        )
    ]
    rows += [(text, "emócia", "žiaľ") for text in posts(10)]
    text, name, value = (list(column) for column in zip(*rows, strict=True))
    return {"text": text, names[0]: name, names[1]: value} | {
        key: [of_row(i) for i in range(len(rows))] for key, of_row in more.items()
    }


def test_a_long_file(tmp_path):
    proposal = propose(write(tmp_path / "p.csv", long_table()))
    spec = proposal.spec
    assert (spec.text, spec.attribute_column, spec.value_column) == ("text", "atribút", "hodnota")
    assert {name: how.kind for name, how in spec.columns.items()} == {
        "postoj": "classification",
        "hodnotenie": "ordinal",
        "emócia": "multi-label",
    }
    assert spec.split.method is SplitMethod.K_FOLD
    assert "40 labelled rows" in proposal.reasons["split"]
    assert role_of(proposal, "atribút") is Role.ATTRIBUTE_NAMES
    assert role_of(proposal, "hodnota") is Role.VALUES


def test_a_file_of_several_annotators_is_not_long(tmp_path):
    table = {
        "text": [text for text in posts(40) for _ in range(3)],
        "anotátor": cycle("a1", "a2", "a3"),
        "postoj": cycle("áno", "nie", "neviem", "áno"),
        "label": cycle("x", "y", "y", "x", "x"),
    }
    spec = propose(write(tmp_path / "p.csv", table)).spec
    assert spec.attribute_column is None
    assert spec.attributes == ("postoj", "label")


def test_the_group_of_a_long_file_has_one_value_per_text(tmp_path):
    several = write(tmp_path / "a.csv", long_table(autor=lambda i: f"a{i % 11}"))
    one = long_table()
    one["autor"] = [f"a{one['text'].index(text) // 10}" for text in one["text"]]
    assert propose(several).spec.split.group is None
    assert propose(write(tmp_path / "b.csv", one)).spec.split.group == "autor"


# -------------------------------------------------------------------------------------- files


def test_the_first_of_several_sheets(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Dáta"
    for row in [("text", "postoj"), *zip(posts(), cycle("áno", "nie"), strict=True)]:
        book.active.append(row)
    legend = book.create_sheet("Legenda")
    for row in [("kód",), (1,)]:
        legend.append(row)
    book.save(tmp_path / "p.xlsx")
    proposal = propose(tmp_path / "p.xlsx")
    assert proposal.spec.sheet == "Dáta"
    assert proposal.reasons["sheet"] == "the first of 2: 'Dáta', 'Legenda'"
    with pytest.raises(TaskError, match="no column that looks like texts"):
        propose(tmp_path / "p.xlsx", sheet="Legenda")


def test_parquet_and_lists(tmp_path):
    table = {"text": posts(), "emócie": cycle(["hnev"], ["hnev", "strach"], [])}
    pd.DataFrame(table).to_parquet(tmp_path / "p.parquet")
    spec = propose(tmp_path / "p.parquet").spec
    assert spec.columns["emócie"].kind == "multi-label"
    assert (spec.encoding, spec.delimiter, spec.sheet) == (None, None, None)


def test_what_is_named_is_not_guessed(tmp_path):
    table = {"text": posts(), "nadpis": [f"Nadpis o čísle {i}" for i in range(N)]}
    path = write(tmp_path / "p.csv", table | {"x": cycle("a", "b")})
    assert propose(path, text="nadpis").spec.text == "nadpis"
    with pytest.raises(TaskError, match=r"no column 'titul' in the train rows of p; .*'nadpis'"):
        propose(path, text="titul")
    with pytest.raises(TaskError, match="is not utf-16"):
        propose(path, encoding="utf-16")


def test_files_that_nothing_can_be_proposed_for(tmp_path):
    path = write(tmp_path / "p.csv", {"a": range(N), "b": cycle("x", "y")})
    message = r"no column that looks like texts; expected strings .* 'a', 'b' .*; try: .*--text"
    with pytest.raises(TaskError, match=message):
        propose(path)
    with pytest.raises(TaskError, match="no file"):
        propose(tmp_path / "absent.csv")
    with pytest.raises(TaskError, match=r"is a \.ods file"):
        propose(tmp_path / "p.ods")
