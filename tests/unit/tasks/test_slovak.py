"""One Slovak table in every kind of file and encoding is one and the same target."""

import csv
import io
import json

import openpyxl
import pandas as pd
import pytest

from esm.tasks.load import load_target
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec

LETTERS = "ľščťžýáíéúäňôĽŠČŤŽÝÁÍÉÚÄŇÔďĎŕĺóö„“–"
HEADER = ["príspevok", "postoj", "stupeň", "emócie"]
ROWS = [
    [
        f"Príspevok č. {i}: {LETTERS}; vraj, že „áno“",
        ["súhlasí", "nesúhlasí", "neutrálny"][i % 3],
        i % 4,
        ["strach; hnev", "žiaľ", ";"][i % 3],
    ]
    for i in range(30)
]


def write_csv(path, delimiter, encoding):
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows([HEADER, *ROWS])
    path.write_bytes(stream.getvalue().encode(encoding))


def write_jsonl(path, encoding):
    lines = [json.dumps(dict(zip(HEADER, row, strict=True)), ensure_ascii=False) for row in ROWS]
    path.write_bytes("\n".join(lines).encode(encoding))


def write_xlsx(path):
    book = openpyxl.Workbook()
    for row in [HEADER, *ROWS]:
        book.active.append(row)
    book.save(path)


WRITERS = {
    "utf8-comma.csv": lambda path: write_csv(path, ",", "utf-8"),
    "excel.csv": lambda path: write_csv(path, ";", "cp1250"),
    "bom.csv": lambda path: write_csv(path, ";", "utf-8-sig"),
    "unicode-text.txt": lambda path: write_csv(path, "\t", "utf-16"),
    "bars.csv": lambda path: write_csv(path, "|", "utf-16"),
    "tabs.tsv": lambda path: write_csv(path, "\t", "cp1250"),
    "book.xlsx": write_xlsx,
    "lines.jsonl": lambda path: write_jsonl(path, "utf-8"),
    "bom.jsonl": lambda path: write_jsonl(path, "utf-8-sig"),
    "old.jsonl": lambda path: write_jsonl(path, "cp1250"),
    "wide.jsonl": lambda path: write_jsonl(path, "utf-16"),
    "table.parquet": lambda path: pd.DataFrame(ROWS, columns=HEADER).to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_target_from_every_kind_of_file(tmp_path, name):
    WRITERS[name](tmp_path / name)
    spec = TaskSpec(
        location=str(tmp_path / name),
        id="príspevky".encode("ascii", "ignore").decode(),
        text="príspevok",
        attributes=("postoj", "stupeň", "emócie"),
        columns={"emócie": ColumnSpec(separator=";")},
        split=SplitSpec(test_share=0.2),
    )
    target = load_target(spec)
    tasks = target.attributes
    assert {*tasks["postoj"].train.texts, *tasks["postoj"].test.texts} == {row[0] for row in ROWS}
    assert tasks["postoj"].label_names == ("nesúhlasí", "neutrálny", "súhlasí")
    assert tasks["stupeň"].label_names == ("0", "1", "2", "3")
    assert tasks["emócie"].label_names == ("hnev", "strach", "žiaľ")
    labels = dict(zip(tasks["emócie"].train.texts, tasks["emócie"].train.labels, strict=True))
    expected = {0: [1, 1, 0], 1: [0, 0, 1], 2: [0, 0, 0]}
    for i, row in enumerate(ROWS):
        if row[0] in labels:
            assert labels[row[0]].tolist() == expected[i % 3]
