"""Every single-attribute strategy as a joint one: a model per attribute, trained one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.arrays import Array
from esm.encoder.settings import BaseIdentity
from esm.strategies.joint.protocol import Jointly, Lesson, SourceTask, most, part_of
from esm.strategies.protocol import Strategy, TransferModel, check_problem
from esm.strategies.settings import TransferConfig
from esm.tasks.task import Outputs
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from esm.encoder.encoder import Encoder

# The passes of a training do not hang on it, but an effort is told of it.
_VOCABULARY = 30_522


@dataclass(frozen=True)
class SeparateModels:
    """A model per attribute."""

    models: Mapping[str, TransferModel]

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Array:
        """See :meth:`JointModel.predict`."""
        return np.asarray(self.models[attribute].predict(texts, pairs))

    def trained_state(self) -> State:
        """See :meth:`JointModel.trained_state`; each model's names stand behind its number."""
        return {
            f"{number}.{name}": array
            for number, model in enumerate(self.models.values())
            for name, array in model.trained_state().items()
        }


class Separate:
    """A single-attribute strategy as a joint one: a model per attribute, each for itself.

    Args:
        strategy: The single-attribute strategy.
    """

    together = False
    retrains = False
    wants_sources = False
    learns_sources = False

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy

    @property
    def name(self) -> str:
        """See :attr:`JointStrategy.name`."""
        return self.strategy.name

    @property
    def uses_source(self) -> bool:
        """See :attr:`JointStrategy.uses_source`."""
        return self.strategy.uses_source

    @property
    def separate(self) -> str:
        """See :attr:`JointStrategy.separate`."""
        return self.strategy.name

    @property
    def seed_varies(self) -> str:
        """See :attr:`JointStrategy.seed_varies`."""
        return self.strategy.seed_varies

    def check(self, architecture: PreTrainedConfig) -> None:
        """See :meth:`JointStrategy.check`."""
        self.strategy.check(architecture)

    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        """See :meth:`JointStrategy.check_tasks`."""
        for task in tasks:
            check_problem(self.strategy, task)

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`JointStrategy.settings`."""
        return self.strategy.settings(config)

    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        """See :meth:`JointStrategy.passes`."""
        return self.strategy.effort(settings, base, _VOCABULARY).passes * sum(rows)

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See :meth:`JointStrategy.fit`; sources are not used."""
        fitted = {
            name: self.strategy.fit(encoder, lesson.task, lesson.rows, config, seed)
            for name, lesson in lessons.items()
        }
        parts = list(fitted.values())
        return Jointly(
            model=SeparateModels({name: part.model for name, part in fitted.items()}),
            trained_parameters=sum(part.trained_parameters for part in parts),
            stored_parameters=sum(part.stored_parameters for part in parts),
            shared_parameters=0,
            total_parameters=sum(part.total_parameters for part in parts),
            seconds=sum(part.seconds for part in parts),
            peak_memory=most([part.peak_memory for part in parts]),
            remarks=tuple(dict.fromkeys(remark for part in parts for remark in part.remarks)),
        )

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See :meth:`JointStrategy.exported`."""
        own = part_of(state, f"{list(tasks).index(attribute)}.")
        return self.strategy.exported(encoder, tasks[attribute], own)

    def restore(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State
    ) -> SeparateModels:
        """See :meth:`JointStrategy.restore`."""
        return SeparateModels(
            {
                name: self.strategy.restore(encoder, task, part_of(state, f"{number}."))
                for number, (name, task) in enumerate(tasks.items())
            }
        )
