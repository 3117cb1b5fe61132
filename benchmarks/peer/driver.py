"""Run hf-dataset-selector on a job and time it; executed by the Python of its own environment.

    python -m benchmarks.peer.driver JOB.json ANSWER.json

Nothing but the package's public functions is called: ``ESM.from_pretrained`` and the map itself,
``LogME.fit``, ``compute_scores`` and ``compute_task_ranking``. Jobs are described in
:mod:`benchmarks.jobs`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Clock, Memory, versions

Job = Mapping[str, Any]

# What compute_scores takes when nothing else is said.
_BATCH = 128


def score_maps(job: Job) -> dict[str, Any]:
    """Load, apply and score maps one after the other, as ``compute_scores`` does, by case."""
    torch, hfselect = importlib.import_module("torch"), importlib.import_module("hfselect")
    logme = importlib.import_module("hfselect.logme").LogME
    logme().fit(np.random.default_rng(0).random((40, 8), np.float32), np.arange(40) % 2)  # compiles
    found: dict[str, Any] = {}
    for case in job["cases"]:
        base = torch.from_numpy(np.load(case["base"]))
        labels = np.load(case["labels"])
        scores = []
        with Clock() as clock, torch.no_grad():
            for folder in case["maps"]:
                one = hfselect.ESM.from_pretrained(folder)
                mapped = [one(base[i : i + _BATCH]).numpy() for i in range(0, len(base), _BATCH)]
                scores.append(float(logme().fit(np.vstack(mapped), labels)))
        count = len(case["maps"])
        found[case["name"]] = {"per_map": clock.seconds(count), "maps": count, "scores": scores}
    return found


def embed(job: Job) -> dict[str, Any]:
    """Load the encoder and embed texts, without a map."""
    hfselect = importlib.import_module("hfselect")
    transformers = importlib.import_module("transformers")
    data = _dataset(job)
    with Clock() as loading:
        model = transformers.AutoModel.from_pretrained(job["model"])
        tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    with Clock() as embedding:
        hfselect.compute_scores(data, model, [], tokenizer)
    return {"load": loading.seconds(), "embed": embedding.seconds()}


def rank(job: Job) -> dict[str, Any]:
    """Rank maps for texts: from folders on disk to a ranking."""
    hfselect = importlib.import_module("hfselect")
    with Clock() as clock:
        maps = [hfselect.ESM.from_pretrained(folder) for folder in job["maps"]]
        ranking = hfselect.compute_task_ranking(_dataset(job), job["model"], esms=maps)
    ids = [config.task_id for config in ranking.esm_configs]
    scores = dict(zip(ids, map(float, ranking.scores), strict=True))
    return {"rank": clock.seconds(), "maps": len(scores), "scores": scores}


def _dataset(job: Job) -> Any:
    datasets, hfselect = importlib.import_module("datasets"), importlib.import_module("hfselect")
    content = json.loads(Path(job["texts"]).read_text(encoding="utf-8"))
    rows = datasets.Dataset.from_dict({"text": content["texts"], "label": content["labels"]})
    return hfselect.Dataset(rows, text_col="text", label_col="label", is_regression=False)


_KINDS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "maps": score_maps,
    "embed": embed,
    "rank": rank,
}


def main() -> None:
    """Read the job, do it, write the answer."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    importlib.import_module("torch").set_num_threads(job["threads"])
    with Memory() as memory:
        found = _KINDS[job["kind"]](job)
    packages = ("hf-dataset-selector", "torch", "numpy", "numba", "transformers")
    answer = {
        "result": found,
        "memory": memory.peaks(),
        "versions": versions(*packages),
    }
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
