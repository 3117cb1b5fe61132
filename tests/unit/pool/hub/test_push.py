"""What is published can be read back, by this tool and by the keys its peer reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from esm.common.errors import HubError, PoolError, SettingError
from esm.common.runtime import Precision
from esm.common.storage import write_json
from esm.encoder.settings import BaseIdentity, Pooling
from esm.maps.files import MapConfig, save_map
from esm.maps.forms import DenseMap, MapForm
from esm.pool.hub.hub import Hub
from esm.pool.hub.pull import pull_pool
from esm.pool.hub.push import export_map, push_maps
from esm.pool.pool import POOL_FORMAT, MapRecord, Pool, PoolManifest, SourceRecord
from esm.tasks.spec import TaskSpec
from esm.tasks.task import Metric, Problem, TaskMetadata
from esm.training.settings import FineTuneConfig
from tests.hub_stand_in import Fault, Repo, hub_stand_in
from tests.published_maps import BASE, WIDTH, arrays, publish_base

HUB_TASK = TaskSpec(
    location="owner/data", config="part", text="premise", text_pair="claim", attributes=("label",)
)


def identity(model, pooling=Pooling.POOLER):
    return BaseIdentity(
        model=str(model),
        weights="a" * 64,
        pooling=pooling,
        max_length=64,
        precision=Precision.FLOAT32,
        width=WIDTH,
        num_layers=2,
    )


def make_pool(folder, base, sources, forms=(MapForm.PUBLISHED,)):
    """Write a pool of dense maps as training leaves it."""
    manifest = PoolManifest(format=POOL_FORMAT, base=base, revision=None, anchors=None, lift=None)
    pool = Pool(folder, manifest)
    write_json(folder / "pool.json", manifest.model_dump(mode="json"))
    for seed, (name, task, licence) in enumerate(sources):
        weight, bias = arrays(seed)
        fitted = DenseMap(weight, bias)
        config = MapConfig.describe(fitted, source=name, base=base, dtype="float32")
        save_map(fitted, pool.source_folder(name) / "published", config)
        fit = MapRecord(rank=WIDTH, penalty=1.0, r2_source=0.91, r2_anchors=0.42, bytes=1)
        record = SourceRecord(
            id=name,
            config_hash="c",
            task=task,
            task_hash="t",
            problem=Problem.CLASSIFICATION,
            metric=Metric.MACRO_F1,
            label_names=("secret-class", "no"),
            metadata=TaskMetadata(language="en", license=licence),
            is_pair=False,
            num_train=900,
            num_used=600,
            fine_tune=FineTuneConfig(),
            quality={"macro_f1": 0.8125},
            maps=dict.fromkeys(forms, fit),
            seconds={"fine_tune": 3.0},
        )
        write_json(pool.source_folder(name) / "source.json", record.model_dump(mode="json"))
    return pool


@pytest.fixture
def pool(tmp_path, tiny_bert):
    file = tmp_path / "private" / "mine.csv"
    file.parent.mkdir()
    file.write_text("text,label\n")
    return make_pool(
        tmp_path / "pool",
        identity(tiny_bert),
        [
            ("nli", HUB_TASK, "cc-by-nc-4.0"),
            (
                "posts",
                TaskSpec(location=str(file), text="text", attributes=("label",)),
                "CC BY 4.0",
            ),
        ],
    )


def exported(pool, out, repo="me", sources=(), **options):
    report = push_maps(pool, repo, sources, base=BASE, out=out, **options)
    return {line.source: out / line.repo.replace("/", "@") for line in report.pushed}


def front_matter(folder):
    return yaml.safe_load((folder / "README.md").read_text().split("---")[1])


def test_the_peer_finds_its_keys_and_names(pool, tmp_path):
    folder = exported(pool, tmp_path / "out")["nli"]
    document = json.loads((folder / "config.json").read_text())
    assert document["esm_transfer"]["base"]["pooling"] == "pooler"
    assert {key: document[key] for key in document if key != "esm_transfer"} == {
        "base_model_name": BASE,
        "task_id": "owner/data",
        "task_subset": "part",
        "text_column": ["premise", "claim"],
        "label_column": "label",
        "task_split": "train",
        "num_examples": 600,
        "seed": 0,
        "language": "en",
        "esm_architecture": "linear",
        "esm_embedding_dim": WIDTH,
        "lm_num_epochs": 2,
        "lm_batch_size": 16,
        "lm_learning_rate": 1e-4,
        "lm_weight_decay": 0.01,
        "lm_optimizer": "AdamW",
        "esm_num_epochs": None,
        "esm_batch_size": None,
        "esm_learning_rate": None,
        "esm_weight_decay": None,
        "esm_optimizer": None,
        "developers": None,
        "version": "0.2.1",
    }
    tensors = load_file(folder / "model.safetensors")
    assert set(tensors) == {"model.weight", "model.bias"}
    np.testing.assert_array_equal(tensors["model.weight"], arrays(0)[0])


def test_nothing_of_this_machine_is_published(pool, tmp_path, tiny_bert):
    folder = exported(pool, tmp_path / "out")["posts"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    for path in folder.iterdir():
        content = path.read_bytes()
        for private in (str(tmp_path), str(tiny_bert), "mine.csv", "secret-class"):
            assert private.encode() not in content
    document = json.loads((folder / "config.json").read_text())
    assert (document["task_id"], document["label_column"]) == ("posts", None)
    assert "datasets" not in front_matter(folder)


def test_the_card_says_what_the_map_is_and_on_whose_terms(pool, tmp_path):
    folders = exported(pool, tmp_path / "out")
    assert front_matter(folders["nli"]) == {
        "base_model": BASE,
        "datasets": ["owner/data"],
        "language": ["en"],
        "license": "cc-by-nc-4.0",
        "tags": ["embedding_space_map", f"BaseLM:{BASE}"],
    }
    card = (folders["nli"] / "README.md").read_text()
    for said in (
        "| Source task | owner/data part (classification) |",
        "| Licence of the data | cc-by-nc-4.0 (non-commercial) |",
        "| R² on texts of other tasks | 0.42 |",
        "| Held-out macro_f1 | 0.812 |",
        "**non-commercial use only**",
        f"esm pool pull --base {BASE} --pool maps",
        'ESM.from_pretrained("me/ESM_nli")',
    ):
        assert said in card
    assert front_matter(folders["posts"])["license"] == "cc-by-4.0"
    assert "commercial" not in (folders["posts"] / "README.md").read_text()


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Research purposes only", {"license": "other", "license_name": "research-purposes-only"}),
        ("", {}),
    ],
)
def test_a_licence_without_a_name_on_the_hub(tmp_path, tiny_bert, licence, expected):
    pool = make_pool(tmp_path / "pool", identity(tiny_bert), [("nli", HUB_TASK, licence)])
    folder = exported(pool, tmp_path / "out")["nli"]
    found = front_matter(folder)
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected
    assert ("do not state a licence" in (folder / "README.md").read_text()) == (not licence)


def test_what_was_published_can_be_pulled(pool, tmp_path):
    with hub_stand_in() as hub:
        publish_base(hub)
        for source, folder in exported(pool, tmp_path / "out").items():
            tags = front_matter(folder)["tags"]
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            hub.models[f"me/ESM_{source}"] = Repo(files, tags)
        report = pull_pool(BASE, tmp_path / "again", hub=Hub(hub.endpoint))
    assert report.fetched == ("me/ESM_nli", "me/ESM_posts")
    entry = Pool.open(tmp_path / "again").entry("me/ESM_nli")
    np.testing.assert_array_equal(entry.load_map(MapForm.PUBLISHED).weight, arrays(0)[0])
    assert entry.record.num_used == 600
    assert entry.record.task.text_pair == "claim"


def test_what_was_fetched_is_not_published_again(pool, tmp_path):
    with hub_stand_in() as hub:
        publish_base(hub)
        folder = exported(pool, tmp_path / "out")["nli"]
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        hub.models["me/ESM_nli"] = Repo(files, front_matter(folder)["tags"])
        pull_pool(BASE, tmp_path / "again", hub=Hub(hub.endpoint))
    entry = Pool.open(tmp_path / "again").entry("me/ESM_nli")
    with pytest.raises(PoolError, match="was fetched from the Hub"):
        export_map(entry, tmp_path / "x", repo="a/b", base=BASE)


def test_another_pooling_than_the_peers_is_refused(tmp_path, tiny_bert):
    base = identity(tiny_bert, Pooling.MEAN)
    pool = make_pool(tmp_path / "pool", base, [("nli", HUB_TASK, "")])
    with pytest.raises(PoolError, match=r"for mean pooling.*expected pooler pooling"):
        exported(pool, tmp_path / "out")
    # For sentence-transformers' models the peer takes the mean as well.
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert push_maps(pool, "me", base=name, out=tmp_path / "out").pushed


def test_an_anchored_map_stays_with_its_pool(tmp_path, tiny_bert):
    sources = [("nli", HUB_TASK, "")]
    pool = make_pool(tmp_path / "pool", identity(tiny_bert), sources, forms=(MapForm.ANCHORED,))
    report = push_maps(pool, "me", base=BASE, out=tmp_path / "out")
    assert "an anchored map only, which is of no use without this pool" in report.skipped[0].reason
    with pytest.raises(PoolError, match="--map anchored,published"):
        push_maps(pool, "me", base=BASE, out=tmp_path / "out", strict=True)


def test_names_are_checked(pool, tmp_path):
    with pytest.raises(SettingError, match="repository 'me/one' for 2 maps"):
        exported(pool, tmp_path / "out", repo="me/one")
    with pytest.raises(SettingError, match=r"'../me'"):
        exported(pool, tmp_path / "out", repo="../me")
    with pytest.raises(SettingError, match=r"is 'tiny-bert', a folder.*--base owner/name"):
        push_maps(pool, "me", out=tmp_path / "out")
    assert list(exported(pool, tmp_path / "out", "me/one", ["nli"]).values()) == [
        tmp_path / "out" / "me@one"
    ]
    with pytest.raises(PoolError, match="no source 'none'"):
        exported(pool, tmp_path / "out", sources=["none"])


def test_a_base_that_the_hub_cannot_describe_stays_here(tmp_path, tiny_bert):
    sources = [("nli", HUB_TASK, "")]
    changes = {"prefix": "claim: "}, {"model": "multilingual"}
    messages = (
        r"with the prefix 'claim: '.*--prefix ''",
        "is not on the Hub: it is made from 4 bits",
    )
    for number, (change, message) in enumerate(zip(changes, messages, strict=True)):
        base = identity(tiny_bert).model_copy(update=change)
        pool = make_pool(tmp_path / f"pool-{number}", base, sources)
        with pytest.raises(SettingError, match=message):
            push_maps(pool, "me", out=tmp_path / "out")


def test_a_map_is_uploaded_into_a_repository_of_its_own(pool, monkeypatch):
    uploaded = {}

    def upload(self, *, repo_id, folder_path, commit_message):
        del self, commit_message
        uploaded[repo_id] = sorted(path.name for path in folder_path.iterdir())

    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", upload)
    with hub_stand_in() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setenv("HF_TOKEN", "hf_x")
        report = push_maps(pool, "me", base=BASE, private=True)
        assert hub.created == {"me/ESM_nli": True, "me/ESM_posts": True}
        assert report.pushed[0].url == f"{hub.endpoint}/me/ESM_nli"
        hub.faults.append(Fault("/api/repos", 403))
        with pytest.raises(HubError, match=r"the Hub refuses me/ESM_nli \(HTTP 403\)"):
            push_maps(pool, "me", base=BASE)
    assert uploaded["me/ESM_nli"] == ["README.md", "config.json", "model.safetensors"]
