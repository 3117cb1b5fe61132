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
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from esm.common.arrays import Float32
from esm.common.errors import EncoderError, ShapeError
from esm.common.memory import in_batches
from esm.common.runtime import Precision, progress, resolve_device
from esm.encoder.chunks import Tokens
from esm.encoder.load import is_causal, load_backbone, save_backbone
from esm.encoder.pooling import join_chunks, pool, wide_features
from esm.encoder.settings import BaseIdentity, EncoderConfig, Pooling
from esm.encoder.tokens import SHARES, TextReader


@dataclass(frozen=True)
class Embeddings:
    """The embeddings of n texts.

    Attributes:
        last: (n, d) float32, the pooled last layer.
        wide: (n, D) float32, several layers and poolings (see
            :func:`~esm.encoder.pooling.wide_features`), or None where they were not asked for.
        cut: How many of the texts were not read to their end, being longer than the encoder's
            ``max_length`` or all of its chunks.
    """

    last: Float32
    wide: Float32 | None
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
        config: What was asked for, with the prefix that is in use.
        model: The Transformers model; of an encoder-decoder model the encoder alone.
        tokenizer: Its tokenizer.
        pooling: The pooling in use.
        max_length: Tokens of one input of the model, as far as the model allows.
        reader: Turns texts into batches of tokens.
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
        self.reader = TextReader(
            tokenizer, max_length, config.max_chunks, config.stride, config.prefix or ""
        )
        self.device = device
        self._causal = is_causal(model.config)

    @classmethod
    def load(cls, config: EncoderConfig, device: str = "auto") -> Encoder:
        """Load an encoder in float32 and evaluation mode.

        Args:
            config: Which one.
            device: See :func:`~esm.common.runtime.resolve_device`.

        Raises:
            EncoderError: See :func:`~esm.encoder.load.load_backbone`; or the prefix leaves hardly
                any room for a text.
        """
        target = resolve_device(device)
        backbone = load_backbone(config.model, config.revision, config.pooling, config.prefix)
        model: Any = backbone.model
        limit = backbone.max_tokens
        encoder = cls(
            config=config.model_copy(update={"prefix": backbone.prefix}),
            model=model.to(target),
            tokenizer=backbone.tokenizer,
            pooling=backbone.pooling,
            max_length=config.max_length if limit is None else min(config.max_length, limit),
            device=target,
        )
        encoder.reader.check_prefix()
        return encoder

    def with_model(self, model: PreTrainedModel) -> Encoder:
        """Return an encoder with other weights and everything else the same (cheap)."""
        return Encoder(
            self.config, model, self.tokenizer, self.pooling, self.max_length, self.device
        )

    def with_chunks(self, max_chunks: int) -> Encoder:
        """Return an encoder of the same weights that reads at most so many chunks (cheap)."""
        config = self.config.model_copy(update={"max_chunks": max_chunks})
        return Encoder(
            config, self.model, self.tokenizer, self.pooling, self.max_length, self.device
        )

    def within(self, max_length: int) -> Encoder:
        """Return an encoder of the same weights that takes at most so many tokens (cheap)."""
        length = min(self.max_length, max_length)
        return Encoder(self.config, self.model, self.tokenizer, self.pooling, length, self.device)

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), tokenizer, pooling, prefix; :meth:`load` reads the folder.

        Raises:
            StorageError: The folder cannot be written.
        """
        save_backbone(folder, self.model, self.tokenizer, self.pooling, self.reader.prefix)

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
            max_chunks=self.config.max_chunks,
            stride=self.config.stride,
            precision=self.config.precision,
            width=self.width,
            num_layers=int(self.model.config.num_hidden_layers),
            prefix=self.reader.prefix,
        )

    # ------------------------------------------------------------------------- texts to tokens

    def tokenize(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Tokens]:
        """Return the tokens of each text, or text pair: see ``TextReader.read``.

        Raises:
            ShapeError: There are not as many second texts as first ones.
        """
        return self.reader.read(texts, pairs)

    def count_cut(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> int:
        """Return how many of the texts, or text pairs, are not read to their end."""
        return self.reader.count_cut(texts, pairs)

    def collate(self, texts: Sequence[Tokens]) -> dict[str, Tensor]:
        """Return a batch on the encoder's device: see ``TextReader.batch``."""
        return self.reader.batch(texts, self.device)

    # -------------------------------------------------------------------- tokens to embeddings

    def hidden(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the last hidden states (c, t, d) of a batch's chunks, differentiable."""
        states: Tensor = self._forward(batch, hidden_states=False).last_hidden_state
        return states

    def pooled(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings (b, d) of a collated batch, differentiable: what heads sit on.

        The embedding of a text in several chunks is the mean of theirs, weighted by their tokens.
        """
        chunks = self._pool(self._forward(batch, hidden_states=False), batch)
        return join_chunks(chunks, batch[SHARES]) if SHARES in batch else chunks

    def embed(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        wide: bool = False,
        batch_size: int = 32,
        doing: str = "embedding",
    ) -> Embeddings:
        """Embed texts, or text pairs, in batches of similar length.

        The embedding of a text in several chunks is the mean of its chunks' embeddings, weighted
        by their numbers of tokens; wide features likewise. Neither the batch size nor the order
        of the texts changes an embedding beyond float32 rounding (1e-5). Batches are halved when
        memory runs out.

        Args:
            texts: n texts.
            pairs: Their n second texts, for pair tasks.
            wide: Also return the wide features, from the same forward pass.
            batch_size: Chunks per forward pass: their number bounds the memory, however long the
                texts are.
            doing: What the progress is called.

        Raises:
            EncoderError: There is no text, the model gives numbers that are not finite, or a
                single chunk does not fit into memory.
            ShapeError: There are not as many second texts as first ones.
        """
        if not texts:
            raise EncoderError("no texts to embed", expected="at least one")
        tokens = self.tokenize(texts, pairs)
        inputs = [chunk for text in tokens for chunk in text.chunks]
        owners = np.repeat(np.arange(len(tokens)), [len(text.chunks) for text in tokens])
        weights = np.array([w for text in tokens for w in text.weights], dtype=np.float32)
        lengths = np.array([len(chunk["input_ids"]) for chunk in inputs])
        # The longest first: a batch that does not fit into memory fails at once.
        order = np.argsort(-lengths, kind="stable")
        last = np.zeros((len(texts), self.width), np.float32)
        features: list[Float32] = []  # made when their width is known

        def forward(part: slice) -> None:
            rows = order[part]
            batch = self.reader.pad([inputs[row] for row in rows], self.device)
            outputs = self._forward(batch, hidden_states=wide)
            share = weights[rows, None]
            found = [_to_numpy(self._pool(outputs, batch))]
            if wide:
                found.append(_to_numpy(self._wide(outputs, batch)))
                if not features:
                    features.append(np.zeros((len(texts), found[1].shape[1]), np.float32))
            for total, chunks in zip([last, *features], found, strict=True):
                np.add.at(total, owners[rows], share * chunks)
            advance(len(rows))

        with self.inference(), progress(doing, len(inputs)) as advance:
            in_batches(len(inputs), batch_size, forward)
        return Embeddings(
            last=_finite(last),
            wide=_finite(features[0]) if wide else None,
            cut=self._count_cut_rows(tokens, texts, pairs),
        )

    def _forward(self, batch: Mapping[str, Tensor], *, hidden_states: bool) -> Any:
        inputs: dict[str, Any] = {name: batch[name] for name in self.reader.inputs if name in batch}
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
    def inference(self) -> Iterator[None]:
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
        self, tokens: Sequence[Tokens], texts: Sequence[str], pairs: Sequence[str] | None
    ) -> int:
        """Count the cut texts among those that have a full chunk: only they can be cut."""
        full = [row for row, text in enumerate(tokens) if text.longest >= self.max_length]
        seconds = None if pairs is None else [pairs[row] for row in full]
        return self.count_cut([texts[row] for row in full], seconds)


def _to_numpy(tensor: Tensor) -> Float32:
    array: Float32 = tensor.float().cpu().numpy()
    return array


def _finite(embeddings: Float32) -> Float32:
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
