"""Which dataset to fine-tune on first: train Embedding Space Maps, rank, validate.

The names below are imported when they are first used, so that ``import esm`` is quick.

Importing it switches off the usage reports of the Hugging Face libraries, for the command line and
for programs alike, unless they were imported before or the variables are set otherwise.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.1.0"
# The launcher esm_transfer.py knows this package by the next line; others are called esm too.
__distribution__ = "esm-transfer"

# Read by huggingface_hub (and by transformers through it), and by datasets, when they are imported.
for _variable, _value in (("HF_HUB_DISABLE_TELEMETRY", "1"), ("HF_UPDATE_DOWNLOAD_COUNTS", "0")):
    os.environ.setdefault(_variable, _value)

_HOME = {
    "TaskSpec": "esm.tasks.spec",
    "propose": "esm.tasks.propose",
    "read_spec": "esm.tasks.specfile",
    "inspect_target": "esm.tasks.inspect",
    "load_target": "esm.tasks.read",
    "load_targets": "esm.tasks.read",
    "load_task": "esm.tasks.read",
    "EncoderConfig": "esm.settings",
    "FineTuneConfig": "esm.settings",
    "TransferConfig": "esm.settings",
    "Encoder": "esm.encoder",
    "MapForm": "esm.maps",
    "Pool": "esm.pool",
    "TrainConfig": "esm.entry",
    "train_pool": "esm.build",
    "RankConfig": "esm.ranking",
    "Ranking": "esm.ranking",
    "rank_sources": "esm.rank",
    "aggregate_rankings": "esm.aggregate",
    "evaluate_rankings": "esm.evaluate",
    "Ledger": "esm.ledger",
    "ValidationConfig": "esm.arms",
    "Validation": "esm.outcome",
    "validate_ranking": "esm.validate",
    "ComparisonConfig": "esm.comparison.config",
    "Comparison": "esm.comparison.result",
    "open_comparison": "esm.comparison.opening",
    "compare_strategies": "esm.comparison.run",
    "predict_file": "esm.predict",
    "Predictions": "esm.predictions",
    "export_run": "esm.export",
    "EsmError": "esm.errors",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'esm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
