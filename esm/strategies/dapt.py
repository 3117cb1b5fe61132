"""Continued pre-training on the target's own texts (Gururangan et al. 2020), then any strategy."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field
from typing_extensions import override

from esm.common.arrays import Array
from esm.common.errors import EncoderError, ValidationError
from esm.common.memory import peak_memory
from esm.common.records import Record
from esm.common.runtime import seeded
from esm.common.storage import content_hash, hash_texts
from esm.encoder.encoder import Encoder
from esm.encoder.settings import BaseIdentity
from esm.strategies.checks import check_kind
from esm.strategies.protocol import PASSES_PER_STEP, TransferModel, encoder_size, training_settings
from esm.strategies.settings import TransferConfig
from esm.strategies.single import Effort, Single, Transferred
from esm.tasks.task import Examples, Outputs, SplitName, Task, Texts
from esm.training.language_model import Pretrained, check_language_model, pretrain
from esm.training.settings import FineTuneConfig
from esm.training.state import State

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


_PREFIX = "dapt."

_CHANGED = (
    "the encoder is changed before it is trained on labels: maps of a pool, and scores by them, are"
    " of the base model as it was"
)

# Runs of all seeds start from one adapted encoder, so that only what comes after it varies.
_SEED = 0


class DaptSettings(Record):
    """What continued pre-training alone can be told.

    Attributes:
        epochs: Passes over the texts.
        batch_size: Texts per step.
        learning_rate: Highest learning rate.
        masked: Share of the tokens that are to be guessed, for architectures that see both sides.
    """

    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    masked: float = Field(default=0.15, gt=0, lt=1)

    def training(self, *, bf16: bool) -> FineTuneConfig:
        """Return the settings of the training on texts."""
        return FineTuneConfig(
            num_epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            warmup_fraction=0.06,
            bf16=bf16,
            seed=_SEED,
        )


@dataclass(frozen=True)
class DaptModel:
    """A model that starts from an adapted encoder, and the weights of that encoder.

    Attributes:
        model: The model that the second strategy trained.
        adapted: The adapted encoder's weights by name.
    """

    model: TransferModel
    adapted: State

    def predict(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Array:
        """Return what the model predicts."""
        outputs: Array = self.model.predict(texts, pairs)
        return outputs

    def trained_state(self) -> State:
        """Return the model's state and such of the encoder's weights as it does not replace."""
        state = self.model.trained_state()
        kept = {
            f"{_PREFIX}{name}": array.copy()
            for name, array in self.adapted.items()
            if f"encoder.{name}" not in state
        }
        return state | kept


class _Latest:
    """The encoder that was adapted last: the next seed starts from the same."""

    key: str | None = None
    made: Pretrained | None = None
    peak: int | None = None


class Dapt(Single):
    """Train the encoder as a language model on the target's texts, then do what another one does.

    The texts are those of the training part, whether they have a label or not; a text that is also
    a validation or a test text is left out. The pre-training is the same for every seed.

    Args:
        then: The strategy that starts from the adapted encoder.
        name: Name of the composition.

    Raises:
        ValidationError: That strategy does not start from the encoder's weights.

    Source:
        Gururangan et al. 2020, "Don't Stop Pretraining", task-adaptive pre-training: 100 epochs at
        1e-4, 6 % of the steps warm-up, 15 % of the tokens masked; batches of 32 instead of 256,
        because a target here has a few hundred texts.
    """

    def __init__(self, then: Single, name: str) -> None:
        if not then.uses_source:
            raise ValidationError(
                f"{then.name} starts from no weights that pre-training could have changed",
                expected="a strategy that starts from the encoder",
                hint="--strategy dapt+houlsby",
            )
        self._then = then
        self.name = name
        self.seed_varies = f"{then.seed_varies}; the pre-training on texts is fixed"
        self.problems = then.problems

    @override
    def check(self, architecture: PreTrainedConfig) -> None:
        check_language_model(architecture)
        self._then.check(architecture)

    def settings(self, config: TransferConfig) -> dict[str, Any]:
        """See :meth:`esm.strategies.protocol.Strategy.settings`: both trainings'."""
        own = config.own_settings("dapt", DaptSettings)
        training = training_settings(own.training(bf16=config.bf16))
        adapting = {f"{_PREFIX}{name}": value for name, value in training.items()}
        return self._then.settings(config) | adapting | {f"{_PREFIX}masked": own.masked}

    def effort(self, settings: Mapping[str, Any], base: BaseIdentity, vocabulary: int) -> Effort:
        """See :meth:`esm.strategies.protocol.Strategy.effort`; as if every text had a label."""
        then = self._then.effort(settings, base, vocabulary)
        passes = PASSES_PER_STEP * int(settings[f"{_PREFIX}num_epochs"])
        size = encoder_size(base, vocabulary)
        return Effort(passes + then.passes, max(size, then.stored))

    def fit_task(
        self, encoder: Encoder, task: Task, rows: Examples, config: TransferConfig, seed: int
    ) -> Transferred:
        """See ``Strategy.fit``; texts of other training rows are read."""
        check_kind(self.name, task, self.problems)
        own = config.own_settings("dapt", DaptSettings)
        made, peak = _adapted(encoder, texts_of(task, rows), own, config, task.id)
        then = self._then.fit_task(made.encoder, task, rows, config, seed)
        weights = {
            name: weight.detach().cpu().numpy()
            for name, weight in made.encoder.model.named_parameters()
        }
        model = DaptModel(then.model, weights)
        state = model.trained_state()
        size = sum(weight.size for weight in weights.values())
        replaced = sum(w.size for name, w in weights.items() if f"encoder.{name}" in state)
        peaks = [each for each in (peak, then.peak_memory) if each is not None]
        return replace(
            then,
            model=model,
            trained_parameters=size + then.trained_parameters - replaced + made.head_parameters,
            stored_parameters=sum(array.size for array in state.values()),
            seconds=made.seconds + then.seconds,
            peak_memory=max(peaks, default=None),
            remarks=(made.remark, _CHANGED, *then.remarks),
        )

    @override
    def restore_task(self, encoder: Encoder, task: Outputs, state: State) -> DaptModel:
        adapted, rest = _loaded(encoder, task, state)
        model = self._then.restore_task(adapted, task, rest)
        weights = {
            name.removeprefix(_PREFIX): array
            for name, array in state.items()
            if name.startswith(_PREFIX)
        }
        return DaptModel(model, weights)

    def export_task(self, encoder: Encoder, task: Outputs, state: State) -> State:
        """See :meth:`esm.strategies.protocol.Strategy.exported`: the adapted weights come first."""
        adapted, rest = _loaded(encoder, task, state)
        weights = {
            f"encoder.{name.removeprefix(_PREFIX)}": array
            for name, array in state.items()
            if name.startswith(_PREFIX)
        }
        return weights | self._then.export_task(adapted, task, rest)


