"""Tables in, the documented JSON out; unusable tables are refused with a clear message."""

import json

import numpy as np
import pandas as pd
import pytest

from esm.common.errors import RankingError, StorageError
from esm.metrics.evaluate import evaluate_rankings


def scores_of(rows):
    return pd.DataFrame(rows, columns=["target", "source", "score"])


def truth_of(rows, columns=("target", "source", "performance")):
    return pd.DataFrame(rows, columns=list(columns))


SCORES = scores_of([("t", "a", 3.0), ("t", "b", 2.0), ("u", "a", 1.0), ("u", "b", 5.0)])
TRUTH = truth_of([("t", "a", 0.4), ("t", "b", 0.8), ("u", "a", 0.3), ("u", "b", 0.6)])


def test_the_json_has_targets_mean_random_and_static():
    found = evaluate_rankings(SCORES, TRUTH, ks=[1]).as_dict()
    assert list(found)[:4] == ["targets", "mean", "random", "static"]
    assert list(found["targets"]["t"]) == [
        "regret@1",
        "regret_published@1",
        "ndcg",
        "ndcg_exp",
        "spearman",
        "kendall",
    ]
    assert found["targets"]["t"]["regret@1"] == pytest.approx(50)
    assert found["targets"]["u"]["regret@1"] == 0
    assert found["mean"]["regret@1"] == pytest.approx(25)
    assert found["standard_error"]["regret@1"] == pytest.approx(25)  # sd 35.36 over sqrt 2
    assert found["random"]["regret@1"] == pytest.approx(25)
    assert found["random"]["spearman"] == pytest.approx(0)
    assert found["static"]["regret@1"] == 0  # b is the better one on the other target, too
    json.dumps(found, allow_nan=False)


def test_seeds_are_averaged_before_anything_is_judged():
    truth = truth_of(
        [("t", "a", 0.9, 0), ("t", "a", 0.1, 1), ("t", "b", 0.6, 0), ("t", "b", 0.6, 1)],
        ("target", "source", "performance", "seed"),
    )
    found = evaluate_rankings(SCORES, truth, ks=[1]).targets["t"]
    assert found["regret@1"] == pytest.approx(100 * (0.6 - 0.5) / 0.6)


def test_static_and_standard_error_are_undefined_for_one_target():
    found = evaluate_rankings(SCORES, TRUTH[TRUTH["target"] == "t"], ks=[1])
    assert set(found.static.values()) == {None}
    assert set(found.standard_error.values()) == {None}


def test_none_rows_are_no_sources_and_are_counted():
    truth = pd.concat([TRUTH, truth_of([("t", "none", 0.95), ("u", "none", 0.1)])])
    found = evaluate_rankings(SCORES, truth, ks=[1])
    assert found.mean == evaluate_rankings(SCORES, TRUTH, ks=[1]).mean
    assert found.left_out.no_transfer == 2


def test_what_cannot_be_judged_is_named_and_the_rest_is():
    scores = pd.concat(
        [SCORES, scores_of([("t", "stranger", 9.0), ("v", "a", 1.0), ("w", "stranger", 1.0)])]
    )
    truth = pd.concat([TRUTH, truth_of([("w", "a", 0.5), ("x", "a", 0.5)])])
    found = evaluate_rankings(scores, truth, ks=[1])
    assert list(found.targets) == ["t", "u"]
    assert found.left_out.sources == {"t": 1}
    assert found.left_out.targets == {
        "v": "no results",
        "w": "none of its scored sources has a result",
        "x": "no scores",
    }


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_give_the_same_as_tables(tmp_path, suffix):
    paths = []
    for name, table in (("scores", SCORES), ("truth", TRUTH)):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        paths.append(path)
    assert evaluate_rankings(*paths).as_dict() == evaluate_rankings(SCORES, TRUTH).as_dict()


def test_a_source_called_na_is_a_source(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("target,source,performance\nt,NA,0.8\nt,null,0.4\n")
    scores = scores_of([("t", "NA", 1.0), ("t", "null", 2.0)])
    assert evaluate_rankings(scores, path, ks=[1]).targets["t"]["regret@1"] == pytest.approx(50)


def test_a_missing_column_is_named():
    with pytest.raises(RankingError, match=r"no column performance, only target, source, score"):
        evaluate_rankings(SCORES, SCORES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, "", "good"])
def test_a_number_that_is_none_is_refused_with_its_row(bad):
    truth = TRUTH.astype({"performance": object})
    truth.loc[2, "performance"] = bad
    message = r"1 rows whose performance is no finite number, the first in data row 3 \(u, a"
    with pytest.raises(RankingError, match=message):
        evaluate_rankings(SCORES, truth)


def test_a_row_that_occurs_twice_is_refused():
    with pytest.raises(RankingError, match=r"\(t, a\) occurs again in data row 5; .*seed column"):
        evaluate_rankings(SCORES, pd.concat([TRUTH, TRUTH[:1]]))
    with pytest.raises(RankingError, match=r"the table of scores .*\(t, a\) occurs again"):
        evaluate_rankings(pd.concat([SCORES, SCORES[:1]]), TRUTH)


def test_results_of_two_strategies_are_not_averaged():
    truth = TRUTH.assign(strategy=["full", "houlsby", "full", "full"])
    with pytest.raises(RankingError, match=r"results mixes strategy full, houlsby for t"):
        evaluate_rankings(SCORES, truth)


def test_a_row_without_an_id_is_refused():
    truth = TRUTH.astype({"source": object})
    truth.loc[1, "source"] = None
    with pytest.raises(RankingError, match=r"1 rows without source, the first in data row 2"):
        evaluate_rankings(SCORES, truth)


def test_tables_about_different_things_are_refused():
    other = TRUTH[:2].assign(target="elsewhere")
    with pytest.raises(RankingError, match=r"scores for t, u, results for elsewhere"):
        evaluate_rankings(SCORES, other)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(StorageError, match=r"no file .*absent\.csv"):
        evaluate_rankings(tmp_path / "absent.csv", TRUTH)
    empty = tmp_path / "empty.csv"
    empty.touch()
    with pytest.raises(RankingError, match=r"empty\.csv cannot be read as a table"):
        evaluate_rankings(empty, TRUTH)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("target,source,score\nt,žltá,1\n".encode("cp1250"))
    with pytest.raises(RankingError, match=r"expected a UTF-8 \.csv file"):
        evaluate_rankings(latin, TRUTH)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 nothing")
    with pytest.raises(RankingError, match=r"damaged\.parquet cannot be read"):
        evaluate_rankings(damaged, TRUTH)
    with pytest.raises(RankingError, match=r"ends in '\.xlsx'; expected \.csv or \.parquet"):
        evaluate_rankings(tmp_path / "table.xlsx", TRUTH)
