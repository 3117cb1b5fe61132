"""What makes two tokenizers the same: they turn texts into the same token ids."""

from __future__ import annotations

import functools
import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from esm.common.storage import content_hash

_MOST_SAMPLED = 1000

# Case, accents, both forms of a composed letter, scripts, numbers, spaces, symbols, long words.
_TEXTS = (
    "",
    " ",
    "The QUICK brown fox doesn't jump over the lazy dogs; it's 12,345.67 km/h (really?!).",
    "Príliš žltý kôň úpel ďábelské ódy. ÁNO, nie – „možno“…",
    "e\u0301 é ﬁ Å ß İ ı ẞ",
    "Съешь ещё этих мягких булок. 日本語のテキスト 한국어 العربية हिन्दी ไทย",
    "  two  spaces\tand\na line\r\n\u00a0\u200b end ",
    "😀👍🏽 #hash @user https://example.org/a?b=c&d=1 user@example.org",
    "don't re-enter co-operate antidisestablishmentarianism aaaaaaaaaaaaaaaa",
    "<s> </s> [CLS] [SEP] [MASK] <pad> <unk> <|endoftext|>",
)


@functools.lru_cache(maxsize=2)
def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of what a tokenizer makes of texts (about 2 s for 250,000 tokens).

    It is taken over the vocabulary, the merges or scores of its model, and the ids of texts of
    many kinds and of a sample of the vocabulary: not over its files, whose form changes with the
    version of the library that writes them. Each tokenizer is hashed once; it must not change.
    """
    vocabulary = dict(sorted(tokenizer.get_vocab().items()))
    words = list(vocabulary)
    sample = words[:: max(1, len(words) // _MOST_SAMPLED)]
    return content_hash(
        vocabulary,
        _model(tokenizer),
        _ids(tokenizer, [*_TEXTS, *sample]),
        _ids(tokenizer, [_TEXTS[2]], [_TEXTS[3]]),
    )


def _ids(tokenizer: PreTrainedTokenizerBase, *columns: list[str]) -> list[Any]:
    batch = tokenizer(*columns, truncation=False, padding=False, verbose=False)
    return [batch["input_ids"], batch.get("token_type_ids")]


def _model(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the merges or scores of a fast tokenizer's model, which its vocabulary lacks."""
    if not tokenizer.is_fast:
        return []
    backend: Any = tokenizer
    model = json.loads(backend.backend_tokenizer.to_str())["model"]
    scores = model.get("vocab")
    return [
        *(each if isinstance(each, str) else " ".join(each) for each in model.get("merges") or ()),
        *(f"{piece} {score}" for piece, score in (scores if isinstance(scores, list) else ())),
    ]
