"""The verdict: how much each selector's ranking saves, judged by the measured transfer matrix.

Reads ``benchmarks/results/truth.csv`` (every training run, :mod:`benchmarks.truth`) and
``scores.csv`` and ``selectors.csv`` (what every selector said, how long it took and what it keeps
per source, :mod:`benchmarks.scores`); no model is loaded::

    make bench-quality

Targets of one dataset share texts, so standard errors are clustered by dataset. ``static`` orders
sources by their mean performance on the targets of all other datasets, ``random`` is the exact
expectation over all orders. ``perfect`` is the limit that noise sets: the expected regret of
somebody who knows every source's true mean, judged by a truth that is as noisy as the measured one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fit_forecast import FORECASTS, gather, left_out
from benchmarks.matrix import (
    KS,
    RESULTS,
    clustered,
    complete,
    mean_truth,
    run_noise,
    source_spread,
)
from esm.metrics.rankings import NO_TRANSFER, measures, random_measures, static_scores

MEASURES = [
    *(f"regret@{k}" for k in KS),
    *(f"regret_published@{k}" for k in KS),
    "ndcg",
    "spearman",
]
_DRAWS = 2000
_SHORT = 10
_FAR = 1e6  # below every score

Truth = Mapping[str, Mapping[str, float]]


# Selectors to which every other is compared, target by target.
_OTHERS = ("static", "random", "published", "tuned-logme")


def perfect(runs: pd.DataFrame, draws: int = _DRAWS) -> dict[str, dict[str, float]]:
    """Return the expected regret@k, by target, of a selector that knows the true means.

    True means are drawn from their posterior (normal, shrunk to the target's mean by the measured
    reliability), truths by adding the noise of a mean over as many seeds as were run.
    """
    truth, noise, spread = mean_truth(runs), run_noise(runs), source_spread(runs)
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, float]] = {}
    for target, performance in truth.items():
        observed = np.array([v for s, v in performance.items() if s != NO_TRANSFER])
        cells = runs[(runs.target == target) & (runs.source != NO_TRANSFER)]
        error = noise[target] ** 2 / cells.groupby("source").seed.count().mean()
        prior = spread[target] ** 2
        weight = prior / (prior + error) if prior + error > 0 else 0.0
        centre = observed.mean() + weight * (observed - observed.mean())
        shape = (draws, len(observed))
        true = centre + np.sqrt(weight * error) * rng.standard_normal(shape)
        measured = true + np.sqrt(error) * rng.standard_normal(shape)
        order = np.argsort(-true, axis=1)
        ranked = np.take_along_axis(measured, order, axis=1)
        best = measured.max(axis=1)
        found[target] = {
            f"regret@{k}": float((100 * (best - ranked[:, :k].max(axis=1)) / best).mean())
            for k in KS
        }
    return found


def with_fused(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Add the scores of the fused forecast, each from a fit without the target's dataset."""
    cells = gather(runs, scores, FORECASTS["fused"])
    if len(np.unique(cells.datasets)) < 3:
        return scores
    rows = [
        {"target": target, "selector": "fused", "source": source, "score": score, "gain": score}
        for (target, source), score in zip(cells.keys, left_out(cells), strict=True)
    ]
    return pd.concat([scores, pd.DataFrame(rows)], ignore_index=True)


