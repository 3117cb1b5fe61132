"""Exported models: the code of their README runs without esm and says what esm says."""

from __future__ import annotations

import contextlib
import io
import json
import re
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from esm.common.errors import MapError, StorageError, ValidationError
from esm.encoder.encoder import Encoder, EncoderConfig
from esm.encoder.settings import Pooling
from esm.inference.export import export_run
from esm.inference.predict import predict_file
from esm.report.inference import export_tables
from esm.tasks.task import Problem
from esm.trials.models import ModelStore
from esm.trials.results import Validation
from tests.tiny_models import save_tiny
from tests.toy_tasks import TEXT_KINDS, toy_task
from tests.trained_world import make_run

TEXTS = ["the film was very good", "the team", "it was the worst čaj, truly, of the year " * 3]
SECONDS = ["it is good", "slow", "no"]


def code_of(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    return block


def run_here(folder, *columns):
    """Run the README's code in this process; return what it predicts."""
    names = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code_of(folder), "README.md", "exec"), names)
        return names["predict"](*columns).numpy()


def run_without_esm(folders):
    """Run the code of several folders where esm cannot be imported; return what it prints."""
    program = textwrap.dedent("""
        import json, os, sys
        sys.modules["esm"] = None
        for folder, code, columns in json.loads(sys.stdin.read()):
            os.chdir(folder)
            exec(code, names := {})
            print(json.dumps(names["predict"](*columns).tolist()))
    """)
    jobs = [(str(folder), code_of(folder), columns) for folder, columns in folders]
    ended = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "newly initialized" not in ended.stderr
    return ended.stdout.splitlines()


def predicted_by_esm(run, tmp_path, attribute, *columns):
    path = tmp_path / "new.jsonl"
    names = ("text", "text_pair")
    rows = [dict(zip(names, row, strict=False)) for row in zip(*columns, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = predict_file(run.folder, path, attributes=[attribute], device="cpu")
    one = found.attributes[attribute]
    return np.array(one.labels)[:, None] if one.probabilities is None else one.probabilities


@pytest.mark.slow
def test_the_code_of_the_readme_needs_no_esm(tmp_path, tiny_encoder):
    tasks = {"je to téma?": toy_task(), "hodnota": toy_task(Problem.REGRESSION)}
    run = make_run(tmp_path / "run", tiny_encoder, tasks, name="houlsby")
    first, second = export_run(run.folder, tmp_path / "out")
    assert (first.folder.name, first.models) == ("je-to-tema", 2)
    printed = run_without_esm([(first.folder, [TEXTS]), (second.folder, [TEXTS])])
    assert re.fullmatch(r"[abc] 0\.\d{3}", printed[0])
    for attribute, line in (("je to téma?", printed[1]), ("hodnota", printed[3])):
        expected = predicted_by_esm(run, tmp_path, attribute, TEXTS)
        np.testing.assert_allclose(json.loads(line), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "problem"),
    [(name, problem) for name in ("features", "full", "head") for problem in TEXT_KINDS]
    + [
        (name, Problem.CLASSIFICATION)
        for name in ("pfeiffer", "lora", "ia3", "gradual", "aux-lm", "prototype", "scratch")
    ]
    + [("dapt", Problem.MULTILABEL), ("dapt+lora", Problem.CLASSIFICATION)],
)
def test_every_strategy_and_kind_of_output(tmp_path, tiny_encoder, name, problem):
    run = make_run(tmp_path / "run", tiny_encoder, {"a": toy_task(problem)}, name=name, seeds=1)
    (exported,) = export_run(run.folder, tmp_path / "out")
    found = run_here(exported.folder, TEXTS)
    expected = predicted_by_esm(run, tmp_path, "a", TEXTS)
    if problem is Problem.ORDINAL:  # the code gives the value, esm the class nearest to it
        nearest = np.rint(found[:, 0]).clip(0, 2).astype(int)
        assert ["abc"[rank] for rank in nearest] == expected[:, 0].tolist()
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tfidf", "it has no encoder"),
        ("knn", "it asks the training rows"),
        ("prompt", "learned vectors stand before its tokens"),
        ("dapt+knn", "it asks the training rows"),
    ],
)
def test_what_no_plain_model_can_do_is_refused(tmp_path, tiny_encoder, name, reason):
    run = make_run(tmp_path / "run", tiny_encoder, {"a": toy_task()}, name=name, seeds=1)
    with pytest.raises(ValidationError, match=rf"cannot be exported: {reason}.*try: esm predict"):
        export_run(run.folder, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert predicted_by_esm(run, tmp_path, "a", TEXTS).shape == (3, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("roberta", Pooling.CLS),
        ("gpt2", Pooling.LAST),
        ("bert", Pooling.POOLER),
        ("t5", Pooling.MEAN),
        ("distilbert", Pooling.MEAN),
        ("modernbert", Pooling.CLS),
    ],
)
def test_architectures_poolings_and_pairs(tmp_path, kind, pooling):
    config = EncoderConfig(
        model=str(save_tiny(kind, tmp_path / "model")), pooling=pooling, max_length=24
    )
    encoder = Encoder.load(config, device="cpu")
    task = toy_task(pairs=True)
    columns = ("text", "text_pair")
    run = make_run(
        tmp_path / "run",
        encoder,
        {"a": task},
        name="houlsby",
        seeds=1,
        source="reviews",
        text_columns=columns,
    )
    (exported,) = export_run(run.folder, tmp_path / "out")
    found = run_here(exported.folder, TEXTS, SECONDS)
    expected = predicted_by_esm(run, tmp_path, "a", TEXTS, SECONDS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["features", "houlsby"])
