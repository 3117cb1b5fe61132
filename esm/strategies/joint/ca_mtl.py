"""CA-MTL: multi-task learning in an encoder that depends on the task (Pilault et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from typing_extensions import override

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.encoder.tokens import SHARES
from esm.strategies.checks import no_plain_model
from esm.strategies.full import DEFAULT
from esm.strategies.joint.annotations import learn_rows
from esm.strategies.joint.ca_mtl_layers import ConditionalParts, check_bert_like, freeze_lower_half
from esm.strategies.joint.mixing import Sampling
from esm.strategies.joint.uncertainty import check_entropy
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
from esm.training.heads import SharedEncoder
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class ConditionalEncoder(SharedEncoder):
    """A shared encoder whose upper half is trained, with conditional modules and task embeddings.

    Args:
        encoder: A BERT-like one; copied, never changed.
        tasks: What to predict, by name.
    """

    def __init__(self, encoder: Encoder, tasks: Mapping[str, Outputs]) -> None:
        super().__init__(encoder, tasks)
        self.conditional = ConditionalParts(self.backbone, len(tasks), self.encoder.max_length)
        freeze_lower_half(self.backbone)
        self.to(self.encoder.device)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return embeddings (b, d) of a batch that says in ``task`` which task each row is of."""
        tasks = batch["task"]
        if SHARES in batch:  # a row of the model's input is a chunk, not a text
            tasks = tasks[batch[SHARES].argmax(dim=0)]
        self.conditional.condition.z = self.conditional.tasks(tasks)
        return super().forward(batch)

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> npt.NDArray[np.float32]:
        """See :meth:`SharedEncoder.predict`; texts are read under the attribute's embedding."""
        number = self.names.index(attribute)
        with torch.no_grad():
            self.conditional.condition.z = self.conditional.tasks.weight[number : number + 1]
        return super().predict(attribute, texts, pairs)

    def own_parameters(self) -> int:
        """See :meth:`SharedEncoder.own_parameters`; here also the task embeddings."""
        return super().own_parameters() + self.conditional.tasks.weight.numel()

    def places(self) -> dict[str, Tensor]:
        """See :meth:`SharedEncoder.places`; here also the conditional modules."""
        own = {f"conditional.{name}": w for name, w in self.conditional.named_parameters()}
        return super().places() | own


class CaMtl(Strategy):
    """Train the conditional modules and the upper half of the encoder on all attributes.

    Learning rate and epochs are those of ``full`` here, not the paper's (2e-5, ten epochs, with
    hundreds of thousands of rows).

    Args:
        name: The name by which it was chosen.
        sampling: UNCERTAINTY as in the paper, or one of the others.
    """

    together = True
    retrains = True
    separate = "full"
    seed_varies = "order and choice of the rows, dropout, heads, conditional modules"

    def __init__(self, name: str = "ca-mtl", sampling: Sampling = Sampling.UNCERTAINTY) -> None:
        self.name = name
        self._sampling = sampling

    @override
    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> CaMtl:
        return cls(name, Sampling.among(words, Sampling.UNCERTAINTY))

    def check(self, architecture: PreTrainedConfig) -> None:
        """See ``Strategy.check``: BERT-like encoders only."""
        check_bert_like(architecture)

    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        """See ``Strategy.check_tasks``; labels of texts only."""
        tasks = tuple(tasks)
        super().check_tasks(tasks)
        if self._sampling is Sampling.UNCERTAINTY:
            check_entropy(self.name, tasks)

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return {
            **training_settings(config.settings(DEFAULT, 0)),
            "sampling": self._sampling.value,
        }

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        looked_at = len(rows) if self._sampling is Sampling.UNCERTAINTY else 0
        return (training_passes(settings) + looked_at) * sum(rows)

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See :meth:`esm.strategies.protocol.Strategy.fit`; sources are not used."""
        self.check_tasks(lesson.task for lesson in lessons.values())
        tasks = {name: lesson.task for name, lesson in lessons.items()}
        with metered(encoder.device) as meter, seeded(seed):
            model = ConditionalEncoder(encoder, tasks)
            settings = config.settings(DEFAULT, seed)
            used = learn_rows(model, lessons, settings, self._sampling)
        trained = model.trained_parameters()
        return Jointly(
            model=model,
            trained_parameters=trained,
            stored_parameters=trained + 2 * len(lessons),
            shared_parameters=trained - model.own_parameters(),
            total_parameters=sum(weight.numel() for weight in model.parameters()),
            seconds=meter.seconds,
            peak_memory=meter.peak_memory,
            report=used.as_dict(),
        )

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See ``Strategy.exported``: no plain model does this."""
        raise no_plain_model(self.name, "its encoder reads texts differently for each attribute")

    @override
    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> ConditionalEncoder:
        with seeded(0):
            model = ConditionalEncoder(encoder, tasks)
        model.load_trained(state)
        return model
