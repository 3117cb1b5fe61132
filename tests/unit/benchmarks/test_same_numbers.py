"""Two folders of results, compared number by number."""

from __future__ import annotations

import json
import sqlite3

import pytest

from benchmarks.same_numbers import compare, main

RANKING = {
    "target": "posts",
    "pool": "/home/one/pool",
    "target_hash": "b5363c9c2a289b79e573b558b0a48f486c51e9c06e547a070d514c7e613c7a59",
    "attributes": {
        "harmful": {
            "balanced": True,
            "ranking": [
                {"rank": 1, "source": "moods", "score": -0.25, "gain": None},
                {"rank": 2, "source": "weather", "score": float("nan"), "gain": 0.5},
            ],
        }
    },
    "seconds": 1.5,
}


def write(folder, content=RANKING, name="ranking.json"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if name.endswith("csv") else json.dumps(content), encoding="utf-8")
    return folder


def changed(**values):
    """The ranking as another build could have written it."""
    content = json.loads(json.dumps(RANKING))
    content["attributes"]["harmful"]["ranking"][0].update(values)
    return content


@pytest.fixture
def before(tmp_path):
    return write(tmp_path / "before")


def wheres(found):
    return [difference.where for difference in found.differences]


def test_paths_hashes_and_times_may_differ(before, tmp_path, capsys):
    other = RANKING | {"pool": "/srv/pool", "target_hash": "0" * 64, "seconds": 9.0}
    after = write(tmp_path / "after", other)
    found = compare(before, after)
    assert (found.numbers, found.differences, found.added) == (5, [], [])
    assert found.texts == 5  # the target, balanced, two sources, a gain that is null
    assert found.left_out == {"paths and hashes": 2, "seconds": 1}
    assert main([str(before), str(after)]) == 0
    assert capsys.readouterr().out.startswith("compared 5 numbers and 5 texts; left out: 2 paths")


def test_the_largest_difference_is_named_and_held_against_the_tolerance(before, tmp_path, capsys):
    after = write(tmp_path / "after", changed(score=-0.375))
    assert main([str(before), str(after)]) == 1
    where = "ranking.json.attributes.harmful.ranking[0].score"
    assert f"largest difference: {where}: -0.25 | -0.375  (by 0.125)" in capsys.readouterr().out
    assert main([str(before), str(after), "--tolerance", "0.1"]) == 1
    assert main([str(before), str(after), "--tolerance", "0.125"]) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"source": "claims"},
        {"gain": 0.0},
        {"rank": "1"},
        {"score": float("nan")},
        {"score": float("inf")},
        {"rank": True},
    ],
)
def test_no_tolerance_covers_another_text_or_what_is_no_number(before, tmp_path, values):
    after = write(tmp_path / "after", changed(**values))
    assert main([str(before), str(after), "--tolerance", "1e9"]) == 1
    (key,) = values
    assert wheres(compare(before, after)) == [f"ranking.json.attributes.harmful.ranking[0].{key}"]


def test_what_is_missing_differs_and_what_was_added_is_listed(before, tmp_path):
    less = json.loads(json.dumps(RANKING))
    del less["attributes"]["harmful"]["ranking"][1], less["target"]
    more = write(write(tmp_path / "more", changed(new=1)), {"n": 1}, "run/validation.json")
    fewer = write(tmp_path / "fewer", less)
    assert wheres(compare(before, fewer)) == [
        "ranking.json.target",
        "ranking.json.attributes.harmful.ranking, entries",
    ]
    assert compare(before, more).added == [
        "ranking.json.attributes.harmful.ranking[0].new",
        "run/validation.json",
    ]
    assert main([str(before), str(more)]) == 0
    assert main([str(more), str(before)]) == 1


def test_tables_are_compared_by_row_and_column(tmp_path):
    table = "post,harmful,harmful_confidence\nrain again,no,0.75\n"
    before = write(tmp_path / "before", table, "labels.csv")
    same = write(tmp_path / "same", table.replace("0.75", "0.750"), "labels.csv")
    other = write(tmp_path / "other", table.replace("no,0.75", "yes,0.5"), "labels.csv")
    assert main([str(before), str(same)]) == 0
    found = compare(before, other)
    assert wheres(found) == ["labels.csv[0].harmful", "labels.csv[0].harmful_confidence"]
    assert [difference.size for difference in found.differences] == [float("inf"), 0.25]


def ledger(folder, values, keys=("a" * 64, "b" * 64)):
    folder.mkdir()
    columns = ("key", "attribute", "source", "strategy", "seed", "source_seed", "fold", "value")
    with sqlite3.connect(folder / "ledger.sqlite") as connection:
        connection.execute(f"CREATE TABLE runs ({', '.join(columns)}, metrics, confusion, remarks)")
        connection.executemany(
            "INSERT INTO runs VALUES (?, 'harmful', 'moods', 'lora', ?, 0, NULL, ?, ?, '[]', '[]')",
            [
                (key, seed, value, json.dumps({"accuracy": value}))
                for key, (seed, value) in zip(keys, enumerate(values), strict=True)
            ],
        )
    connection.close()
    return folder


def test_the_runs_of_ledgers_are_paired_by_what_they_trained(tmp_path):
    before = ledger(tmp_path / "before", (0.5, 0.75))
    same = ledger(tmp_path / "same", (0.5, 0.75), keys=("f" * 64, "0" * 64))
    other = ledger(tmp_path / "other", (0.5, 1.0))
    assert compare(before, same).differences == []
    assert wheres(compare(before, other)) == [
        "ledger.sqlite[1].value",
        "ledger.sqlite[1].metrics.accuracy",
    ]


def test_a_comparison_of_nothing_fails(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(tmp_path / "empty")]) == 1
    assert "no number was compared" in capsys.readouterr().err
    assert main([str(tmp_path / "empty"), str(tmp_path / "nowhere")]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err
