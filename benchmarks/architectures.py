"""Which text models of the installed Transformers embed as plain ``AutoModel`` does.

Of every model type that Transformers fills masks, classifies texts, translates or encodes texts
with, a tiny random model is made from a seed, saved beside a small tokenizer, loaded, and asked for
the embeddings of texts of different lengths in batches of several sizes. Each has to be that of
``AutoModel`` for the text alone, pooled by hand, within 1e-5; or the model is refused by name::

    .venv/bin/python -m benchmarks.architectures --out benchmarks/results/architectures.csv
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import logging
import signal
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CONFIG_MAPPING, MODEL_MAPPING, AutoModel, AutoTokenizer
from transformers.models.auto import modeling_auto

from esm.common.errors import EsmError
from esm.encoder.encoder import Encoder
from esm.encoder.settings import EncoderConfig, Pooling

WIDTH, LAYERS, HEADS, POSITIONS = 32, 2, 4, 66
TOLERANCE = 1e-5
_SECONDS = 120
_SEED = 0
_SPARE = 8  # some tokenizer classes add a token of their own

TEXTS = (
    "the film was great and the food was good",
    "never buy this awful vaccine claim, said the doctor; people always say it is not true",
    "good",
    "rain, sun and a very old home",
    "it is true",
)

_PARTS_OF_TEXT_MODELS = ("attn_config", "esmfold_config")

MAPPINGS = (
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
)

# What sizes are called; a configuration gets those that it has.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "dim", "emb_dim", "n_embd"), WIDTH),
    "embedding_size": WIDTH,
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers", "num_encoder_layers"), LAYERS),
    **dict.fromkeys(("decoder_layers", "num_decoder_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), HEADS),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), HEADS),
    **dict.fromkeys(("num_encoder_attention_heads", "num_decoder_attention_heads"), HEADS),
    "num_key_value_heads": HEADS,
    **dict.fromkeys(("head_dim", "d_kv", "d_head"), WIDTH // HEADS),
    **dict.fromkeys(("intermediate_size", "d_ff", "hidden_dim", "d_inner", "ffn_dim"), 2 * WIDTH),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size"), 2 * WIDTH),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), POSITIONS),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts"), 4),
    "num_experts_per_tok": 2,
    "moe_intermediate_size": WIDTH,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": 3,
    "sep_token_id": 3,
}

# What else a model type needs to be as small as the others.
_FURTHER: dict[str, dict[str, Any]] = {
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "bigbird_pegasus": {"block_size": 4, "num_random_blocks": 1},
    "fsmt": {"langs": ["en", "de"]},
    "funnel": {"block_sizes": [1, 1], "block_repeats": [1, 1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8},
    "led": {"attention_window": [8, 8]},
    "lilt": {"hidden_size": 48},
    "longformer": {"attention_window": [8, 8]},
    "mobilebert": {
        "true_hidden_size": WIDTH,
        "intra_bottleneck_size": WIDTH,
        "num_feedforward_networks": 1,
    },
    "neomme": {"head_dim": 16},
    "nystromformer": {"num_landmarks": 8, "segment_means_seq_len": 8},
    "opt": {"word_embed_proj_dim": WIDTH},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 8]},
    "xmod": {"default_language": "en_XX"},
}


def model_types() -> list[str]:
    """Return the model types that Transformers reads texts with, by name."""
    found = {name for mapping in MAPPINGS for name in getattr(modeling_auto, mapping)}
    return sorted(name for name in found if name in CONFIG_MAPPING)


def save_tokenizer(folder: Path, inputs: list[str]) -> int:
    """Write a WordPiece tokenizer for the texts and return how many tokens it has."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz,;."
    words = sorted({word.strip(",;") for text in TEXTS for word in text.split()})
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = ("pad", "unk", "cls", "sep", "mask")
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(
        tokenizer_object=backend,
        model_input_names=inputs,
        **{f"{name}_token": token for name, token in zip(names, special, strict=True)},
    ).save_pretrained(folder)
    return len(vocabulary) + _SPARE


