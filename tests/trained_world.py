"""Folders of finished validations with trained models, made without a pool and a ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esm.encoder.encoder import Encoder
from esm.strategies.protocol import TransferModel
from esm.strategies.registry import single_strategy, strategy
from esm.strategies.settings import TransferConfig
from esm.strategies.single import SeparateModels
from esm.tasks.task import Task
from esm.trials.encoders import MODELS_NAME, model_folder
from esm.trials.ledger import RunKey
from esm.trials.lines import ArmResult
from esm.trials.models import ModelStore, TrainedModel
from esm.trials.results import AttributeResult, Validation
from esm.trials.settings import Arm
from esm.trials.trial import Trial

CHEAP = TransferConfig(
    num_epochs=1,
    batch_size=16,
    adapter_size=4,
    learning_rate=1e-2,
    own={"dapt.epochs": 1, "prompt.tokens": 4, "lora.rank": 2},
)


@dataclass(frozen=True)
class TrainedRun:
    """The folder of a validation, and its models as they were when they had been trained."""

    folder: Path
    models: dict[str, list[TransferModel]]


def make_run(
    folder: Path,
    encoder: Encoder,
    tasks: dict[str, Task],
    *,
    name: str = "features",
    seeds: int = 2,
    source: str = "none",
    text_columns: Sequence[str] = ("text",),
    licence: str = "",
    source_licence: str | None = None,
) -> TrainedRun:
    """Train on each task, by attribute name, and store models and result in a folder."""
    store = ModelStore(folder)
    models: dict[str, list[TransferModel]] = {}
    keys: list[RunKey] = []
    for attribute, task in tasks.items():
        metadata = dataclasses.replace(task.metadata, license=licence)
        known = dataclasses.replace(task, text_columns=tuple(text_columns), metadata=metadata)
        models[attribute] = []
        for seed in range(seeds):
            key = a_key(attribute, encoder, name=name, seed=seed, source=source)
            if source != "none":
                encoder.save(model_folder(folder / MODELS_NAME, key))
            fitted = single_strategy(name).fit_task(encoder, known, known.train, CHEAP, seed).model
            trial = Trial((key,))
            trained = TrainedModel.of(
                trial,
                {attribute: known},
                SeparateModels({attribute: fitted}),
                encoder,
                encoder.config,
                sizes={attribute: len(task.train)},
                sample_seed=0,
                source_licence=source_licence,
            )
            store.keep(trial, trained)
            models[attribute].append(fitted)
            keys.append(key)
    a_validation(folder, tasks, keys, name=name, seeds=seeds, source=source).save(folder)
    return TrainedRun(folder, models)


def a_key(attribute, encoder, *, name="features", seed=0, source="none") -> RunKey:
    tuned = source != "none"
    return RunKey(
        target="posts",
        attribute=attribute,
        target_hash="t",
        base=encoder.identity.content_hash(),
        source=source,
        source_hash="s" if tuned else None,
        source_seed=0 if tuned else None,
        strategy=name,
        transfer=strategy(name).settings(CHEAP),
        max_train=None,
        seed=seed,
    )


def a_validation(folder, tasks, keys, *, name, seeds, source) -> Validation:
    return Validation(
        target="posts",
        pool=str(folder / "no-pool"),
        base_model="offline",
        strategy=name,
        settings={},
        seeds=seeds,
        source_seeds=1,
        max_train=None,
        standard_error="over seeds",
        planned=len(keys),
        finished=len(keys),
        failures=(),
        skipped=(),
        attributes={
            attribute: AttributeResult(
                metric=task.metric,
                num_train=len(task.train),
                num_test=len(task.test),
                arms=(an_arm(source, seeds),),
                measured=(),
                regret={},
            )
            for attribute, task in tasks.items()
        },
        winners=dict.fromkeys(tasks, source),
        seconds=1.0,
        source_seconds=0.0,
        keys=tuple(key.content_hash() for key in keys),
    )


def an_arm(source, runs) -> ArmResult:
    return ArmResult(
        arm=Arm.NONE if source == "none" else Arm.PICK,
        source=source,
        rank=None,
        predicted_gain=None,
        runs=runs,
        mean=0.8125,
        standard_error=0.01,
        gain=None,
        gain_standard_error=None,
        metrics={},
        trained_share=0.1,
        seconds=1.0,
    )


def softmax(logits):
    """The oracle's."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
