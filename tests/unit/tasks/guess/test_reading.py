"""What is loaded is what ``esm tasks init`` proposes; expected readings follow from the tables."""

import csv
import json

import pytest

from esm.common.errors import TaskError
from esm.tasks.guess.draft import write_draft
from esm.tasks.guess.propose import propose
from esm.tasks.load import load_target, load_task
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec
from esm.tasks.specfile import read_spec
from esm.tasks.task import Problem, SplitName

N = 60
TEXTS = [f"slovo číslo {row} je tu" for row in range(N)]
TABLE = {
    "text": TEXTS,
    "topic": ["jedlo", "liek"] * 30,
    "stars": [f"{row / 10 + 0.05:.2f}" for row in range(N)],
    "tags": ["a|b", "b", "c|a"] * 20,
    "level": ["nízka", "stredná", "vysoká", "neviem"] * 15,
    "share": ["5 %", "12,5 %", "85 %"] * 20,
    "id": [f"p{row:04}" for row in range(N)],
}


def cycle(*values):
    return [values[row % len(values)] for row in range(N)]


def write(path, table):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([list(table), *zip(*table.values(), strict=True)])
    return path


def write_lines(path, table):
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def loaded(path, **said):
    return load_target(TaskSpec(location=str(path), **said))


def kinds(target):
    return {name: task.problem.value for name, task in target.attributes.items()}


TABLES = {
    "several": TABLE,
    "minus one": {"text": TEXTS, "label": cycle(0, 1, 1, -1)},
    "google forms": {
        "Časová pečiatka": [f"5. 3. 2024 10:{row:02}:09" for row in range(N)],
        "Prečítajte si príspevok": TEXTS,
        "Ktoré témy sa ho týkajú?": cycle("diéta, strava", "zákon", "zákon, diéta, strava"),
        "Ako veľmi škodí? (1 = vôbec, 5 = úplne)": cycle(1, 2, 3, 4, 5),
    },
    "a split": {"text": TEXTS, "part": cycle("train", "train", "test"), "x": cycle("a", "b")},
    "long": {
        "text": [text for text in TEXTS for _ in range(2)],
        "attribute": ["stance", "tone"] * N,
        "value": ["for", "calm", "against", "angry"] * (N // 2),
    },
    "a pair": {"claim": TEXTS, "evidence": TEXTS[::-1], "relation": cycle("supports", "refutes")},
}


@pytest.mark.parametrize("name", TABLES)
def test_the_plain_reading_and_the_proposal_are_the_same(tmp_path, name):
    path = write(tmp_path / "posts.csv", TABLES[name])
    proposal = propose(path)
    target = loaded(path)
    assert tuple(target.attributes) == proposal.spec.attributes
    assert kinds(target) == {column: how.kind for column, how in proposal.spec.columns.items()}
    edited = read_spec(write_draft(proposal))
    # How to divide the rows, and what becomes of rare classes, is for the user to decide.
    kept = {
        column: how.model_copy(update={"min_per_class": 1, "rare": "keep"})
        for column, how in edited.columns.items()
    }
    split = SplitSpec(column=proposal.spec.split.column)
    again = load_target(edited.model_copy(update={"columns": kept, "split": split}))
    assert again.content_hash() == target.content_hash()


def test_the_columns_of_a_table_are_read_as_what_they_are(tmp_path):
    target = loaded(write(tmp_path / "posts.csv", TABLE))
    assert kinds(target) == {
        "topic": "classification",
        "stars": "regression",
        "tags": "multi-label",
        "level": "ordinal",
        "share": "regression",
    }
    level = target.attributes["level"]
    assert level.label_names == ("nízka", "stredná", "vysoká")
    assert level.unanswered == {"neviem": 15}
    assert level.dropped == {"no answer": 15}
    share = target.attributes["share"]
    values = {value for rows in share.splits.values() for value in rows.labels.tolist()}
    assert values == {5.0, 12.5, 85.0}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, True),
        ({"attributes": ("topic",)}, False),
        ({"kind": "classification"}, False),
        ({"columns": {"stars": ColumnSpec(kind=Problem.REGRESSION)}}, False),
    ],
)
def test_it_is_told_where_nothing_was_said_of_the_columns(tmp_path, caplog, said, told):
    loaded(write(tmp_path / "posts.csv", TABLE), **said)
    printed = " ".join(caplog.messages)
    assert ("nothing says what its columns are: text 'text'; attributes" in printed) is told
    if told:
        assert "'level' (ordinal, no answer: 'neviem')" in printed
        assert "left out 'id' (an id: 60 distinct values in 60 rows)" in printed
        assert "esm tasks init FILE writes this down" in printed


def test_nothing_is_told_of_texts_and_classes_alone(tmp_path, caplog):
    loaded(write(tmp_path / "posts.csv", {"text": TEXTS, "x": cycle("a", "b")}))
    assert caplog.messages == []


def test_who_says_something_of_a_column_corrects_the_proposal(tmp_path):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "label": cycle(0, 1, 1, -1)})
    assert loaded(path).attributes["label"].label_names == ("0", "1")
    columns = {"label": ColumnSpec(missing=())}
    assert loaded(path, columns=columns).attributes["label"].label_names == ("-1", "0", "1")
    merged = {"label": ColumnSpec(merge={"-1": "0"})}
    assert loaded(path, columns=merged).attributes["label"].label_names == ("0", "1")
    # Who names the kind says all of it.
    whole = {"label": ColumnSpec(kind="classification")}
    assert loaded(path, columns=whole).attributes["label"].label_names == ("-1", "0", "1")


