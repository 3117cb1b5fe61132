"""Evaluate rankings of any origin against any results table, beside random and static orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.errors import RankingError, StorageError
from esm.metrics.rankings import (
    DEFAULT_KS,
    NO_TRANSFER,
    Measures,
    measures,
    random_measures,
    sources_of,
    static_scores,
)

if TYPE_CHECKING:
    import pandas as pd


Table = dict[str, dict[str, float]]
"""Numbers by target id and source id."""

_KEYS = ("target", "source")
_SEEDS = ("seed", "source_seed", "fold")
_ONE_PER_TARGET = ("strategy", "metric", "config_hash")


@dataclass(frozen=True)
class LeftOut:
    """What an evaluation could not use.

    Attributes:
        targets: Targets that were not judged, with the reason.
        sources: Number of scored sources without performance, by judged target.
        no_transfer: Number of ``none`` rows, which are not sources.
    """

    targets: Mapping[str, str]
    sources: Mapping[str, int]
    no_transfer: int


@dataclass(frozen=True)
class Evaluation:
    """Every measure per target and averaged over targets; see ``measures``.

    Attributes:
        targets: Measures of the ranking, by target.
        mean: Their means over the targets where they are defined.
        standard_error: Standard errors of those means over targets; None for fewer than two.
        random: Mean of the exact expectation of a random order, over the same targets.
        static: Mean of the target-blind order by average performance on the other targets.
        left_out: What was not judged.
    """

    targets: Mapping[str, Measures]
    mean: Measures
    standard_error: Measures
    random: Measures
    static: Measures
    left_out: LeftOut

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; undefined values are None."""
        return {
            "targets": {target: dict(judged) for target, judged in self.targets.items()},
            "mean": dict(self.mean),
            "random": dict(self.random),
            "static": dict(self.static),
            "standard_error": dict(self.standard_error),
            "left_out": {
                "targets": dict(self.left_out.targets),
                "sources": dict(self.left_out.sources),
                "no_transfer": self.left_out.no_transfer,
            },
        }


def evaluate_rankings(
    scores: pd.DataFrame | Path, truth: pd.DataFrame | Path, ks: Iterable[int] = DEFAULT_KS
) -> Evaluation:
    """Judge rankings of one or more targets by a table of results.

    A target is judged when at least one of its scored sources has a performance, so that the
    ranking, random and static are averaged over the same targets. The other targets of the
    results still serve the static order.

    Args:
        scores: Columns ``target, source, score``, or a .csv or .parquet file with them.
        truth: Columns ``target, source, performance`` and optionally ``seed, source_seed, fold``,
            over which performance is averaged first; or a file. Further columns are ignored, but
            a target's rows must agree in ``strategy``, ``metric`` and ``config_hash``.
        ks: The cut-offs of regret.

    Raises:
        RankingError: A column is missing, a number is missing or not finite, a row occurs twice,
            a target's results mix strategies, or no target is in both tables.
        StorageError: A file cannot be read.
    """
    scored, without_scores = read_scores(scores)
    measured, without_truth = read_truth(truth)
    judged = {target: scored[target] for target in sorted(scored) if target in measured}
    usable = {
        target: ranked
        for target, ranked in judged.items()
        if ranked.keys() & set(sources_of(measured[target], target))
    }
    if not usable:
        raise RankingError(
            f"no target can be judged: scores for {_some(scored)}, results for {_some(measured)}",
            expected="the same target and source ids in both tables",
            hint="an attribute of a target is named target/attribute",
        )
    cutoffs = tuple(ks)
    per_target = {
        target: measures(ranked, measured[target], cutoffs, target=target)
        for target, ranked in usable.items()
    }
    mean, standard_error = _summarise(per_target.values())
    by_chance = [random_measures(measured[target], cutoffs, target=target) for target in usable]
    blind = [
        measures(static_scores(measured, target), measured[target], cutoffs, target=target)
        for target in usable
    ]
    return Evaluation(
        targets=per_target,
        mean=mean,
        standard_error=standard_error,
        random=_summarise(by_chance)[0],
        static=_summarise(blind)[0],
        left_out=_left_out(scored, measured, usable, without_scores + without_truth),
    )


def read_scores(table: pd.DataFrame | Path) -> tuple[Table, int]:
    """Return scores by target and source, and the number of ``none`` rows left out."""
    frame, no_transfer = _clean(table, "the table of scores", "score", keys=[])
    return _nested(frame, "score"), no_transfer


def read_truth(table: pd.DataFrame | Path) -> tuple[Table, int]:
    """Return performance by target and source, averaged over seeds, and the ``none`` rows."""
    frame, no_transfer = _clean(table, "the table of results", "performance", keys=_SEEDS)
    averaged = frame.groupby(list(_KEYS))["performance"].mean().reset_index()
    return _nested(averaged, "performance"), no_transfer


# ------------------------------------------------------------------------------------- tables


