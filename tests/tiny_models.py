"""Tiny random models of many architectures, with tokenizers, made without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
_WORDS = """
the a is was not of and to in on it this that good bad great awful film food service vaccine virus
doctor cure false true claim happy angry sad joy love hate rain sun cold warm fast slow buy sell
price home team game win lose never always very really people say said new old
"""
WORDS = _WORDS.split()

WIDTH = 32
LAYERS = 2
HEADS = 4
POSITIONS = 64


@dataclass(frozen=True)
class Kind:
    """How to make one architecture: its model and its tokenizer."""

    model: Callable[[int], hf.PreTrainedModel]
    tokenizer: Callable[[], hf.PreTrainedTokenizerBase]
    has_pooler: bool = False


def save_tiny(name: str, folder: Path, seed: int = 0) -> Path:
    """Save a tiny random model of this architecture with its tokenizer; return the folder."""
    kind = KINDS[name]
    tokenizer = kind.tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind.model(len(tokenizer))
        _spread(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _spread(model: hf.PreTrainedModel) -> None:
    """Draw larger weights than a fresh model has, so that its embeddings tell texts apart."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)


# ------------------------------------------------------------------------------------ tokenizers


def _wordpieces(special: list[str]) -> dict[str, int]:
    pieces = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    return {piece: row for row, piece in enumerate(dict.fromkeys(pieces))}


def _byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level BPE, learned from the words; every byte has a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 2, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokenizer.get_vocab(), [tuple(pair) for pair in merges]


def _unigrams(special: list[str]) -> list[tuple[str, float]]:
    pieces = [*LETTERS, "▁", *(f"▁{word}" for word in WORDS)]
    scored = [(piece, -8.0 if len(piece) == 1 else -4.0) for piece in dict.fromkeys(pieces)]
    return [(token, 0.0) for token in special] + scored


def _bert_tokenizer() -> hf.PreTrainedTokenizerBase:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return hf.BertTokenizer(vocab=_wordpieces(special), model_max_length=POSITIONS)


def _mpnet_tokenizer() -> hf.PreTrainedTokenizerBase:
    special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    return hf.MPNetTokenizer(vocab=_wordpieces(special))


def _roberta_tokenizer() -> hf.PreTrainedTokenizerBase:
    vocab, merges = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return hf.RobertaTokenizer(vocab=vocab, merges=merges)


def _bart_tokenizer() -> hf.PreTrainedTokenizerBase:
    vocab, merges = _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return hf.BartTokenizer(vocab=vocab, merges=merges)


def _xlmr_tokenizer() -> hf.PreTrainedTokenizerBase:
    return hf.XLMRobertaTokenizer(vocab=_unigrams(["<s>", "<pad>", "</s>", "<unk>"]))


def _t5_tokenizer() -> hf.PreTrainedTokenizerBase:
    return hf.T5Tokenizer(vocab=_unigrams(["<pad>", "</s>", "<unk>"]), extra_ids=0)


def _gpt2_tokenizer() -> hf.PreTrainedTokenizerBase:
    vocab, merges = _byte_pairs(["<|endoftext|>"])
    return hf.GPT2Tokenizer(vocab=vocab, merges=merges)


def _modernbert_tokenizer() -> hf.PreTrainedTokenizerBase:
    """ModernBERT has no tokenizer class of its own: byte-level BPE with BERT's special tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab, merges = _byte_pairs(special)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


# ---------------------------------------------------------------------------------------- models


def _encoder_sizes(vocab_size: int) -> dict[str, int]:
    return {
        "vocab_size": vocab_size,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * WIDTH,
    }


def _bert(vocab_size: int) -> hf.PreTrainedModel:
    sizes = _encoder_sizes(vocab_size)
    return hf.BertModel(hf.BertConfig(**sizes, max_position_embeddings=POSITIONS))


def _roberta(vocab_size: int) -> hf.PreTrainedModel:
    # Positions count from the padding id 1 onwards: 66 of them take 64 tokens.
    sizes = _encoder_sizes(vocab_size)
    config = hf.RobertaConfig(**sizes, max_position_embeddings=POSITIONS + 2, type_vocab_size=1)
    return hf.RobertaModel(config)


def _xlmr(vocab_size: int) -> hf.PreTrainedModel:
    sizes = _encoder_sizes(vocab_size)
    config = hf.XLMRobertaConfig(**sizes, max_position_embeddings=POSITIONS + 2, type_vocab_size=1)
    return hf.XLMRobertaModel(config)


def _mpnet(vocab_size: int) -> hf.PreTrainedModel:
    sizes = _encoder_sizes(vocab_size)
    return hf.MPNetModel(hf.MPNetConfig(**sizes, max_position_embeddings=POSITIONS + 2))


def _distilbert(vocab_size: int) -> hf.PreTrainedModel:
    config = hf.DistilBertConfig(
        vocab_size=vocab_size,
        dim=WIDTH,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=2 * WIDTH,
        max_position_embeddings=POSITIONS,
    )
    return hf.DistilBertModel(config)


def _modernbert(vocab_size: int) -> hf.PreTrainedModel:
    config = hf.ModernBertConfig(
        **_encoder_sizes(vocab_size),
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        global_attn_every_n_layers=2,
        local_attention=16,
    )
    return hf.ModernBertModel(config)


def _bart(vocab_size: int) -> hf.PreTrainedModel:
    config = hf.BartConfig(
        vocab_size=vocab_size,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=2 * WIDTH,
        decoder_ffn_dim=2 * WIDTH,
        max_position_embeddings=POSITIONS,
    )
    return hf.BartModel(config)


def _t5(vocab_size: int) -> hf.PreTrainedModel:
    config = hf.T5Config(
        vocab_size=vocab_size,
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_decoder_layers=1,
        num_heads=HEADS,
    )
    return hf.T5Model(config)


def _gpt2(vocab_size: int) -> hf.PreTrainedModel:
    config = hf.GPT2Config(
        vocab_size=vocab_size,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
    )
    return hf.GPT2Model(config)


KINDS = {
    "bert": Kind(_bert, _bert_tokenizer, has_pooler=True),
    "roberta": Kind(_roberta, _roberta_tokenizer, has_pooler=True),
    "xlm-roberta": Kind(_xlmr, _xlmr_tokenizer, has_pooler=True),
    "distilbert": Kind(_distilbert, _bert_tokenizer),
    "mpnet": Kind(_mpnet, _mpnet_tokenizer, has_pooler=True),
    "modernbert": Kind(_modernbert, _modernbert_tokenizer),
    "bart": Kind(_bart, _bart_tokenizer),
    "t5": Kind(_t5, _t5_tokenizer),
    "gpt2": Kind(_gpt2, _gpt2_tokenizer),
}