def test_long_texts_in_chunks(tmp_path, tiny_bert, name):
    config = EncoderConfig(model=str(tiny_bert), max_length=12, max_chunks=3, stride=20)
    encoder = Encoder.load(config, device="cpu")
    run = make_run(tmp_path / "run", encoder, {"a": toy_task()}, name=name, seeds=1)
    (exported,) = export_run(run.folder, tmp_path / "out")
    texts = [*TEXTS, "", " ".join(["good bad the film"] * 5), " ".join(["awful"] * 21)]
    found = run_here(exported.folder, texts)
    filled = [0, 1, 2, 4, 5]
    texts = [texts[row] for row in filled]
    np.testing.assert_allclose(
        found[filled], predicted_by_esm(run, tmp_path, "a", texts), atol=1e-5
    )
    page = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "Longer texts are read in up to 3 chunks of 12 tokens" in page


def test_pairs_in_chunks_have_no_plain_code(tmp_path, tiny_bert):
    config = EncoderConfig(model=str(tiny_bert), max_length=12, max_chunks=3)
    encoder = Encoder.load(config, device="cpu")
    run = make_run(tmp_path / "run", encoder, {"a": toy_task(pairs=True)}, seeds=1)
    with pytest.raises(ValidationError, match="a is predicted from pairs of texts that are read"):
        export_run(run.folder, tmp_path / "out")


def features_run(tmp_path, encoder, **tasks):
    return make_run(tmp_path / "run", encoder, tasks or {"topic": toy_task()})


def test_the_readme_says_what_the_model_is_and_nothing_of_the_machine(tmp_path, tiny_encoder):
    run = features_run(tmp_path, tiny_encoder)
    (exported,) = export_run(run.folder, tmp_path / "out")
    page = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert page.startswith(
        "# posts/topic\n\nPredicts `topic`: `a`, `b` and `c`. Trained on 48 rows"
    )
    assert "macro_f1 0.812 ± 0.010 on 24 test rows" in page
    assert "temperature scaling (Guo et al. 2017) on 24 test rows" in page
    assert str(tmp_path) not in page + (exported.folder / "labels.json").read_text()
    assert "import esm" not in page
    assert 35 <= len(code_of(exported.folder).splitlines()) <= 80


def test_what_derives_from_the_target_is_private(tmp_path, tiny_encoder):
    (exported,) = export_run(features_run(tmp_path, tiny_encoder).folder, tmp_path / "out")
    names = {path.name for path in exported.folder.iterdir()}
    files = {"README.md", "labels.json", "model-1.safetensors", "model-2.safetensors"}
    assert names == {"encoder", *files}
    everything = [path for path in exported.folder.rglob("*") if path.is_file()]
    for path in everything:  # the encoder too: its source may be another attribute of the target
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert exported.bytes == sum(path.stat().st_size for path in everything)


def terms_of(folder):
    page = (folder / "README.md").read_text(encoding="utf-8")
    return page.partition("## Terms\n\n")[2].strip()


def test_licences_of_target_and_source_go_with_the_model(tmp_path, tiny_encoder):
    licences = {"licence": "CC BY 4.0", "source_licence": "cc-by-nc-4.0"}
    tasks = {"topic": toy_task()}
    run = make_run(tmp_path / "run", tiny_encoder, tasks, source="reviews", seeds=1, **licences)
    (exported,) = export_run(run.folder, tmp_path / "out")
    listed = {"posts": "CC BY 4.0", "reviews": "cc-by-nc-4.0 (non-commercial)"}
    assert json.loads((exported.folder / "labels.json").read_text())["licences"] == listed
    assert terms_of(exported.folder) == (
        "Licences of the data that the model was trained on: `posts`: CC BY 4.0; `reviews`:"
        " cc-by-nc-4.0 (non-commercial). The encoder all-MiniLM-L6-v2 has a licence of its own."
        " Some of the data are for **non-commercial use only**: use the model, and the labels that"
        " it gives, on the same terms."
    )


def test_licences_that_are_not_stated_are_said_too(tmp_path, tiny_encoder):
    (exported,) = export_run(features_run(tmp_path, tiny_encoder).folder, tmp_path / "out")
    assert terms_of(exported.folder) == (
        "Licences of the data that the model was trained on: `posts`: not stated; no source task."
        " The encoder all-MiniLM-L6-v2 has a licence of its own."
    )


def test_some_attributes_only(tmp_path, tiny_encoder):
    run = features_run(tmp_path, tiny_encoder, a=toy_task(), b=toy_task(Problem.REGRESSION))
    exported = export_run(run.folder, tmp_path / "out", attributes=["b"])
    assert [one.attribute for one in exported] == ["b"]
    (table,) = export_tables(exported)
    assert table.rows[0][:3] == ("b", "none", "2")


def test_a_folder_that_is_there_is_not_touched(tmp_path, tiny_encoder):
    run = features_run(tmp_path, tiny_encoder)
    kept = tmp_path / "out" / "topic"
    kept.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"topic is there already.*--to"):
        export_run(run.folder, tmp_path / "out")
    assert not list(kept.iterdir())


def test_truncated_weights_are_not_exported(tmp_path, tiny_encoder):
    run = features_run(tmp_path, tiny_encoder)
    path = ModelStore(run.folder).models()[0].whole / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MapError, match="truncated"):
        export_run(run.folder, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_run_without_a_winner(tmp_path, tiny_encoder):
    run = features_run(tmp_path, tiny_encoder)
    Validation.load(run.folder).model_copy(update={"winners": {}}).save(run.folder)
    with pytest.raises(ValidationError, match="has no winner for any attribute"):
        export_run(run.folder, tmp_path / "out")
