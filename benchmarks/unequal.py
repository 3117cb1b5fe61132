"""A target whose attributes have unequally many labels, of one that has as many for all.

    python -m benchmarks.unequal --data DATA --out FOLDER
    esm compare FOLDER --strategy features,full,multitask,multitask:square-root --seeds 2 \
        --max-length 128 --out RUN

Of the COVID-19 infodemic tweets, read as yes and no, 400 training rows keep their labels for two
questions, and 40 of these also for two others. Test rows are all that there are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from esm.common.storage import write_json

MANY, FEW = 400, 40
LABELLED = {
    "q1_factual_claim": MANY,
    "q7_government_attention": MANY,
    "q4_harmful_to_others": FEW,
    "q5_needs_checking": FEW,
}
_SEED = 0


def yes_or_no(rows: pd.DataFrame, attributes: dict[str, dict[str, dict[str, str]]]) -> pd.DataFrame:
    """Return texts and attributes in their binary reading."""
    columns = {"text": rows["text"]}
    for name in LABELLED:
        reading = attributes[name]["binary"]
        columns[name] = rows[name].map(lambda label, read=reading: read.get(label))
    return pd.DataFrame(columns)


def main() -> None:
    """Write the target."""
    parser = argparse.ArgumentParser(description="A target of unequally labelled attributes.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    origin = options.data / "targets" / "covid-infodemic-en"
    attributes = json.loads((origin / "target.json").read_text(encoding="utf-8"))["attributes"]
    train, test = (
        yes_or_no(pd.read_parquet(origin / f"{split}.parquet"), attributes)
        for split in ("train", "test")
    )
    rng = np.random.default_rng(_SEED)
    whole = rng.permutation(train[train.notna().all(axis=1)].index.to_numpy())
    partly = train.index.difference(pd.Index(whole)).to_numpy()
    few = whole[:FEW]
    others = rng.permutation(np.r_[whole[FEW:], partly])[: MANY - FEW]
    kept = train.loc[np.r_[few, others]].copy()
    for name, count in LABELLED.items():
        if count == FEW:
            kept.loc[~kept.index.isin(few), name] = None
    options.out.mkdir(parents=True, exist_ok=True)
    kept.to_parquet(options.out / "train.parquet", index=False)
    test.to_parquet(options.out / "test.parquet", index=False)
    described = {name: {"labels": ["no", "yes"], "metric": "macro_f1"} for name in LABELLED}
    write_json(
        options.out / "target.json",
        {"id": "infodemic-unequal", "language": "en", "attributes": described},
    )
    print(kept.notna().sum().to_string())


if __name__ == "__main__":
    main()