def test_a_separator_makes_sets_of_labels_whatever_was_proposed(tmp_path):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "x": cycle("a-b", "c-d")})
    task = loaded(path, columns={"x": ColumnSpec(separator="-")}).attributes["x"]
    assert (task.problem, task.label_names) == (Problem.MULTILABEL, ("a", "b", "c", "d"))


def test_a_named_attribute_is_read_as_proposed(tmp_path):
    path = write(tmp_path / "posts.csv", TABLE)
    task = load_task(TaskSpec(location=str(path), attributes=("level",)))
    assert (task.problem, task.unanswered) == (Problem.ORDINAL, {"neviem": 15})
    named = TaskSpec(location=str(path), attributes=("level",), kind="classification")
    assert load_task(named).problem is Problem.CLASSIFICATION


def test_empty_cells_of_a_check_box_are_no_where_the_user_says_so(tmp_path):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "diet": cycle("x", "", "")})
    columns = {"diet": ColumnSpec(kind="classification", empty="no")}
    task = loaded(path, columns=columns).attributes["diet"]
    assert task.label_names == ("no", "x")
    assert sum(len(rows) for rows in task.splits.values()) == N


def test_a_column_of_splits_divides_the_rows(tmp_path):
    target = loaded(write(tmp_path / "posts.csv", TABLES["a split"]))
    assert (target.origin.method, target.origin.column) == ("column", "part")
    assert len(target.attributes["x"].test) == 20


def test_rows_of_one_author_stay_together(tmp_path):
    table = {"text": TEXTS, "author": [f"a{row % 20}" for row in range(N)], "x": cycle("a", "b")}
    path = write(tmp_path / "posts.csv", table)
    assert loaded(path).origin.group == "author"
    # Who asks for a stratified split does not ask for that.
    assert loaded(path, split=SplitSpec(method="stratified")).origin.group == ""


@pytest.mark.parametrize(
    ("values", "names", "rows"),
    [
        (cycle([0, 0, 0], [1, 0, 1], [0, 1, 0]), ("label_0", "label_1", "label_2"), N),
        (cycle("1 0 1", "0 0 0", "0 1 0"), ("label_0", "label_1", "label_2"), N),
        (cycle(["a"], ["b"], []), ("a", "b"), 40),
        (cycle("a", '{"choices": ["a", "b"]}', "b"), ("a", "b"), N),
        (cycle([1, 0], [0, 1]), ("label_0", "label_1"), N),
        (cycle(["a", "b"], [], ["b"]), ("a", "b"), N),
    ],
)
def test_lists_and_indicators_of_json_lines(tmp_path, values, names, rows):
    path = write_lines(tmp_path / "posts.jsonl", {"text": TEXTS, "topics": values})
    task = loaded(path).attributes["topics"]
    assert task.label_names == names
    assert sum(len(part) for part in task.splits.values()) == rows


def test_numbers_written_as_json_strings(tmp_path):
    table = {"text": TEXTS, "x": [f"{row / 8}" for row in range(N)], "stars": cycle("1", "2", "3")}
    target = loaded(write_lines(tmp_path / "posts.jsonl", table))
    assert kinds(target) == {"x": "regression", "stars": "ordinal"}


def test_a_decimal_comma_between_commas(tmp_path):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "harm": cycle("3,5", "1", "4,5", "2")})
    task = loaded(path).attributes["harm"]
    assert task.problem is Problem.REGRESSION
    found = {value for rows in task.splits.values() for value in rows.labels.tolist()}
    assert found == {1.0, 2.0, 3.5, 4.5}


def test_labels_that_look_the_same_are_one_class(tmp_path):
    labels = cycle("áno", "nie", "a\u0301no", "nie\u00a0", "áno\u200b", "nie")
    task = loaded(write(tmp_path / "posts.csv", {"text": TEXTS, "x": labels})).attributes["x"]
    assert task.label_names == ("nie", "áno")
    assert {(one.label, one.rows) for one in task.spellings} == {("áno", 10), ("nie", 10)}
    assert len(task.spellings) == 3


def test_another_spelling_in_the_test_file_is_the_same_class(tmp_path):
    train = write(tmp_path / "train.csv", {"text": TEXTS, "x": cycle("reliable", "misleading")})
    texts = [f"nový text {row} je tu" for row in range(N)]
    labels = cycle("Reliable", "misleading", "Reliabel", "N/A")
    test = write(tmp_path / "test.csv", {"text": texts, "x": labels})
    task = load_target(TaskSpec(location=str(train), test=str(test))).attributes["x"]
    assert len(task.test) == 30
    assert task.test.labels.tolist() == [1, 0] * 15
    assert task.unknown == {SplitName.TEST: {"Reliabel": 15}}
    assert task.unanswered == {"N/A": 15}
    assert [(one.written, one.label, one.rows) for one in task.spellings] == [
        ("Reliable", "reliable", 15)
    ]
    assert task.dropped == {"label not in train": 15, "no answer": 15}


def test_amounts_that_can_be_read_in_two_ways_are_refused(tmp_path):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "reach": cycle("1,200", "950", "12,000")})
    message = "'reach' holds values that are not finite numbers: .*which may be 1250 or 1.25"
    with pytest.raises(TaskError, match=message):
        loaded(path, attributes=("reach",), kind="regression")


def test_a_source_says_which_rows_it_leaves_out(tmp_path, caplog):
    path = write(tmp_path / "posts.csv", {"text": TEXTS, "x": cycle("a", "b", "N/A")})
    load_task(TaskSpec(location=str(path), attributes=("x",)))
    said = "posts: rows left out because their label stands for no answer: 20, namely N/A 20"
    assert said in caplog.messages
