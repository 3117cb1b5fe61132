"""A multilingual base model with the vocabulary of one's own languages alone.

Vocabulary trimming (Abdaoui et al. 2020, "Load What You Need: Smaller Versions of Multilingual
BERT"; Ushio et al. 2023, "An Efficient Multilingual Language Model Compression through Vocabulary
Trimming"): most parameters of a small multilingual model are embeddings of pieces that texts in
one's own languages never use. Texts whose pieces are all kept have the same hidden states.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from esm.common.errors import EncoderError, StorageError
from esm.common.storage import atomic_folder, to_json
from esm.encoder.find import locate
from esm.encoder.load import load_backbone, save_backbone

_TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Trimmed:
    """What trimming a vocabulary did.

    Attributes:
        pieces_before: Pieces of the base model.
        pieces: Pieces that are kept.
        parameters_before: Parameters of the base model.
        parameters: Parameters that are left.
        tokens_per_word_before: On the texts that were given.
        tokens_per_word: On the same texts, after it.
    """

    pieces_before: int
    pieces: int
    parameters_before: int
    parameters: int
    tokens_per_word_before: float
    tokens_per_word: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def trim_vocabulary(
    model: str, texts: Sequence[str], folder: Path, *, most: int | None = None
) -> Trimmed:
    """Write a copy of a base model that has only the pieces of some texts' languages.

    Kept are special tokens, every piece of one character (so that no text whatever has more
    unknown characters than before), the pieces that the texts use, and the pieces that are
    written in the texts' characters, capitals included.

    Args:
        model: A packaged encoder, a folder or a Hub id, with a Unigram vocabulary.
        texts: Texts in all languages that the model will meet, sources' languages included.
        folder: Where to write the copy; it must not be there yet.
        most: Most pieces that are kept; the more probable ones. Pieces that the texts use, single
            characters and special tokens are kept whatever their number.

    Raises:
        EncoderError: The model cannot be loaded, or its vocabulary is of another kind.
        StorageError: The folder is there, or cannot be written.
    """
    if folder.exists():
        raise StorageError(
            f"{folder} is there already", expected="a folder to be made", hint="name another one"
        )
    backbone = load_backbone(model)
    parts = json.loads(_fast(backbone.tokenizer, model).to_str())
    if parts["model"].get("type") != "Unigram":
        raise EncoderError(
            f"the vocabulary of {model} is of the kind {parts['model'].get('type')}",
            expected="Unigram (SentencePiece), as of XLM-R, E5, mDeBERTa and mT5",
            hint="keep the model as it is",
        )
    before = _count_tokens(backbone.tokenizer, texts)
    vocabulary = [(piece, score) for piece, score in parts["model"]["vocab"]]
    added = {token["content"]: token["id"] for token in parts["added_tokens"]}
    used = before.used | set(backbone.tokenizer.tokenize(backbone.prefix))
    kept = kept_pieces(vocabulary, added, used, most)
    names = [vocabulary[old][0] for old in kept]
    # Added tokens that are no pieces are numbered behind them.
    beside = sorted({number: name for name, number in added.items() if name not in names}.items())
    parameters = backbone.model.num_parameters()
    rows = _keep_rows(backbone.model, [*kept, *(number for number, _ in beside)])
    ids = {name: new for new, name in enumerate([*names, *(name for _, name in beside)])}
    with atomic_folder(folder) as temporary:
        _renumber(backbone.model.config, rows)
        save_backbone(
            temporary, backbone.model, backbone.tokenizer, backbone.pooling, backbone.prefix
        )
        path = temporary / _TOKENIZER_FILE
        path.write_text(to_json(_trimmed_tokenizer(parts, kept, ids)), encoding="utf-8")
        _copy_card(model, temporary)
        copy = load_backbone(str(temporary))
    after = _count_tokens(copy.tokenizer, texts)
    return Trimmed(
        pieces_before=len(vocabulary),
        pieces=len(kept),
        parameters_before=parameters,
        parameters=copy.model.num_parameters(),
        tokens_per_word_before=before.per_word,
        tokens_per_word=after.per_word,
    )


def kept_pieces(
    vocabulary: Sequence[tuple[str, float]],
    special: Iterable[str],
    used: Iterable[str],
    most: int | None = None,
) -> list[int]:
    """Return the ids of the pieces to keep, ascending.

    A text has no more unknown characters than before: each of its pieces is kept, or is made of
    characters that are pieces of their own, which a Unigram model prefers to an unknown one. A
    piece with a character that is none is therefore kept, too.

    Args:
        vocabulary: Pieces and their log-probabilities, by id.
        special: Tokens that are no pieces of texts.
        used: The pieces that texts use.
        most: Most pieces that are kept, beyond those that must be.
    """
    used = set(used)
    alphabet = {letter for piece in used for letter in piece}
    alphabet |= {case for letter in alphabet for case in letter.upper() + letter.lower()}
    single = {piece for piece, _ in vocabulary if len(piece) == 1}
    needed = used | set(special)
    must = {
        number
        for number, (piece, _) in enumerate(vocabulary)
        if piece in needed or len(piece) < 2 or not set(piece) <= single
    }
    may = [
        number
        for number, (piece, _) in enumerate(vocabulary)
        if number not in must and set(piece) <= alphabet
    ]
    may.sort(key=lambda number: -vocabulary[number][1])
    room = len(may) if most is None else max(most - len(must), 0)
    return sorted(must.union(may[:room]))


@dataclass(frozen=True)
class _Count:
    """The tokens of some texts: the pieces they use, and how many there are per word."""

    used: set[str]
    per_word: float


def _count_tokens(tokenizer: Any, texts: Sequence[str]) -> _Count:
    used: set[int] = set()
    tokens = 0
    for start in range(0, len(texts), 1000):
        batch = list(texts[start : start + 1000])
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            used.update(ids)
            tokens += len(ids)
    words = sum(len(text.split()) for text in texts)
    return _Count(set(tokenizer.convert_ids_to_tokens(sorted(used))), tokens / max(words, 1))


def _fast(tokenizer: Any, model: str) -> Any:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise EncoderError(
            f"the tokenizer of {model} is a slow one", expected=f"one with {_TOKENIZER_FILE}"
        )
    return fast


def _keep_rows(model: Any, kept: Sequence[int]) -> dict[int, int]:
    """Keep the embeddings of these pieces; return the new ids by the old ones."""
    old = model.get_input_embeddings()
    new = torch.nn.Embedding(len(kept), old.embedding_dim)
    new.weight.data = old.weight.data[list(kept)].clone()
    renumbered = {piece: number for number, piece in enumerate(kept)}
    new.padding_idx = None if old.padding_idx is None else renumbered[old.padding_idx]
    model.set_input_embeddings(new)
    return renumbered


def _renumber(config: Any, rows: dict[int, int]) -> None:
    """Give a model's configuration the new number of pieces, and the special tokens' new ids."""
    config.vocab_size = len(rows)
    for name in ("pad", "bos", "eos", "cls", "sep", "unk", "mask", "decoder_start"):
        key = f"{name}_token_id"
        token = getattr(config, key, None)
        if token in rows:
            setattr(config, key, rows[token])


def _trimmed_tokenizer(
    parts: dict[str, Any], kept: Sequence[int], ids: dict[str, int]
) -> dict[str, Any]:
    """Return the content of tokenizer.json with these pieces alone."""
    model = parts["model"]
    unknown = model["vocab"][model["unk_id"]][0]
    vocabulary = [model["vocab"][number] for number in kept]
    return parts | {
        "model": model | {"vocab": vocabulary, "unk_id": ids[unknown]},
        "added_tokens": [token | {"id": ids[token["content"]]} for token in parts["added_tokens"]],
        "post_processor": _renumbered(parts["post_processor"], ids),
    }


def _renumbered(part: Any, ids: dict[str, int]) -> Any:
    """Return a post-processor with new ids: templates name them, BERT's and RoBERTa's pair them."""
    if isinstance(part, list):
        if len(part) == 2 and isinstance(part[0], str) and isinstance(part[1], int):
            return [part[0], ids[part[0]]]
        return [_renumbered(item, ids) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("tokens"), list) and "ids" in part:
        return part | {"ids": [ids[token] for token in part["tokens"]]}
    return {key: _renumbered(value, ids) for key, value in part.items()}


def _copy_card(model: str, folder: Path) -> None:
    """Take the card along where there is one: licence, languages, notice."""
    card = Path(locate(model)) / "README.md"
    if card.is_file():
        (folder / "README.md").write_bytes(card.read_bytes())
