"""Stacked adapters: an attribute's adapter on top of one that was trained before, and is frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import no_plain_model, source_lessons
from esm.strategies.joint.adapter_routes import RoutedEncoder, stored_sizes
from esm.strategies.joint.mixing import Mixture, learn
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
from esm.tasks.task import Outputs, Texts
from esm.training.language_model import check_language_model, pretrain
from esm.training.layers.bottlenecks import check_architecture
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# An adapter of texts, without labels, is wider than one of a task, as published.
_TASK_REDUCTION, _DOMAIN_REDUCTION = 16, 2
_MASKED = 0.15

DOMAIN = "texts of the target"
"""Name of the lower adapter that is trained on the target's texts alone."""


class Stack(Strategy):
    """Train a lower adapter, freeze it, and train each attribute's on top of it.

    The lower adapter learns the target's training texts, without labels, by masked language
    modelling; or the most promising source.

    Args:
        name: The name by which it was chosen.
        source: Take a source's adapter as the lower one.

    Source:
        Pfeiffer et al. 2020, "MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual
        Transfer", section 3, where the lower adapter holds a language and is half as wide as the
        encoder. Its invertible adapters at the embeddings are left out.
    """

    together = True
    learns_sources = True
    separate = "pfeiffer"
    seed_varies = "order of the rows, masked tokens, dropout, heads, adapters"

    def __init__(self, name: str = "stack", *, source: bool = False) -> None:
        self.name = name
        self.wants_sources = source

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Stack:
        return cls(name, source="source" in words)

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_architecture(architecture)
        if not self.wants_sources:
            check_language_model(architecture)

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        lower = _TASK_REDUCTION if self.wants_sources else _DOMAIN_REDUCTION
        return {
            **training_settings(config.settings(DEFAULT, 0)),
            "adapter_size": config.adapter_size or f"1/{_TASK_REDUCTION}",
            "lower_size": config.adapter_size or f"1/{lower}",
            "masked": None if self.wants_sources else _MASKED,
        }

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        return training_passes(settings) * (sum(rows) + max(rows))

    @override
    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        taught = dict(lessons)
        lower = DOMAIN
        if self.wants_sources:
            lower, lesson = next(iter(source_lessons(self.name, sources)))
            taught[lower] = lesson
        reduction = _TASK_REDUCTION if self.wants_sources else _DOMAIN_REDUCTION
        sizes = {lower: config.adapter_size or max(1, encoder.width // reduction)}
        upper = config.adapter_size or max(1, encoder.width // _TASK_REDUCTION)
        sizes |= dict.fromkeys(lessons, upper)
        settings = config.settings(DEFAULT, seed)
        remarks: tuple[str, ...] = ()
        discarded = 0
        with metered(encoder.device) as meter, seeded(seed):
            tasks = {name: lesson.task for name, lesson in taught.items()}
            model = RoutedEncoder(encoder, tasks, sizes)
            model.go(lower)
            model.train_only(adapter=lower)
            if self.wants_sources:
                model.train_only(adapter=lower, head=lower)
                learn(model, {lower: taught[lower]}, settings)
            else:
                remark, discarded = _learn_texts(model, lessons, settings)
                remarks = (remark,)
            for name, lesson in lessons.items():
                model.go(lower, name)
                model.train_only(adapter=name, head=name)
                learn(model, {name: lesson}, settings)
                model.remember(name)
        trained = model.adapter_numbers() + model.own_parameters() + discarded
        model.keep_heads(list(lessons))
        stored = model.adapter_numbers() + model.own_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained,
            stored_parameters=stored + 2 * len(lessons),
            shared_parameters=model.adapter_numbers(lower),
            total_parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            remarks=remarks,
            report={"stack": {name: [lower, name] for name in lessons}},
        )

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See ``Strategy.exported``: no plain model does this."""
        raise no_plain_model(self.name, "it has one adapter on top of another")

    @override
    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> RoutedEncoder:
        widths = list(stored_sizes(state).values())
        sizes = dict(zip((DOMAIN, *tasks), widths, strict=False))
        with seeded(0):
            model = RoutedEncoder(encoder, tasks, sizes)
        model.load_trained(state)
        for name in tasks:
            model.go(DOMAIN, name)
            model.remember(name)
        return model


def _learn_texts(
    model: RoutedEncoder, lessons: Mapping[str, Lesson], settings: FineTuneConfig
) -> tuple[str, int]:
    """Train what may be trained on the distinct texts of lessons, without labels, in place.

    Returns:
        What has to be known of the language model's head, and how many numbers it has.
    """
    mixture = Mixture.of(lessons)
    rows = dict.fromkeys(zip(mixture.texts, mixture.pairs, strict=True))
    seconds = tuple(pair for _, pair in rows if pair is not None)
    texts = Texts(tuple(text for text, _ in rows), seconds or None)
    done = pretrain(model.encoder, texts, settings, _MASKED, name="the texts of the target")
    return done.remark, done.head_parameters
