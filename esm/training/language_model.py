"""Language modelling on top of an encoder: the loss, and continued pre-training on texts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedConfig

from esm.common.errors import EncoderError, FitError
from esm.common.runtime import seeded
from esm.encoder.encoder import Encoder
from esm.encoder.find import locate
from esm.encoder.loading_errors import loading_errors
from esm.tasks.task import Texts
from esm.training.layers.architectures import ARCHITECTURES, check_known
from esm.training.loop import Training
from esm.training.settings import FineTuneConfig

# Of the tokens that are to be guessed: shares shown as a mask, and as some other token.
_MASKED, _REPLACED = 0.8, 0.1

# Texts per forward pass where losses are only looked at.
_JUDGED_AT_ONCE = 16


def check_language_model(config: PreTrainedConfig) -> None:
    """Refuse an architecture whose language-model head is not known.

    Raises:
        EncoderError: It is not; the encoders of encoder-decoder models have none.
    """
    problem = "the architecture {} has no language-model head that is known"
    check_known(config, problem, lambda one: one.to_vocabulary is not None)


class LanguageModel(nn.Module):
    """An encoder, shared with whoever gave it, and a head that predicts its tokens.

    The head is the one of the checkpoint that the base model was loaded from, where that has one;
    else it is drawn from torch's global generator, but for its output matrix, which is that of the
    input embeddings.

    Args:
        encoder: Its weights are those that the loss trains.
        masked: Share of the tokens that are to be guessed, for architectures that see both sides.

    Attributes:
        encoder: The encoder.
        has_own_head: Whether the head comes from the checkpoint.

    Raises:
        EncoderError: The architecture is not known, its tokenizer has no mask, or the checkpoint is
            gone.
    """

    def __init__(self, encoder: Encoder, masked: float = 0.15) -> None:
        super().__init__()
        check_language_model(encoder.model.config)
        self.encoder = encoder
        self._masked = masked
        self._known = ARCHITECTURES[encoder.model.config.model_type]
        if not self._known.is_causal and encoder.tokenizer.mask_token_id is None:
            raise EncoderError(
                f"the tokenizer of {encoder.config.model} has no mask",
                expected="a token to put in place of those that are to be guessed",
                hint="another base model",
            )
        self.whole, self.has_own_head = _with_head(encoder)
        shared = {id(weight) for weight in encoder.model.parameters()}
        self._own = [p for p in self.whole.parameters() if id(p) not in shared]

    @property
    def head_parameters(self) -> int:
        """How many parameters the head has that are not the encoder's."""
        return sum(parameter.numel() for parameter in self._own)

    @property
    def remark(self) -> str:
        """Where the head comes from, in words."""
        if self.has_own_head:
            return "the language-model head is the checkpoint's own"
        return (
            "the checkpoint has no language-model head: it began at random, its output matrix as"
            " the input embeddings"
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the mean loss of the tokens that are to be guessed in a collated batch.

        Cross-entropy in nats: of the next token for causal architectures, of masked tokens for
        others. It is 0 for a batch without a token to guess.

        Source:
            Masking: Devlin et al. 2019, section 3.1: of the chosen tokens 80 % are shown as a mask,
            10 % as another token, 10 % as they are.
        """
        hidden, targets = self._to_guess(batch)
        if not len(targets):
            return hidden.sum() * 0.0
        return self._losses(hidden, targets).mean()

    def token_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return (m,) the losses of the m tokens of a batch that are to be guessed, in nats."""
        return self._losses(*self._to_guess(batch))

    def _to_guess(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the states (m, d) of the tokens that are to be guessed, and which (m,) they are.

        Where there are none, the empty states still hang on the weights.
        """
        ids, mask = batch["input_ids"], batch["attention_mask"]
        if self._known.is_causal:
            hidden = self.encoder.hidden(batch)[:, :-1]
            chosen, targets = mask[:, 1:] == 1, ids[:, 1:]
        else:
            chosen = choose_tokens(self._ordinary(ids) & (mask == 1), self._masked)
            shown = self._corrupted(ids, chosen)
            hidden, targets = self.encoder.hidden({**batch, "input_ids": shown}), ids
        return hidden[chosen], targets[chosen]

    def _losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        to_vocabulary = self._known.to_vocabulary
        assert to_vocabulary is not None  # checked when it was made
        logits = to_vocabulary(self.whole, hidden)
        return cross_entropy(logits.float(), targets, reduction="none")

    def _ordinary(self, ids: Tensor) -> Tensor:
        special = torch.tensor(self.encoder.tokenizer.all_special_ids, device=ids.device)
        return ~torch.isin(ids, special)

    def _corrupted(self, ids: Tensor, chosen: Tensor) -> Tensor:
        tokenizer = self.encoder.tokenizer
        fate = torch.rand(ids.shape).to(ids.device)
        other = torch.randint(len(tokenizer), ids.shape).to(ids.device)
        shown = ids.masked_fill(chosen & (fate < _MASKED), int(tokenizer.mask_token_id))
        replaced = chosen & (fate >= _MASKED) & (fate < _MASKED + _REPLACED)
        return torch.where(replaced, other, shown)


def choose_tokens(allowed: Tensor, share: float) -> Tensor:
    """Draw which tokens are to be guessed, by torch's global generator; at least one if allowed.

    Args:
        allowed: (c, t) which tokens may be.
        share: Each of them is drawn with this probability.
    """
    draws = torch.rand(allowed.shape).to(allowed.device).masked_fill(~allowed, 2.0)
    chosen = draws < share
    if not chosen.any():
        chosen = (draws == draws.min()) & allowed
    return chosen


def _with_head(encoder: Encoder) -> tuple[nn.Module, bool]:
    """Return a language model around the encoder's own module, and whether its head was loaded."""
    config = encoder.config
    loader: Any = AutoModelForMaskedLM
    if ARCHITECTURES[encoder.model.config.model_type].is_causal:
        loader = AutoModelForCausalLM
    with loading_errors(config.model):
        whole, report = loader.from_pretrained(
            locate(config.model),
            revision=config.revision,
            dtype=torch.float32,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
        )
    prefix = whole.base_model_prefix
    lacking = [name for name in report["missing_keys"] if not name.startswith(f"{prefix}.")]
    setattr(whole, prefix, encoder.model)
    whole.tie_weights()
    return whole.to(encoder.device), not lacking


# ---------------------------------------------------------------------------- continued training


@dataclass(frozen=True)
class Pretrained:
    """What continued pre-training gives.

    Attributes:
        encoder: The encoder with the weights it ended with.
        head_parameters: Parameters of the language-model head, which is thrown away.
        remark: Where that head came from.
        seconds: Wall-clock time.
    """

    encoder: Encoder
    head_parameters: int
    remark: str
    seconds: float


class _LossOf(nn.Module):
    """A language model as ``Training`` takes a model: its output is the loss."""

    def __init__(self, language: LanguageModel) -> None:
        super().__init__()
        self.language = language

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        loss: Tensor = self.language(batch)
        return loss


def pretrain(
    encoder: Encoder, texts: Texts, config: FineTuneConfig, masked: float, *, name: str
) -> Pretrained:
    """Train an encoder, in place, as a language model on texts; the caller seeds torch's generator.

    Cost: about three forward passes per chunk and epoch.

    Args:
        encoder: A copy that may be changed.
        texts: At least one.
        config: The settings.
        masked: Share of the tokens that are to be guessed.
        name: What it is trained on, for progress and errors.

    Raises:
        EncoderError: See :class:`LanguageModel`.
        FitError: Training diverged, or one text does not fit into memory.
    """
    start = time.monotonic()
    language = LanguageModel(encoder, masked)
    train_language_model(language, texts, config, name=name)
    return Pretrained(encoder, language.head_parameters, language.remark, time.monotonic() - start)


def train_language_model(
    language: LanguageModel, texts: Texts, config: FineTuneConfig, *, name: str
) -> None:
    """Train a language model, and the encoder in it, in place on texts.

    Args:
        language: The model.
        texts: At least one.
        config: The settings.
        name: What it is trained on, for progress and errors.

    Raises:
        FitError: Training diverged, or one text does not fit into memory.
    """
    Training(
        name=name,
        model=_LossOf(language),
        encoder=language.encoder,
        loss=lambda loss, _: loss,
        texts=language.encoder.tokenize(texts.texts, texts.pairs),
        targets=torch.zeros(len(texts)),
        config=config,
    ).run()


def held_out_loss(language: LanguageModel, texts: Texts, seed: int) -> float:
    """Return the mean loss of the hidden tokens of texts, in nats per token.

    Which tokens are hidden, and what is shown in their place, hangs on the texts and the seed
    alone: two models of one architecture are asked the same.

    Args:
        language: The model; it is put into evaluation mode.
        texts: At least one.
        seed: Decides what is hidden.

    Raises:
        FitError: No token can be hidden, or the loss is not finite.
    """
    encoder = language.encoder
    tokens = encoder.tokenize(texts.texts, texts.pairs)
    language.eval()
    total, count = 0.0, 0
    with seeded(seed), torch.no_grad():
        for first in range(0, len(tokens), _JUDGED_AT_ONCE):
            losses = language.token_losses(encoder.collate(tokens[first : first + _JUDGED_AT_ONCE]))
            total += float(losses.double().sum())
            count += len(losses)
    if not count:
        raise FitError(
            f"none of {len(texts)} held-out texts has a token that could be hidden",
            expected="texts with words that the base model's vocabulary knows",
            hint="another base model",
        )
    if not math.isfinite(total):
        raise FitError(
            "the loss on held-out texts is not finite",
            expected="a finite number",
            hint="a lower learning rate, or another base model",
        )
    return total / count