def with_cascade(scores: pd.DataFrame, costs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add a cascade: maps choose ten sources, LogME on the truly tuned models orders these.

    The others follow in the maps' order. It takes the maps' time and ten tuned models' share of
    the time of all; both have to be kept.
    """
    cheap, dear = (scores[scores.selector == name] for name in ("logme", "tuned-logme"))
    both = cheap.merge(dear, on=["target", "source"], suffixes=("", " tuned"))
    place = both.groupby("target").score.rank(ascending=False, method="first")
    behind = -both.groupby("target").score.rank(ascending=False) - _FAR
    both["score"] = both["score tuned"].where(place <= _SHORT, behind)
    added = both[["target", "source", "score"]].assign(selector="cascade", gain=both.score)
    share = _SHORT / both.groupby("target").source.count().mean()
    kept = costs[costs.selector == "logme"].assign(selector="cascade")
    tuned = costs[costs.selector == "tuned-logme"].set_index("target")
    kept["seconds"] += share * kept.target.map(tuned.seconds)
    kept["bytes"] += kept.target.map(tuned.bytes)
    return pd.concat([scores, added]), pd.concat([costs, kept])


def judge(truth: Truth, scores: pd.DataFrame) -> pd.DataFrame:
    """Return every measure of every selector on every target, ``random`` and ``static`` too.

    A selector is judged on all sources of a target that any selector could score; those that it
    cannot score itself count as never picked.
    """
    rows: list[dict[str, object]] = []
    for target, performance in truth.items():
        said = scores[scores.target == target]
        known = set(said.source)
        sources = {s: v for s, v in performance.items() if s in known}
        by_selector: dict[str, dict[str, float]] = {
            str(name): dict(zip(part.source, part.score, strict=True))
            for name, part in said.groupby("selector")
        }
        by_selector["static"] = static_scores(truth, target)
        for name, given in by_selector.items():
            usable = {s: float(v) for s, v in given.items() if s in sources and np.isfinite(v)}
            if usable:
                found = measures(usable, sources, KS, target=target)
                rows.append({"target": target, "selector": name, **found})
        rows.append(
            {"target": target, "selector": "random", **random_measures(sources, KS, target=target)}
        )
    return pd.DataFrame(rows)


def verdict(runs: pd.DataFrame, scores: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per selector: means, errors, differences to static and random, costs."""
    judged = judge(mean_truth(runs), scores)
    limit = perfect(runs)
    tables = {str(name): part.set_index("target") for name, part in judged.groupby("selector")}
    rows = []
    for name, part in tables.items():
        row: dict[str, object] = {"selector": name, "targets": len(part)}
        for measure in MEASURES:
            values = part[measure].dropna().astype(float)
            estimate = clustered({str(t): v for t, v in values.items()})
            row[measure], row[f"{measure} se"] = estimate.mean, estimate.error
        for other in _OTHERS:
            for k in KS if other in tables else ():
                difference = (part[f"regret@{k}"] - tables[other][f"regret@{k}"]).dropna()
                paired = clustered({str(t): float(v) for t, v in difference.items()})
                row[f"@{k} - {other}"], row[f"@{k} - {other} se"] = paired.mean, paired.error
        mine = costs[costs.selector == name]
        row["seconds"] = float(mine.seconds.mean()) if len(mine) else float("nan")
        row["bytes"] = float(mine.bytes.mean()) if len(mine) else float("nan")
        rows.append(row)
    ideal: dict[str, object] = {"selector": "perfect", "targets": len(limit)}
    for k in KS:
        estimate = clustered({target: by_k[f"regret@{k}"] for target, by_k in limit.items()})
        ideal[f"regret@{k}"], ideal[f"regret@{k} se"] = estimate.mean, estimate.error
    rows.append(ideal)
    order = ["regret@3", "regret@1", "selector"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def render(table: pd.DataFrame) -> str:
    """Return the verdict as a Markdown table."""
    header = (
        "| selector | targets | regret@1 | @3 | @5 | NDCG | Spearman | @3 - static | @3 - random"
        " | @3 - tuned-logme | s / target | bytes / source |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    lines = [header]
    for _, row in table.iterrows():
        cells = [str(row.selector), str(row.targets)]
        cells += [_with_error(row, name, 2) for name in ("regret@1", "regret@3", "regret@5")]
        cells += [_with_error(row, "ndcg", 4), _with_error(row, "spearman", 2)]
        cells += [_with_error(row, "@3 - static", 2), _with_error(row, "@3 - random", 2)]
        cells += [_with_error(row, "@3 - tuned-logme", 2)]
        cells += [_number(row, "seconds", 2), _number(row, "bytes", 0)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def render_default(table: pd.DataFrame, name: str = "logme") -> str:
    """Return the default's differences of regret to the others, paired over targets."""
    (row,) = (row for _, row in table.iterrows() if row.selector == name)
    lines = [f"| {name} less | @1 | @3 | @5 |", "|---|---|---|---|"]
    for other in _OTHERS:
        cells = [_with_error(row, f"@{k} - {other}", 2) for k in KS]
        if any(cells):
            lines.append("| " + " | ".join([other, *cells]) + " |")
    return "\n".join(lines)


def _with_error(row: pd.Series[Any], name: str, digits: int) -> str:
    value, error = float(row.get(name, np.nan)), float(row.get(f"{name} se", np.nan))
    if np.isnan(value):
        return ""
    return f"{value:.{digits}f}" + ("" if np.isnan(error) else f" ± {error:.{digits}f}")


def _number(row: pd.Series[Any], name: str, digits: int) -> str:
    value = float(row.get(name, np.nan))
    return "" if np.isnan(value) else f"{value:,.{digits}f}"


def variants_table(runs: pd.DataFrame, results: Path) -> str:
    """Return the variants of a map as a Markdown table: R² on target texts, regret, Spearman."""
    scores = pd.read_csv(results / "map_variants.csv").rename(columns={"variant": "selector"})
    quality = pd.read_csv(results / "map_variants_r2.csv").groupby("variant").r2.mean()
    truth = {t: p for t, p in mean_truth(runs).items() if t in set(scores.target)}
    judged = judge(truth, scores)
    lines = ["| map | R² | regret@1 | @3 | @5 | Spearman |", "|---|---|---|---|---|---|"]
    for name in dict.fromkeys(scores.selector):
        part = judged[judged.selector == name].set_index("target")
        cells = [str(name), f"{quality[name]:.2f}"]
        for measure in ("regret@1", "regret@3", "regret@5", "spearman"):
            values = part[measure].dropna().astype(float)
            found = clustered({str(t): v for t, v in values.items()})
            cells.append(f"{found.mean:.2f} ± {found.error:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def noise_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return by target: no transfer, best and worst source, spread between sources, noise."""
    truth, noise, spread = mean_truth(runs), run_noise(runs), source_spread(runs)
    rows = []
    for target, performance in truth.items():
        values = [value for source, value in performance.items() if source != NO_TRANSFER]
        rows.append(
            {
                "target": target,
                "sources": len(values),
                "none": 100 * performance.get(NO_TRANSFER, float("nan")),
                "worst": 100 * min(values),
                "best": 100 * max(values),
                "spread": 100 * spread[target],
                "noise": 100 * noise[target],
            }
        )
    return pd.DataFrame(rows)


def picture(tables: Mapping[str, pd.DataFrame], path: Path) -> None:
    """Draw mean regret@3 of every selector, one panel per strategy."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(tables), figsize=(5 * len(tables), 5), squeeze=False)
    for axes, (strategy, table) in zip(panels[0], tables.items(), strict=True):
        shown = table[table.selector != "perfect"].iloc[::-1]
        limit = table.loc[table.selector == "perfect", "regret@3"].iloc[0]
        axes.errorbar(
            shown["regret@3"], shown.selector, xerr=shown["regret@3 se"], fmt="o", capsize=3
        )
        axes.axvline(limit, linestyle="--", color="grey", label="perfect selector")
        axes.set_title(strategy)
        axes.set_xlabel("mean regret@3, % (± clustered s.e.)")
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, and write them and the picture beside the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    runs = complete(pd.read_csv(options.results / "truth.csv"))
    scores = pd.read_csv(options.results / "scores.csv")
    costs = pd.read_csv(options.results / "selectors.csv")
    scores, costs = with_cascade(scores, costs)
    tables: dict[str, pd.DataFrame] = {}
    written = []
    for strategy, part in runs.groupby("strategy"):
        tables[str(strategy)] = verdict(part, with_fused(part, scores), costs)
        summary = noise_table(part).round(1).to_markdown(index=False)
        written.append(
            f"## {strategy}\n\n{render(tables[str(strategy)])}\n\n"
            f"{render_default(tables[str(strategy)])}\n\nThe truth, points: `spread` is"
            " the standard deviation of the sources' true means, `noise` that between two seeds"
            f" of one cell.\n\n{summary}\n"
        )
        if (options.results / "map_variants.csv").is_file():
            found = variants_table(part, options.results)
            written.append(f"Maps of other kinds, all scored by balanced LogME:\n\n{found}\n")
    text = "\n".join(written)
    print(text)
    (options.results / "verdict.md").write_text(text, encoding="utf-8")
    picture(tables, options.results / "verdict.svg")


if __name__ == "__main__":
    main()