def _clean(
    table: pd.DataFrame | Path, what: str, value: str, keys: Iterable[str]
) -> tuple[pd.DataFrame, int]:
    """Return the checked rows that are about sources, and how many were not."""
    if isinstance(table, Path):
        what = str(table)
    frame = _read(table) if isinstance(table, Path) else table.copy()
    needed = (*_KEYS, value)
    if missing := [column for column in needed if column not in frame.columns]:
        raise RankingError(
            f"{what} has no column {', '.join(missing)}, only {', '.join(map(str, frame.columns))}",
            expected=f"columns {', '.join(needed)}",
            hint="rename the columns",
        )
    frame = frame.reset_index(drop=True)
    _check_names(frame, what)
    _convert_numbers(frame, what, value)
    for column in _ONE_PER_TARGET:
        if column in frame.columns:
            _check_one_per_target(frame, what, column)
    _check_unique(frame, what, [*_KEYS, *(key for key in keys if key in frame.columns)])
    is_source = frame["source"] != NO_TRANSFER
    return frame[is_source], int((~is_source).sum())


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix not in {".csv", ".parquet"}:
        raise RankingError(f"{path} ends in {path.suffix!r}", expected=".csv or .parquet")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # Everything as text: pandas would read a source called "None" or "NA" as missing.
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise StorageError(f"no file {path}", expected="a table") from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # pandas' parser, pyarrow and the decoder all raise kinds of it
        raise RankingError(
            f"{path} cannot be read as a table ({str(error).splitlines()[0][:120]})",
            expected=f"a UTF-8 {path.suffix} file with a header",
        ) from error


def _check_names(frame: pd.DataFrame, what: str) -> None:
    for column in _KEYS:
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise RankingError(
                f"{what} has {int(empty.sum())} rows without {column},"
                f" the first in data row {_first(empty)}",
                expected=f"a {column} id in every row",
            )
        frame[column] = frame[column].astype(str)


def _convert_numbers(frame: pd.DataFrame, what: str, value: str) -> None:
    import pandas as pd

    numbers = pd.to_numeric(frame[value], errors="coerce").astype("float64")
    bad = ~pd.Series(np.isfinite(numbers.to_numpy()), index=frame.index)
    if bad.any():
        row = frame.loc[bad].iloc[0]
        raise RankingError(
            f"{what} has {int(bad.sum())} rows whose {value} is no finite number, the first in"
            f" data row {_first(bad)} ({row['target']}, {row['source']}: {str(row[value])!r})",
            expected=f"a finite {value} in every row",
            hint="leave the row out",
        )
    frame[value] = numbers


def _check_unique(frame: pd.DataFrame, what: str, keys: list[str]) -> None:
    again = frame.duplicated(subset=keys)
    if again.any():
        row = frame.loc[again].iloc[0]
        name = ", ".join(str(row[key]) for key in keys)
        raise RankingError(
            f"{what} has {int(again.sum())} rows too many: ({name}) occurs again in data row"
            f" {_first(again)}",
            expected=f"one row per {', '.join(keys)}",
            hint="add a seed column, or keep one strategy and configuration",
        )


def _check_one_per_target(frame: pd.DataFrame, what: str, column: str) -> None:
    values = frame.groupby("target")[column].unique()
    for target, found in values.items():
        if len(found) > 1:
            raise RankingError(
                f"{what} mixes {column} {', '.join(map(str, found[:3]))} for {target}",
                expected=f"one {column} per target",
                hint=f"keep the rows of one {column}",
            )


def _first(rows: pd.Series[bool]) -> int:
    """Return the number, from 1, of the first row that is marked."""
    return int(np.argmax(rows.to_numpy())) + 1


def _nested(frame: pd.DataFrame, value: str) -> Table:
    nested: Table = {}
    for target, source, number in zip(frame["target"], frame["source"], frame[value], strict=True):
        nested.setdefault(target, {})[source] = float(number)
    return nested


# ----------------------------------------------------------------------------------- averages


def _summarise(judged: Iterable[Measures]) -> tuple[Measures, Measures]:
    """Return mean and standard error of every measure over the targets that define it."""
    values: dict[str, list[float]] = {}
    for one in judged:
        for name, value in one.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    mean: Measures = {}
    standard_error: Measures = {}
    for name, known in values.items():
        n = len(known)
        mean[name] = float(np.mean(known)) if n else None
        standard_error[name] = float(np.std(known, ddof=1) / np.sqrt(n)) if n > 1 else None
    return mean, standard_error


def _left_out(scored: Table, measured: Table, usable: Table, no_transfer: int) -> LeftOut:
    reasons = dict.fromkeys(scored, "none of its scored sources has a result")
    reasons |= dict.fromkeys(scored.keys() - measured.keys(), "no results")
    reasons |= dict.fromkeys(measured.keys() - scored.keys(), "no scores")
    without_result = {
        target: len(ranked.keys() - measured[target].keys()) for target, ranked in usable.items()
    }
    return LeftOut(
        targets={target: reasons[target] for target in sorted(reasons.keys() - usable.keys())},
        sources={target: count for target, count in without_result.items() if count},
        no_transfer=no_transfer,
    )


def _some(table: Table) -> str:
    names = sorted(table)
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}" or "no target"
