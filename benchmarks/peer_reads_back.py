"""Does hf-dataset-selector read the maps that ``esm pool push`` publishes?

A small pool is trained on the demo's tasks, its dense maps are written as they would be published,
and hf-dataset-selector, installed in an environment of its own, loads each of them and applies it
to the same embeddings. Its outputs have to be ours, and its description valid::

    .venv/bin/python -m benchmarks.peer_reads_back

The first installation takes minutes; it is the one that ``make bench`` uses.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.peer.environment import DEFAULT, install
from esm.cli.demo.tasks import write_demo_tasks
from esm.encoder.settings import OFFLINE
from esm.maps.forms import MapForm
from esm.pool.hub.push import push_maps
from esm.pool.pool import Pool

_SOURCES = 2
_TEXTS = 50
_TOLERANCE = 1e-4

# Runs in the peer's environment: folder of maps and folder of embeddings in, JSON out.
_PEER_SCRIPT = """
import json, sys
from pathlib import Path
import numpy, torch
from hfselect import ESM

base = torch.from_numpy(numpy.load(Path(sys.argv[2]) / "base.npy"))
found = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    esm = ESM.from_pretrained(str(folder))
    if esm.is_legacy_model:
        esm.convert_legacy_to_new()
    with torch.no_grad():
        numpy.save(Path(sys.argv[2]) / f"{folder.name}.npy", esm(base).numpy())
    config = esm.create_config()
    found[folder.name] = {
        "valid": bool(config.is_valid),
        "initialised": esm.is_initialized,
        "task": config.task_id,
        "base": config.base_model_name,
        "rows": config.num_examples,
    }
print(json.dumps(found))
"""


def trained_pool(folder: Path) -> Pool:
    """Train a small pool with dense maps by the command line."""
    sources = write_demo_tasks(folder / "tasks").sources[:_SOURCES]
    options = ("--epochs", "1", "--max-examples", "64", "--anchors-per-task", "30")
    subprocess.run(
        [
            *(sys.executable, "-m", "esm", "--quiet", "train", *map(str, sources)),
            *("--pool", str(folder / "pool"), "--base", OFFLINE, "--map", "published", *options),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return Pool.open(folder / "pool")


def compare(python: Path, folder: Path) -> bool:
    """Publish into a folder, let the peer read it, print what it found; return whether all fits."""
    pool = trained_pool(folder)
    report = push_maps(pool, "me", out=folder / "published", strict=True)
    exchange = folder / "exchange"
    exchange.mkdir()
    width = pool.manifest.base.width
    base = np.random.default_rng(0).standard_normal((_TEXTS, width)).astype(np.float32)
    np.save(exchange / "base.npy", base)
    answer = subprocess.run(
        [str(python), "-c", _PEER_SCRIPT, str(folder / "published"), str(exchange)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(answer.stdout.splitlines()[-1])
    fits = True
    for line in report.pushed:
        name = line.repo.replace("/", "@")
        ours = pool.entry(line.source).load_map(MapForm.PUBLISHED).apply(base)
        difference = float(np.abs(ours - np.load(exchange / f"{name}.npy")).max())
        good = found[name]["valid"] and found[name]["initialised"] and difference <= _TOLERANCE
        fits = fits and good
        print(f"{line.repo}: {found[name]}, largest difference {difference:.1e}")
    return fits


def main() -> None:
    """Read the options and run; the exit code says whether all maps were read."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--environment", type=Path, default=DEFAULT, help="The peer's.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = install(options.environment)
        fits = compare(python, folder)
    print("hf-dataset-selector reads all maps" if fits else "hf-dataset-selector misreads maps")
    sys.exit(0 if fits else 1)


if __name__ == "__main__":
    main()
