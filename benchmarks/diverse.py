"""Does a diverse set hold a better source than the plain top k? Judged by the measured truth.

    python -m benchmarks.diverse --work WORK      # chooses the sets: embeds targets, trains nothing
    python -m benchmarks.diverse                  # judges the stored sets only

For every target of the transfer matrix, the sources that were measured with a strategy are ranked
by the default scorer, and k of them are chosen by :mod:`esm.ranking.diverse` and from the top. A
set's regret@k is by how many percent its best member falls short of the best source. Two pools are
looked at: the one that was measured, and the same with every source in it twice (``doubled``), as
public pools hold several maps of one dataset; a copy really gives what its original gives. The
second is a construction: it says what diversity is worth where sources repeat themselves.

Writes the alignments (``diverse_alignment.csv``), the regrets (``diverse.csv``) and their means
(``diverse.md``) into ``benchmarks/results/``. Standard errors are clustered by dataset.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.matrix import RESULTS, clustered, complete, mean_truth
from benchmarks.truth import PLAN, Lab
from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.maps.forms import MapForm
from esm.metrics.rankings import NO_TRANSFER
from esm.pool.base_model import load_base
from esm.pool.pool import Pool
from esm.ranking.diverse import RELIABILITY, ROWS, choose, kernel_alignment
from esm.ranking.result import Balance, RankConfig
from esm.ranking.target import TargetTexts
from esm.scorers.base import Evidence, Source
from esm.tasks.load import load_targets

KS = (3, 5)
RELIABILITIES = (0.3, RELIABILITY, 0.7)
_SELECTOR = "logme"
_ALIGNMENTS = "diverse_alignment.csv"

Array = npt.NDArray[np.float64]


def write_alignments(lab: Lab, targets: Sequence[str], results: Path) -> None:
    """Write the alignment of every two sources on every target's texts."""
    pool = Pool.open(lab.pool_folder)
    encoder, (entries, _) = load_base(pool, "cpu"), pool.entries()
    config = RankConfig(form=MapForm.ANCHORED)
    rows: list[dict[str, object]] = []
    for target in targets:
        folds = load_targets(lab.target_spec(target))
        texts = TargetTexts(folds, config, encoder, EmbeddingCache.default(), pool.lift)
        (name,) = folds[0].attributes
        ((attribute),) = texts.attribute(name, Balance.AUTO)
        some = np.unique(np.linspace(0, len(attribute) - 1, ROWS).round().astype(np.int64))
        mapped = [
            Evidence(attribute, Source(entry, MapForm.ANCHORED, texts.tuned)).embeddings()[some]
            for entry in entries
        ]
        found = kernel_alignment(mapped)
        rows += [
            {
                "target": target,
                "source": entries[i].id,
                "other": entries[j].id,
                "alignment": round(float(found[i, j]), 5),
            }
            for i in range(len(entries))
            for j in range(i)
        ]
        print(target, flush=True)
    pd.DataFrame(rows).to_csv(results / _ALIGNMENTS, index=False, lineterminator="\n")


def regret(values: Array, picks: Sequence[int]) -> float:
    """Return by how many percent the best of the picks falls short of the best of all."""
    return float(100 * (values.max() - values[list(picks)].max()) / values.max())


def judge(
    truth: Mapping[str, Mapping[str, float]], scores: pd.DataFrame, alignments: pd.DataFrame
) -> pd.DataFrame:
    """Return regrets of the plain top k and of diverse sets, by target, pool and reliability."""
    rows = []
    for target, performance in truth.items():
        said = scores[(scores.target == target) & (scores.selector == _SELECTOR)]
        said = said[said.source.isin(set(performance) - {NO_TRANSFER})]
        said = said.sort_values(["score", "source"], ascending=[False, True])
        names = [str(name) for name in said.source]
        values = np.array([performance[name] for name in names])
        given, alignment = said.score.to_numpy(float), _matrix(alignments, target, names)
        for pool in ("measured", "doubled"):
            if pool == "doubled":
                values, given = np.repeat(values, 2), np.repeat(given, 2)
                alignment = np.repeat(np.repeat(alignment, 2, axis=0), 2, axis=1)
            for reliability in RELIABILITIES:
                picks = choose(given, alignment, max(KS), reliability=reliability).numbers
                for k in KS:
                    plain = regret(values, range(k))
                    rows.append(
                        {
                            "target": target,
                            "pool": pool,
                            "sources": len(values),
                            "reliability": reliability,
                            "k": k,
                            "top": round(plain, 4),
                            "diverse": round(regret(values, picks[:k]), 4),
                            "exchanged": len(set(picks[:k]) - set(range(k))),
                        }
                    )
    return pd.DataFrame(rows)


def _matrix(alignments: pd.DataFrame, target: str, names: Sequence[str]) -> Array:
    place = {name: number for number, name in enumerate(names)}
    found = np.eye(len(names))
    here = alignments[alignments.target == target]
    for source, other, value in zip(here.source, here.other, here.alignment, strict=True):
        if source in place and other in place:
            i, j = place[source], place[other]
            found[i, j] = found[j, i] = value
    return found


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """Return mean regrets and the paired difference with its clustered standard error."""
    rows = []
    for keys, part in judged.groupby(["strategy", "pool", "k", "reliability"]):
        by_target = part.set_index("target")
        difference = by_target.diverse - by_target.top
        found = clustered({str(t): float(v) for t, v in difference.items()})
        rows.append(
            {
                **dict(zip(("strategy", "pool", "k", "reliability"), keys, strict=True)),
                "targets": len(part),
                "top k": f"{part.top.mean():.2f}",
                "diverse": f"{part.diverse.mean():.2f}",
                "difference": f"{found.mean:+.2f} ± {found.error:.2f}",
                "exchanged": f"{part.exchanged.mean():.1f}",
            }
        )
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose the sets, judge them, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=None, help="folder of benchmarks.truth")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    show_progress(False)
    if options.work is not None:
        lab = Lab(tomllib.loads(PLAN.read_text(encoding="utf-8")), Path(), options.work)
        write_alignments(lab, lab.plan["targets"]["all"], options.results)
    runs = complete(pd.read_csv(options.results / "truth.csv"))
    scores = pd.read_csv(options.results / "scores.csv")
    alignments = pd.read_csv(options.results / _ALIGNMENTS)
    judged = pd.concat(
        [
            judge(mean_truth(part), scores, alignments).assign(strategy=strategy)
            for strategy, part in runs.groupby("strategy")
        ],
        ignore_index=True,
    )
    judged.to_csv(options.results / "diverse.csv", index=False, lineterminator="\n")
    text = (
        "Regret of a set, %: by how much its best member falls short of the best source."
        " `exchanged` are picks outside the plain top k; `doubled` is the measured pool"
        f" with every source in it twice. The default reliability is {RELIABILITY}."
        " Made by `python -m benchmarks.diverse`."
        f"\n\n{summary(judged).to_markdown(index=False)}\n"
    )
    print(text)
    (options.results / "diverse.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
