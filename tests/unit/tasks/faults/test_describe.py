import json

import numpy as np

from esm.report.tasks import task_details
from esm.tasks.faults.describe import describe
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Examples, Metric, Problem, RareClass, SplitName, Target, Task


def target_of(problem, names, train, test=None, pairs=None, **fields):
    texts, labels = train
    splits = {SplitName.TRAIN: Examples(texts, pairs, np.array(labels))}
    if test is not None:
        splits[SplitName.TEST] = Examples(test[0], None, np.array(test[1]))
    task = Task("t/x", problem, Metric.MACRO_F1, names, splits, **fields)
    return Target("t", {"x": task}, skipped={"y": "one class"})


def test_a_classification_attribute_by_hand():
    train = (("one two", "one two", "a b c d", "x"), [0, 0, 1, 0])
    test = (("x", "y"), [0, 0])
    target = target_of(Problem.CLASSIFICATION, ("no", "yes"), train, test, dropped={"no label": 3})
    described = describe(target)
    assert described.pop("language")["code"] == "und"
    assert described == {
        "id": "t",
        "skipped": {"y": "one class"},
        "split": None,
        "attributes": {
            "x": {
                "id": "t/x",
                "problem": "classification",
                "metric": "macro_f1",
                "metadata": dict.fromkeys(
                    ("name", "language", "domain", "license", "origin", "citation"), ""
                ),
                "is_pair": False,
                "label_names": ["no", "yes"],
                "splits": {
                    "train": {
                        "rows": 4,
                        "labels": {
                            "no": {"rows": 3, "share": 0.75},
                            "yes": {"rows": 1, "share": 0.25},
                        },
                        "words": {"min": 1, "median": 2, "max": 4},
                        "duplicates": 1,
                    },
                    "test": {
                        "rows": 2,
                        "labels": {
                            "no": {"rows": 2, "share": 1.0},
                            "yes": {"rows": 0, "share": 0.0},
                        },
                        "words": {"min": 1, "median": 1, "max": 1},
                        "duplicates": 0,
                    },
                },
                "shared_train_test": 1,
                "dropped": {"no label": 3},
                "rare": [],
                "spellings": [],
                "unknown": {},
                "unanswered": {},
                "agreement": None,
            }
        },
    }


def test_regression_pairs_and_label_sets():
    train = (("a", "a", "b c"), [0.5, 1.0, 3.0])
    amounts = describe(target_of(Problem.REGRESSION, (), train, pairs=("x", "y z", "y")))
    attribute = amounts["attributes"]["x"]
    assert attribute["splits"]["train"]["labels"] == {"min": 0.5, "median": 1.0, "max": 3.0}
    assert attribute["splits"]["train"]["words"] == {"min": 2, "median": 3, "max": 3}
    assert attribute["splits"]["train"]["duplicates"] == 0
    assert attribute["shared_train_test"] is None
    sets = describe(target_of(Problem.MULTILABEL, ("a", "b"), (("x", "y"), [[1.0, 0], [1, 1]])))
    assert sets["attributes"]["x"]["splits"]["train"]["labels"] == {
        "a": {"rows": 2, "share": 1.0},
        "b": {"rows": 1, "share": 0.5},
    }


def test_the_summary_is_json_without_texts():
    target = target_of(Problem.CLASSIFICATION, ("a", "b"), (("secret", "words"), [0, 1]))
    written = json.dumps(describe(target))
    assert "secret" not in written


def test_an_ordered_scale_is_counted_by_level_and_says_what_was_merged():
    train = (("a", "b", "c"), [0, 1, 1])
    rare = (RareClass("1", 1, "1|2"), RareClass("9", 2, None))
    target = target_of(Problem.ORDINAL, ("1|2", "3"), train, rare=rare)
    described = describe(target)
    labels = described["attributes"]["x"]["splits"]["train"]["labels"]
    assert {name: count["rows"] for name, count in labels.items()} == {"1|2": 1, "3": 2}
    (details, _) = task_details(described)
    assert details.title.startswith("t/x: ordinal")
    assert details.notes == [
        "class '1' has 1 training rows: now part of '1|2'",
        "class '9' has 2 training rows: left out",
    ]


def test_tables_name_the_attribute_as_the_file_does(tmp_path):
    path = tmp_path / "posty.csv"
    rows = [f"text {row},{'áno' if row % 2 else 'nie'}" for row in range(40)]
    path.write_text("\n".join(["text,téma", *rows]), encoding="utf-8")
    described = describe(load_target(TaskSpec(location=str(path))))
    (details,) = task_details(described)
    assert details.title.startswith("posty/téma: ")
    assert described["attributes"]["téma"]["id"] == "posty/tema"  # of files and results
