"""What tuning on a source task is: fine-tuning on labels, or language modelling on a corpus."""

from __future__ import annotations

import copy
import logging
import time

from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.tasks.splits.draw import held_out, sample
from esm.tasks.task import Examples, Metric, Problem, Task, Texts
from esm.training.finetune import MOST_JUDGED, FineTuneResult, fine_tune
from esm.training.language_model import LanguageModel, held_out_loss, train_language_model
from esm.training.settings import FineTuneConfig

_LOGGER = logging.getLogger(__name__)

_MASKED = 0.15


def tune_on_source(encoder: Encoder, task: Task, config: FineTuneConfig) -> FineTuneResult:
    """Tune a copy of the encoder on a source task, whatever its kind.

    Raises:
        TaskError: There are too few texts.
        EncoderError: The source is a corpus and the architecture has no language model.
        FitError: Training diverged.
    """
    if task.problem is Problem.CORPUS:
        return tune_on_corpus(encoder, task, config)
    return fine_tune(encoder, task, config)


def tune_on_corpus(encoder: Encoder, task: Task, config: FineTuneConfig) -> FineTuneResult:
    """Train a copy of the encoder as a language model on a corpus, with the settings of a source.

    15 % of the tokens are hidden. The same encoder, corpus, settings and seed give the same
    weights, as :func:`~esm.training.finetune.fine_tune` does.

    Args:
        encoder: The base model; it is not changed.
        task: A corpus.
        config: The settings; class weights do not matter.

    Returns:
        The tuned encoder without a head; as quality ``log_likelihood``, nats per hidden token, on
        at most 500 held-out texts, and ``log_likelihood_before``, that of the base model on the
        same hidden tokens. The language-model head begins at random where the checkpoint has none:
        it is then part of what training improves, and a note says so.

    Raises:
        TaskError: There are too few texts.
        EncoderError: The architecture has no language-model head that is known, or no mask.
        FitError: Training diverged, or nothing can be hidden in the held-out texts.

    Source:
        Gururangan et al. 2020, "Don't Stop Pretraining"; masking as Devlin et al. 2019.
    """
    start = time.monotonic()
    rows, unseen = held_out(task, config.seed)
    rows = sample(rows, task.problem, config.max_examples, config.seed)
    judged = _texts(sample(unseen, task.problem, MOST_JUDGED, config.seed))
    copied = encoder.with_model(copy.deepcopy(encoder.model))
    with seeded(config.seed):
        language = LanguageModel(copied, _MASKED)
        before = held_out_loss(language, judged, config.seed)
        train_language_model(language, _texts(rows), config, name=task.id)
        after = held_out_loss(language, judged, config.seed)
    _LOGGER.info(f"{task.id}: {language.remark}")
    return FineTuneResult(
        encoder=copied,
        head={},
        quality={
            Metric.LOG_LIKELIHOOD: -after,
            f"{Metric.LOG_LIKELIHOOD}_before": -before,
        },
        examples=len(rows),
        seconds=time.monotonic() - start,
    )


def _texts(rows: Examples) -> Texts:
    return Texts(rows.texts, rows.pairs)
