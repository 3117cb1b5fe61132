"""From texts to embeddings: any Transformers text encoder, its tokenizer and its pooling."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from esm.backbone import is_causal, load_backbone, save_backbone
from esm.errors import EncoderError, ShapeError
from esm.pooling import pool, wide_features
from esm.runtime import Precision, progress, resolve_device
from esm.settings import BaseIdentity, EncoderConfig, Pooling

Encoding = dict[str, list[int]]
"""The token ids of one text, its attention mask and, for some models, its token types."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of n texts.

    Attributes:
        last: (n, d) float32, the pooled last layer.
        wide: (n, D) float32, several layers and poolings (see
            :func:`~esm.pooling.wide_features`), or None where they were not asked for.
        cut: How many of the texts were longer than the encoder's ``max_length``.
    """

    last: FloatArray
    wide: FloatArray | None
    cut: int

    def __post_init__(self) -> None:
        shapes = [array.shape for array in (self.last, self.wide) if array is not None]
        if any(len(shape) != 2 or shape[0] != shapes[0][0] for shape in shapes):
            raise ShapeError(
                f"embeddings of shape {' and '.join(map(str, shapes))}",
                expected="(n, d) and (n, D) with the same n",
            )

    def __len__(self) -> int:
        return len(self.last)


class Encoder:
    """A text encoder: weights, tokenizer, pooling and device.

    Make one with :meth:`load`. The weights must not change under an encoder that has been asked
    for its :attr:`identity`; train a copy and wrap it by :meth:`with_model`.

    Attributes:
        config: What was asked for.
        model: The Transformers model; of an encoder-decoder model the encoder alone.
        tokenizer: Its tokenizer.
        pooling: The pooling in use.
        max_length: Tokens kept of a text, as far as the model allows.
        device: Where the model lies.
    """

    def __init__(
        self,
        config: EncoderConfig,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pooling: Pooling,
        max_length: int,
        device: torch.device,
    ) -> None:
        self.config = config
        self.model = model
        self.tokenizer = tokenizer
        self.pooling = pooling
        self.max_length = max_length
        self.device = device
        self._causal = is_causal(model.config)

    @classmethod
    def load(cls, config: EncoderConfig, device: str = "auto") -> Encoder:
        """Load an encoder in float32 and evaluation mode.

        Args:
            config: Which one.
            device: See :func:`~esm.runtime.resolve_device`.

        Raises:
            EncoderError: See :func:`~esm.backbone.load_backbone`.
        """
        target = resolve_device(device)
        backbone = load_backbone(config.model, config.revision, config.pooling)
        model: Any = backbone.model
        limit = backbone.max_tokens
        return cls(
            config=config,
            model=model.to(target),
            tokenizer=backbone.tokenizer,
            pooling=backbone.pooling,
            max_length=config.max_length if limit is None else min(config.max_length, limit),
            device=target,
        )

    def with_model(self, model: PreTrainedModel) -> Encoder:
        """Return an encoder with other weights and everything else the same (cheap)."""
        return Encoder(
            self.config, model, self.tokenizer, self.pooling, self.max_length, self.device
        )

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), tokenizer and pooling; :meth:`load` reads the folder.

        Raises:
            StorageError: The folder cannot be written.
        """
        save_backbone(folder, self.model, self.tokenizer, self.pooling)

    @property
    def width(self) -> int:
        """The embedding width d."""
        return int(self.model.config.hidden_size)

    @cached_property
    def identity(self) -> BaseIdentity:
        """What decides this encoder's embeddings; hashes all weights once."""
        return BaseIdentity(
            model=self.config.model,
            weights=_hash_weights(self.model.state_dict()),
            pooling=self.pooling,
            max_length=self.max_length,
            precision=self.config.precision,
            width=self.width,
            num_layers=int(self.model.config.num_hidden_layers),
        )

    # ------------------------------------------------------------------------- texts to tokens

    def tokenize(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Return the tokens of each text, or text pair, cut to ``max_length``.

        Raises:
            ShapeError: There are not as many second texts as first ones.
        """
        columns = self._columns(texts, pairs)
        batch = self.tokenizer(*columns, truncation=True, max_length=self.max_length, verbose=False)
        encodings = [
            {name: batch[name][row] for name in self._inputs if name in batch}
            for row in range(len(texts))
        ]
        return [encoding if encoding["input_ids"] else self._no_tokens() for encoding in encodings]

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> int:
        """Return how many of the texts, or text pairs, are longer than ``max_length`` tokens."""
        if not texts:
            return 0
        whole = self.tokenizer(*self._columns(texts, pairs), truncation=False, verbose=False)
        return sum(len(tokens) > self.max_length for tokens in whole["input_ids"])

    def collate(self, encodings: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Tensor]:
        """Return a batch on the encoder's device, padded on the right to its longest member.

        Returns:
            (b, t) int64 tensors by the names that the model takes.
        """
        longest = max(len(encoding["input_ids"]) for encoding in encodings)
        batch = {}
        for name in encodings[0]:
            padded = torch.full((len(encodings), longest), self._padding[name])
            for row, encoding in enumerate(encodings):
                tokens = encoding[name]
                padded[row, : len(tokens)] = torch.as_tensor(tokens)
            batch[name] = padded.to(self.device)
        return batch

    @property
    def _inputs(self) -> tuple[str, ...]:
        return tuple(self._padding)

    @cached_property
    def _padding(self) -> dict[str, int]:
        """The inputs that this model takes, each with the value that fills it up."""
        values = {
            "input_ids": self.tokenizer.pad_token_id or 0,
            "attention_mask": 0,
            "token_type_ids": self.tokenizer.pad_token_type_id,
        }
        taken = {"input_ids", "attention_mask", *self.tokenizer.model_input_names}
        return {name: value for name, value in values.items() if name in taken}

    def _columns(self, texts: Sequence[str], pairs: Sequence[str] | None) -> list[list[str]]:
        """Return the tokenizer's arguments: valid Unicode, second texts set apart."""
        if pairs is None:
            return [[_valid(text) for text in texts]]
        if len(pairs) != len(texts):
            raise ShapeError(
                f"{len(texts)} texts and {len(pairs)} second texts", expected="as many of each"
            )
        return [[_valid(text) for text in texts], [self.between + _valid(text) for text in pairs]]

    @property
    def between(self) -> str:
        """What is put before the second text of a pair.

        GPT-2 and its kind put nothing between the two; a line break does.
        """
        extra = self.tokenizer.num_special_tokens_to_add
        return "\n" if extra(pair=True) == extra(pair=False) else ""

    def _no_tokens(self) -> Encoding:
        """Stand for an empty text, of which some tokenizers leave no token at all."""
        token = self.tokenizer.eos_token_id
        ids = self.tokenizer.pad_token_id or 0 if token is None else token
        values = {"input_ids": ids, "attention_mask": 1, "token_type_ids": 0}
        return {name: [values[name]] for name in self._inputs}

    # -------------------------------------------------------------------- tokens to embeddings

    def pooled(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings (b, d) of a collated batch, differentiable: what heads sit on."""
        outputs = self._forward(batch, hidden_states=False)
        return self._pool(outputs, batch)

    def embed(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        wide: bool = False,
        batch_size: int = 32,
    ) -> Embeddings:
        """Embed texts, or text pairs, in batches of similar length.

        Neither the batch size nor the order of the texts changes an embedding beyond float32
        rounding (1e-5).

        Args:
            texts: n texts.
            pairs: Their n second texts, for pair tasks.
            wide: Also return the wide features, from the same forward pass.
            batch_size: Texts per forward pass.

        Raises:
            EncoderError: There is no text, or the model gives numbers that are not finite.
            ShapeError: There are not as many second texts as first ones.
        """
        if not texts:
            raise EncoderError("no texts to embed", expected="at least one")
        encodings = self.tokenize(texts, pairs)
        lengths = np.array([len(encoding["input_ids"]) for encoding in encodings])
        # The longest first: a batch that does not fit into memory fails at once.
        order = np.argsort(-lengths, kind="stable")
        last, features = [], []
        with self._inference(), progress("embedding", len(texts)) as advance:
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                batch = self.collate([encodings[row] for row in rows])
                outputs = self._forward(batch, hidden_states=wide)
                last.append(_to_numpy(self._pool(outputs, batch)))
                if wide:
                    features.append(_to_numpy(self._wide(outputs, batch)))
                advance(len(rows))
        back = np.argsort(order)
        return Embeddings(
            last=_finite(np.concatenate(last)[back]),
            wide=_finite(np.concatenate(features)[back]) if wide else None,
            cut=self._count_cut_rows(np.flatnonzero(lengths >= self.max_length), texts, pairs),
        )

    def _forward(self, batch: Mapping[str, Tensor], *, hidden_states: bool) -> Any:
        inputs: dict[str, Any] = {name: batch[name] for name in self._inputs if name in batch}
        if self._causal:
            inputs["use_cache"] = False
        return self.model(**inputs, output_hidden_states=hidden_states, return_dict=True)

    def _pool(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return pool(
            outputs.last_hidden_state,
            batch["attention_mask"],
            self.pooling,
            getattr(outputs, "pooler_output", None),
        )

    def _wide(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        return wide_features(outputs.hidden_states, batch["attention_mask"], causal=self._causal)

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        """Evaluation mode, no gradients, and bfloat16 where it was asked for."""
        training = self.model.training
        self.model.train(False)
        low = self.config.precision is Precision.BFLOAT16
        try:
            with (
                torch.inference_mode(),
                torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low),
            ):
                yield
        finally:
            self.model.train(training)

    def _count_cut_rows(
        self, full: npt.NDArray[np.intp], texts: Sequence[str], pairs: Sequence[str] | None
    ) -> int:
        """Count the cut texts among those that fill ``max_length``: only they can be cut."""
        seconds = None if pairs is None else [pairs[row] for row in full]
        return self.count_cut([texts[row] for row in full], seconds)


def _valid(text: str) -> str:
    """Replace lone surrogates, which tokenizers refuse, by question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _to_numpy(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.float().cpu().numpy()
    return array


def _finite(embeddings: FloatArray) -> FloatArray:
    rows = int((~np.isfinite(embeddings).all(axis=1)).sum())
    if rows:
        raise EncoderError(
            f"the model gives NaN or infinite embeddings for {rows} of {len(embeddings)} texts",
            expected="finite numbers",
            hint="--precision float32, or another model",
        )
    return embeddings


def _hash_weights(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
