"""An ensemble: a model per source and attribute, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.errors import EncoderError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.metrics.calibration import has_probabilities, mean_probabilities, probabilities
from esm.strategies.checks import needs_sources, no_plain_model
from esm.strategies.protocol import Jointly, Lesson, SourceTask, Strategy, TransferModel, part_of
from esm.strategies.registry import single_strategy
from esm.strategies.settings import TransferConfig
from esm.strategies.single import added_up
from esm.tasks.task import Outputs, Problem
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


# A chance of zero has no logarithm; no float32 model is surer than that.
_LEAST_CHANCE = 1e-12
_WEIGHTS = "weights."


def average(problem: Problem, outputs: Sequence[Array]) -> Array:
    """Return outputs that say what models say on average, in the same form.

    Of classes, labels and tags the mean of the probabilities, as logits again; of values the mean.
    """
    if problem is Problem.TAGGING:
        words = [one.reshape(-1, one.shape[-1]) for one in outputs]
        of_words: Array = average(Problem.CLASSIFICATION, words).reshape(outputs[0].shape)
        return of_words
    if not has_probabilities(problem):
        values: Array = np.mean(np.stack(list(outputs)), axis=0)
        return values
    mean = mean_probabilities([probabilities(problem, one) for one in outputs])
    logits: Array = np.log(np.maximum(mean, _LEAST_CHANCE))
    if problem is Problem.MULTILABEL:
        logits = logits - np.log(np.maximum(1.0 - mean, _LEAST_CHANCE))
    return logits


@dataclass(frozen=True)
class Member:
    """What was made of one source.

    Attributes:
        encoder: The encoder tuned on it.
        models: A model per attribute.
    """

    encoder: Encoder
    models: Mapping[str, TransferModel]


class Vote:
    """The members of an ensemble as one model.

    Args:
        members: By source, the most promising first.
        problems: Kind of output, by attribute.
    """

    def __init__(self, members: Sequence[Member], problems: Mapping[str, Problem]) -> None:
        self._members = members
        self._problems = problems

    def predict(
        self, attribute: str, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> Array:
        """Return the mean of the members' outputs for an attribute."""
        outputs = [
            np.asarray(member.models[attribute].predict(texts, pairs), dtype=np.float64)
            for member in self._members
        ]
        return average(self._problems[attribute], outputs)

    def trained_state(self) -> State:
        """See ``JointModel.trained_state``: with all weights of encoders."""
        state: State = {}
        for number, member in enumerate(self._members):
            for name, tensor in member.encoder.model.state_dict().items():
                state[f"{number}.{_WEIGHTS}{name}"] = tensor.detach().cpu().numpy().copy()
            for place, model in enumerate(member.models.values()):
                for name, array in model.trained_state().items():
                    state[f"{number}.{place}.{name}"] = array
        return state


class Ensemble(Strategy):
    """Train every attribute from the encoder of every source, and average what they predict.

    Args:
        name: The name by which it was chosen.
        member: The single-attribute strategy of the members.
    """

    wants_sources = True

    def __init__(self, name: str = "ensemble", member: str = "houlsby") -> None:
        self.name = name
        self.separate = member
        self._strategy = single_strategy(member)
        self.seed_varies = self._strategy.seed_varies

    @classmethod
    def variant(cls, name: str, words: frozenset[str]) -> Ensemble:
        """See :meth:`esm.strategies.protocol.Strategy.variant`; at most one word, the member."""
        return cls(name, *words)

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        self._strategy.check(architecture)

    @override
    def check_tasks(self, tasks: Iterable[Outputs]) -> None:
        self._strategy.check_tasks(tasks)

    @override
    def settings(self, config: TransferConfig) -> dict[str, Any]:
        return {**self._strategy.settings(config), "member": self._strategy.name}

    @override
    def passes(
        self,
        settings: Mapping[str, Any],
        rows: Sequence[int],
        num_sources: int,
        base: BaseIdentity,
    ) -> float:
        return num_sources * self._strategy.passes(settings, rows, 0, base)

    def fit(
        self,
        encoder: Encoder,
        lessons: Mapping[str, Lesson],
        config: TransferConfig,
        seed: int,
        sources: Sequence[SourceTask] = (),
    ) -> Jointly:
        """See ``Strategy.fit``; the given encoder is not used.

        Cost: that of the single strategy, times the number of sources.
        """
        needs_sources(self.name, sources)
        members, parts = [], []
        for source in sources:
            tuned = source.encoder()
            if tuned.config.max_chunks != encoder.config.max_chunks:
                tuned = tuned.with_chunks(encoder.config.max_chunks)
            fitted = {
                name: self._strategy.fit_task(tuned, lesson.task, lesson.rows, config, seed)
                for name, lesson in lessons.items()
            }
            members.append(Member(tuned, {name: part.model for name, part in fitted.items()}))
            parts += list(fitted.values())
        encoders = sum(
            tensor.numel() for m in members for tensor in m.encoder.model.state_dict().values()
        )
        vote = Vote(members, {name: lesson.task.problem for name, lesson in lessons.items()})
        return added_up(
            vote,
            parts,
            stored_parameters=encoders + sum(part.stored_parameters for part in parts),
            shared_parameters=encoders,
            report={"members": [source.id for source in sources]},
        )

    def exported(
        self, encoder: Encoder, tasks: Mapping[str, Outputs], attribute: str, state: State
    ) -> State:
        """See ``Strategy.exported``: no plain model does this."""
        raise no_plain_model(self.name, "it is several encoders")

    @override
    def restore(self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State) -> Vote:
        count = 1 + max((int(name.partition(".")[0]) for name in state), default=-1)
        members = [
            self._restored(encoder, tasks, part_of(state, f"{number}.")) for number in range(count)
        ]
        return Vote(members, {name: task.problem for name, task in tasks.items()})

    def _restored(self, encoder: Encoder, tasks: Mapping[str, Outputs], state: State) -> Member:
        tuned = with_weights(encoder, part_of(state, _WEIGHTS))
        return Member(
            tuned,
            {
                name: self._strategy.restore_task(tuned, task, part_of(state, f"{place}."))
                for place, (name, task) in enumerate(tasks.items())
            },
        )


def with_weights(encoder: Encoder, weights: State) -> Encoder:
    """Return a copy of an encoder with other weights.

    Raises:
        EncoderError: Names or shapes are not the encoder's.
    """
    import copy

    import torch

    model = copy.deepcopy(encoder.model)
    try:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        raise EncoderError(
            f"the weights of a member do not fit: {str(error).splitlines()[-1].strip()}",
            expected="those of the same base model",
            hint="train again, with the same base model",
        ) from error
    return encoder.with_model(model)
