"""AdapterFusion: adapters of sources and attributes, each trained alone, then weighed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from typing_extensions import override

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import no_plain_model, source_lessons
from esm.strategies.joint.adapter_routes import RoutedEncoder, stored_sizes
from esm.strategies.joint.mixing import learn
from esm.strategies.pfeiffer import DEFAULT
from esm.strategies.protocol import (
    Jointly,
    Lesson,
    SourceTask,
    Strategy,
    metered,
    training_passes,
    training_settings,
)
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Outputs
from esm.training.layers.bottlenecks import check_architecture
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# Of the published settings: fusion is trained more carefully than adapters, for fewer epochs.
_FUSION_EPOCHS = 10
_FUSION_LEARNING_RATE = 5e-5
_REDUCTION = 16

# Rows over which the weights of a fusion are averaged for the report.
_ROWS_REPORTED = 64


class AdapterFusion(Strategy):
    """Train an adapter for every source and attribute, freeze them, and learn to weigh them.

    Each attribute has a fusion of all adapters, its own included, and a head.

    Source:
        Pfeiffer et al. 2021, "AdapterFusion: Non-Destructive Task Composition for Transfer
        Learning": adapters for 30 epochs at 1e-4, fusion for 10 epochs at 5e-5.
    """

    together = True
    separate = "pfeiffer"
    learns_sources = True
    seed_varies = "order of the rows, dropout, heads, adapters, fusions"

    def __init__(self, name: str = "fusion", *, sources: bool = False) -> None:
        self.name = name
        self.wants_sources = sources

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> AdapterFusion:
        return cls(name, sources="sources" in words)

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_architecture(architecture)

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return {
            **training_settings(config.settings(DEFAULT, 0)),
            "fusion_epochs": self._fusion_epochs(config),
            "fusion_learning_rate": _FUSION_LEARNING_RATE,
            "adapter_size": config.adapter_size or f"1/{_REDUCTION}",
        }

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        adapters = training_passes(settings) * (sum(rows) + num_sources * max(rows))
        return adapters + training_passes({"num_epochs": settings["fusion_epochs"]}) * sum(rows)

    @override
    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        taught = {}
        if self.wants_sources:
            taught = dict(source_lessons(self.name, sources))
        taught |= lessons
        settings = config.settings(DEFAULT, seed)
        fusing = settings.model_copy(
            update={
                "num_epochs": self._fusion_epochs(config),
                "learning_rate": _FUSION_LEARNING_RATE,
            }
        )
        tasks = {name: lesson.task for name, lesson in taught.items()}
        size = config.adapter_size or max(1, encoder.width // _REDUCTION)
        with metered(encoder.device) as meter, seeded(seed):
            model = RoutedEncoder(encoder, tasks, dict.fromkeys(taught, size), list(lessons))
            for name, lesson in taught.items():
                model.go(name)
                model.train_only(adapter=name, head=name)
                learn(model, {name: lesson}, settings)
            for name, lesson in lessons.items():
                model.go(fusion=name)
                model.train_only(fusion=name, head=name)
                learn(model, {name: lesson}, fusing)
                model.remember(name)
        weights = {name: fusion_weights(model, name, one) for name, one in lessons.items()}
        heads = model.own_parameters()
        trained = model.adapter_numbers() + model.fusion_numbers() + heads
        model.keep_heads(list(lessons))
        stored = model.adapter_numbers() + model.fusion_numbers() + model.own_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained,
            stored_parameters=stored + 2 * len(lessons),
            shared_parameters=model.adapter_numbers(),
            total_parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            report={"adapters": list(taught), "fusion_weights": weights},
        )

    def _fusion_epochs(self, config: TransferConfig) -> int:
        return _FUSION_EPOCHS if config.num_epochs is None else config.num_epochs

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See ``Strategy.exported``: no plain model does this."""
        raise no_plain_model(self.name, "it weighs several adapters")

    @override
    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> RoutedEncoder:
        with seeded(0):
            model = RoutedEncoder(encoder, tasks, stored_sizes(state), list(tasks))
        model.load_trained(state)
        for name in tasks:
            model.go(fusion=name)
            model.remember(name)
        return model


def fusion_weights(model: RoutedEncoder, name: str, lesson: Lesson) -> dict[str, float]:
    """Return the mean weight of each adapter over layers and tokens of training rows.

    They add up to 1: what an attribute takes from where.
    """
    rows = lesson.rows.take(list(range(min(_ROWS_REPORTED, len(lesson.rows)))))
    model.route.record, model.route.weights = True, []
    try:
        model.go(fusion=name)
        model.eval()
        batch = model.encoder.collate(model.encoder.tokenize(rows.texts, rows.pairs))
        with torch.no_grad():
            model(batch)
        real = batch["attention_mask"].to(torch.bool)
        mean = torch.stack([layer[real].mean(dim=0) for layer in model.route.weights]).mean(dim=0)
    finally:
        model.route.record, model.route.weights = False, []
    return dict(zip(model.adapter_names, mean.tolist(), strict=True))