def tiny(name: str, vocabulary: int) -> torch.nn.Module:
    """Return a tiny random model of a type.

    Raises:
        Exception: Whatever Transformers raises where these sizes do not fit together.
    """
    kind: Any = CONFIG_MAPPING[name]
    rows = dict.fromkeys(("vocab_size", "src_vocab_size", "tgt_vocab_size"), vocabulary)
    sizes = _SIZES | rows
    known = {field.name for field in dataclasses.fields(kind)} | set(kind.attribute_map)
    # Of two names of one size the attribute's own one is taken.
    known -= {alias for alias, own in kind.attribute_map.items() if own in sizes and own in known}
    given = {key: value for key, value in sizes.items() if key in known}
    config = kind(**given | _FURTHER.get(name, {}))
    for part in ("encoder", "decoder", "text_config"):
        inner = getattr(config, part, None)
        if isinstance(inner, transformers.PreTrainedConfig):
            for key in sizes.keys() & {field.name for field in dataclasses.fields(type(inner))}:
                setattr(inner, key, sizes[key])
            if getattr(inner, "layer_types", None):
                inner.layer_types = inner.layer_types[:LAYERS]
    if isinstance(MODEL_MAPPING[kind], tuple):  # Funnel: which one it is stands in the file
        config.architectures = [f"{modeling_auto.MODEL_MAPPING_NAMES[name][0]}"]
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        auto: Any = AutoModel
        model: torch.nn.Module = auto.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def by_hand(folder: Path, max_length: int) -> np.ndarray[Any, Any]:
    """Return the mean last hidden state of every text alone, by plain Transformers."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    caches = "use_cache" in inspect.signature(model.forward).parameters
    further = {"use_cache": False} if caches else {}
    rows = []
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**inputs, **further).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(rows)


def _further_inputs(kind: Any) -> list[str]:
    """Return the names of a configuration's parts that are for images or sound."""
    found = []
    for name, part in kind.sub_configs.items():
        if name in ("encoder", "decoder", "text_config"):
            found += _further_inputs(part) if hasattr(part, "sub_configs") else []
        elif name not in _PARTS_OF_TEXT_MODELS:
            found.append(name)
    return found


def judge(name: str, folder: Path) -> tuple[str, str]:
    """Return what became of a model type, and the details."""
    if further := _further_inputs(CONFIG_MAPPING[name]):
        return "no text model", f"it has {', '.join(further)}"
    try:
        model: Any = tiny(name, save_tokenizer(folder, ["input_ids", "attention_mask"]))
        if model.main_input_name != "input_ids":
            return "no text model", f"it reads {model.main_input_name}"
        model.save_pretrained(folder)
    except Exception as error:
        return "no tiny model", _line(error)
    try:
        AutoModel.from_pretrained(folder)
    except Exception as error:
        return "no tiny model", f"what AutoModel saved it does not load: {_line(error)}"
    try:
        encoder = Encoder.load(
            EncoderConfig(model=str(folder), pooling=Pooling.MEAN, max_length=64), device="cpu"
        )
        found = [encoder.embed(TEXTS, batch_size=size).last for size in (5, 2, 1)]
        encoder.embed(TEXTS, wide=True)
    except EsmError as error:
        return "refused", error.got.replace(str(folder), name)
    except Exception as error:
        return "traceback", f"{_line(error)} | {traceback.format_exc().splitlines()[-3].strip()}"
    try:
        expected = by_hand(folder, encoder.max_length)
    except Exception as error:
        return "refused by AutoModel", _line(error)
    scale = max(1.0, float(np.abs(expected).max()))
    worst = max(float(np.abs(each - expected).max()) for each in found) / scale
    how = "padded" if encoder.pads else "by length"
    verdict = f"equal, {how}" if worst <= TOLERANCE else f"DIFFERENT, {how}"
    return verdict, f"{worst:.1e}"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:200]


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Interrupt what takes longer than two minutes."""

    def stop(*_: object) -> None:
        raise TimeoutError("took too long")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def results(names: list[str]) -> Iterator[Mapping[str, str]]:
    """Yield one line per model type."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder, time_limit():
            try:
                verdict, details = judge(name, Path(folder))
            except TimeoutError as error:
                verdict, details = "no tiny model", str(error)
        print(f"{name}: {verdict} ({details})", flush=True)
        yield {
            "model_type": name,
            "result": verdict,
            "details": details,
        }


def main() -> None:
    """Judge the model types and write a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="model types; default: all")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    library: Any = transformers.logging
    library.set_verbosity_error()
    table = pd.DataFrame(list(results(options.names or model_types())))
    print(table["result"].value_counts().to_string())
    if options.out is not None:
        table.to_csv(options.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