def texts_of(task: Task, rows: Examples) -> Texts:
    """Return the different texts of a task's training part, sorted, labelled ones and others.

    They do not depend on the attribute, as long as all attributes have the same training part. A
    text that is also a validation or a test text is left out.
    """
    judged = {row for name in SplitName if name is not SplitName.TRAIN for row in _rows(task, name)}
    found = {*_pairs(rows), *_rows(task, SplitName.TRAIN), *_pairs(task.unlabelled)} - judged
    ordered = sorted(found)
    firsts, seconds = tuple(first for first, _ in ordered), tuple(second for _, second in ordered)
    return Texts(firsts, seconds if rows.pairs is not None else None)


def _rows(task: Task, name: SplitName) -> set[tuple[str, str]]:
    return _pairs(task.splits[name]) if name in task.splits else set()


def _pairs(rows: Examples | Texts) -> set[tuple[str, str]]:
    return set(zip(rows.texts, rows.pairs or ("",) * len(rows), strict=True))


def _adapted(
    encoder: Encoder, texts: Texts, own: DaptSettings, config: TransferConfig, name: str
) -> tuple[Pretrained, int | None]:
    """Return an adapted copy of the encoder, the latest one where it is the same."""
    if not len(texts):
        raise ValidationError(
            f"every training text of {name} is a validation or test text too",
            expected="other texts to pre-train on",
        )
    settings = own.training(bf16=config.bf16)
    key = content_hash(
        encoder.identity.content_hash(),
        encoder.config.model,
        hash_texts(texts.texts, texts.pairs),
        settings.model_dump(mode="json"),
        own.masked,
        str(encoder.device),
    )
    if _Latest.key != key or _Latest.made is None:
        _Latest.key = _Latest.made = None
        copied = encoder.with_model(copy.deepcopy(encoder.model))
        with peak_memory(encoder.device) as peak, seeded(_SEED):
            made = pretrain(copied, texts, settings, own.masked, name=f"texts of {name}")
        made.encoder.model.train(False)
        _Latest.key, _Latest.made, _Latest.peak = key, made, peak.bytes
    return _Latest.made, _Latest.peak


def _loaded(encoder: Encoder, task: Outputs, state: State) -> tuple[Encoder, State]:
    """Return the adapted encoder, and what of a state is the second strategy's.

    Raises:
        EncoderError: Weights of the encoder are missing, unknown, of other shapes or not finite.
    """
    adapted = {n.removeprefix(_PREFIX): a for n, a in state.items() if n.startswith(_PREFIX)}
    rest = {name: array for name, array in state.items() if not name.startswith(_PREFIX)}
    model = copy.deepcopy(encoder.model)
    parameters = dict(model.named_parameters())
    wanted = {name for name in parameters if f"encoder.{name}" not in rest}
    wrong = sorted(wanted ^ set(adapted)) or [
        name
        for name, array in adapted.items()
        if array.shape != tuple(parameters[name].shape) or not np.isfinite(array).all()
    ]
    if wrong:
        raise EncoderError(
            f"the trained weights of {task.id} do not fit: {_PREFIX}{wrong[0]} is not that of the"
            " encoder",
            expected="all weights of the pre-trained encoder, finite",
            hint="esm validate again, with the same base model",
        )
    with torch.no_grad():
        for name, array in adapted.items():
            parameters[name].copy_(torch.from_numpy(np.array(array)))
    return encoder.with_model(model), rest
