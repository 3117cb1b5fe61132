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
    "propose": "esm.tasks.guess.propose",
    "read_spec": "esm.tasks.specfile",
    "inspect_target": "esm.tasks.faults.inspect",
    "load_target": "esm.tasks.load",
    "load_targets": "esm.tasks.load",
    "load_task": "esm.tasks.load",
    "EncoderConfig": "esm.encoder.settings",
    "FineTuneConfig": "esm.training.settings",
    "TransferConfig": "esm.strategies.settings",
    "Encoder": "esm.encoder.encoder",
    "MapForm": "esm.maps.forms",
    "Pool": "esm.pool.pool",
    "TrainConfig": "esm.pool.entry",
    "train_pool": "esm.pool.build",
    "logme": "esm.scorers.logme",
    "RankConfig": "esm.ranking.result",
    "Ranking": "esm.ranking.result",
    "rank_sources": "esm.ranking.rank",
    "aggregate_rankings": "esm.ranking.aggregate",
    "evaluate_rankings": "esm.metrics.evaluate",
    "Ledger": "esm.trials.ledger",
    "ValidationConfig": "esm.trials.settings",
    "Validation": "esm.trials.results",
    "validate_ranking": "esm.trials.run",
    "ComparisonConfig": "esm.trials.settings",
    "Comparison": "esm.trials.results",
    "open_comparison": "esm.trials.open",
    "compare_strategies": "esm.trials.run",
    "predict_file": "esm.inference.predict",
    "Predictions": "esm.inference.predictions",
    "export_run": "esm.inference.export",
    "EsmError": "esm.common.errors",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'esm' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
