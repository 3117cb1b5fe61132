"""Make the folders of runs that every later version has to read: ``folders/`` beside this file.

They were made by version 0.1.0 as it was at commit 71496ee::

    python -m tests.golden.make_folders DEST

All paths in them are relative to the folder in which the commands run, as they were given; so the
commands of :data:`COMMANDS` are repeated from a copy of ``folders/`` as working directory, with
the encoder of :func:`save_encoder` beside it. Its weights are whole multiples of 1/64, so that
they are the same, bit for bit, on every machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers as hf

from tests.small_world import SOURCES, make_world
from tests.tiny_models import KINDS

ENCODER = "encoder"
_TRAINING = (
    *("--epochs", "1", "--batch-size", "8"),
    *("--adapter-size", "2", "--learning-rate", "0.02"),
)
_VALIDATE = [*_TRAINING, "--device", "cpu"]
COMMANDS = {
    "validated": [
        *("validate", "ranking.json", "--out", "validated", "--attribute", "harmful"),
        *("--strategy", "houlsby", "--top", "2", "--random-sources", "1", "--seeds", "2"),
        *_VALIDATE,
    ],
    "folded": [
        *("validate", "ranking-folds.json", "--out", "folded", "--attribute", "harmful"),
        *("--strategy", "features", "--top", "1", "--controls", "random", "--seeds", "1"),
        *_VALIDATE,
    ],
    "compared": [
        *("compare", "posts.csv", "--out", "compared", "--text", "text"),
        *("--attribute", "harmful,topic", "--test", "posts-test.csv"),
        *("--ranking", "ranking.json", "--source", "auto", "--top", "1"),
        *("--strategy", "ensemble:features,multitask,features"),
        *("--seeds", "2", "--examples", "20,all", "--predictions", "other=other.csv"),
        *_TRAINING,
        *("--device", "cpu", "--no-cache"),
    ],
}
PREDICT = ("--text", "text", "--device", "cpu")


def save_encoder(folder: Path) -> Path:
    """Save an encoder of one layer, eight wide, whose weights are drawn as whole numbers."""
    tokenizer = KINDS["bert"].tokenizer()
    config = hf.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=32,
    )
    model = hf.BertModel(config)
    generator = np.random.default_rng(0)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            drawn = torch.from_numpy(generator.integers(-24, 25, tuple(weight.shape)) / 64)
            weight.copy_(drawn + ("LayerNorm.weight" in name))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make(folder: Path) -> None:
    """Make data, pool, rankings and the three runs; the encoder and the pool's data stay out."""
    from esm import Encoder, EncoderConfig, load_targets
    from esm.tasks.spec import SplitSpec
    from esm.tasks.task import joint_hash

    folder.mkdir(parents=True)
    os.chdir(folder)
    save_encoder(Path(ENCODER))
    identity = Encoder.load(EncoderConfig(model=ENCODER, max_length=32), device="cpu").identity
    world = make_world(Path(), identity)
    world.ranking.save(Path("ranking.json"))
    split = SplitSpec(method="k-fold", folds=3)
    spec = world.ranking.target_spec.model_copy(update={"test": None, "split": split})
    by_fold = (SOURCES, SOURCES[::-1], SOURCES)
    changes = {
        "target_spec": spec,
        "target_hash": joint_hash(load_targets(spec)),
        "attributes": {
            name: ranked.model_copy(update={"by_fold": by_fold})
            for name, ranked in world.ranking.attributes.items()
        },
    }
    world.ranking.model_copy(update=changes).save(Path("ranking-folds.json"))
    posts = pd.read_csv("posts-test.csv")
    posts["harmful"] = np.where(np.arange(len(posts)) % 4 == 0, "no", posts["harmful"])
    posts.to_csv("other.csv", index=False)
    for name, command in COMMANDS.items():
        predict = ["predict", name, "posts-test.csv", "--out", f"{name}.csv", *PREDICT]
        for words in (command, predict):
            subprocess.run([sys.executable, "-m", "esm", *words], check=True)
    shutil.rmtree(ENCODER)
    for file in Path().glob("*.split.json"):  # drawn again by the same seed
        file.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
