"""How well maps predict the tuned models on a target's texts, where rankings use them.

Tuned encoders are taken from a validation's folder (``esm validate --keep-models``) or made anew::

    .venv/bin/python -m benchmarks.target_r2 ranking.json run --sources sst2,subj
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from esm.common.runtime import show_progress
from esm.encoder.cache import EmbeddingCache
from esm.maps.fit.ridge import r_squared
from esm.pool.base_model import load_base
from esm.pool.pool import Pool
from esm.ranking.result import Ranking
from esm.tasks.load import load_target
from esm.tasks.splits.draw import sample_together
from esm.trials.encoders import MODELS_NAME, TunedModels
from esm.trials.plan import plan_validation
from esm.trials.settings import ValidationConfig


def main() -> None:
    """Print R² of every map form on the target's texts, source by source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ranking", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sources", default="", help="by commas; default: the first attribute's")
    parser.add_argument("--texts", type=int, default=500)
    options = parser.parse_args()
    show_progress(True)

    ranking = Ranking.load(options.ranking)
    pool = Pool.open(Path(ranking.pool))
    target = load_target(ranking.target_spec)
    attribute = next(iter(ranking.attributes))
    everything = ValidationConfig(attributes=(attribute,), top=10_000, controls=(), seeds=1)
    keys = {
        run.source: run.key for run in plan_validation(ranking, pool, [target], everything).trials
    }
    sources = options.sources.split(",") if options.sources else list(keys)

    rows = sample_together(target, options.texts, ranking.config.seed)[attribute]
    encoder = load_base(pool)
    base = EmbeddingCache(None).embed(encoder, rows.texts, rows.pairs, wide=True)
    assert base.wide is not None
    lifted = pool.lift().transform(base.wide)
    models = TunedModels(pool, encoder, options.run / MODELS_NAME)

    print(f"R² on {len(rows)} training texts of {ranking.target}")
    print(f"{'source':24} {'base as is':>10} {'published':>10} {'anchored':>10}")
    table = []
    for source in sources:
        tuned = models.encoder(keys[source]).embed(rows.texts, rows.pairs).last
        entry = pool.entry(source)
        forms = ("published", "anchored")
        fits = [
            r_squared(tuned, entry.load_map(form).apply(base.last, lifted))
            for form in sorted(entry.record.maps, key=forms.index)
        ]
        table.append([r_squared(tuned, base.last), *fits])
        print(f"{source:24} " + " ".join(f"{value:10.3f}" for value in table[-1]), flush=True)
    print(f"{'mean':24} " + " ".join(f"{value:10.3f}" for value in np.mean(table, axis=0)))


if __name__ == "__main__":
    main()
