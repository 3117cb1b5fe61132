"""Published maps of every generation enter a pool whole, pinned and checked, or not at all."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from esm.common.errors import BusyError, HubError, MapError, PoolError
from esm.common.storage import folder_lock
from esm.encoder.settings import Pooling
from esm.maps.forms import MapForm
from esm.pool.hub.filters import Filters
from esm.pool.hub.http import HubDownError
from esm.pool.hub.hub import Hub
from esm.pool.hub.pull import list_published, pull_pool
from esm.pool.pool import Pool
from esm.tasks.spec import TaskSpec
from esm.training.settings import FineTuneConfig
from tests.hub_stand_in import Fault, hub_stand_in
from tests.published_maps import (
    BASE,
    LEGACY,
    arrays,
    config,
    publish,
    publish_base,
    weights,
)


@pytest.fixture
def hub():
    with hub_stand_in() as stand_in:
        publish_base(stand_in)
        yield stand_in


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting, by the client and by huggingface_hub."""
    waited = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=time.monotonic)
    for module in ("esm.pool.hub.http", "huggingface_hub.utils._http"):
        monkeypatch.setattr(f"{module}.time", clock)
    return waited


@pytest.fixture
def pull(hub, waits, tmp_path):
    def run(*filters, base=BASE, **options):
        reader = Hub(hub.endpoint)
        return pull_pool(base, tmp_path / "pool", Filters.parse(filters), hub=reader, **options)

    return run


@pytest.fixture
def pool_of(tmp_path):
    return lambda: Pool.open(tmp_path / "pool")


def reasons(report):
    return {skip.source: skip.reason for skip in report.skipped}


# --------------------------------------------------------------------------------- generations


@pytest.mark.parametrize("prefix", ["sequential.0.", "model."])
@pytest.mark.parametrize("generation", [1, 2, 3, 4])
def test_a_map_of_every_generation_is_read(hub, pull, pool_of, generation, prefix):
    publish(hub, "some/ESM_one", config(generation), weights(7, prefix=prefix))
    assert pull().fetched == ("some/ESM_one",)
    entry = pool_of().entry("some/ESM_one")
    loaded = entry.load_map(MapForm.PUBLISHED)
    weight, bias = arrays(7)
    np.testing.assert_array_equal(loaded.weight, weight)
    np.testing.assert_array_equal(loaded.bias, bias)
    assert entry.record.published.generation == generation
    assert entry.record.published.commit == hub.models["some/ESM_one"].commit


def test_what_a_map_states_becomes_the_record(hub, pull, pool_of):
    publish(
        hub,
        "some/ESM_pairs",
        config(2, text_column=["premise", "hypothesis"], num_examples=635, seed=None),
    )
    hub.datasets["owner/data"] = ["language:sk", "language:cs", "license:cc-by-nc-4.0", "task:nli"]
    pull()
    record = pool_of().entry("some/ESM_pairs").record
    assert record.task == TaskSpec(
        location="owner/data",
        config="default",
        text="premise",
        text_pair="hypothesis",
        attributes=("label",),
        train_split="train",
    )
    assert record.fine_tune == FineTuneConfig(
        num_epochs=3,
        batch_size=32,
        learning_rate=2e-5,
        warmup_fraction=0,
        weight_decay=0.01,
        max_examples=635,
        seed=0,
    )
    assert (record.num_used, record.is_pair, record.task_hash) == (635, True, None)
    assert (record.metadata.language, record.metadata.license) == ("sk, cs", "cc-by-nc-4.0")
    assert record.maps[MapForm.PUBLISHED].r2_anchors is None


def test_the_first_generation_states_nothing_but_its_width(hub, pull, pool_of):
    publish(
        hub,
        "some/ESM_old",
        config(1),
        tags=(f"BaseLM:{LEGACY}", "dataset:owner/data", "license:apache-2.0"),
    )
    hub.datasets["owner/data"] = ["license:mit"]
    pull()
    record = pool_of().entry("some/ESM_old").record
    assert record.task is None
    assert record.num_used is None
    assert (record.metadata.name, record.metadata.license) == ("owner/data", "mit")


def test_the_pool_knows_its_base_model_by_name_and_the_peers_pooling(pull, hub, pool_of):
    publish(hub, "some/ESM_one", config(4))
    pull(base=LEGACY)
    manifest = pool_of().manifest
    assert manifest.base.model == BASE
    assert manifest.base.weights is None
    assert manifest.base.pooling is Pooling.POOLER
    assert (manifest.base.width, manifest.base.num_layers, manifest.base.max_length) == (32, 2, 64)
    assert manifest.revision == hub.models[BASE].commit
    assert (manifest.anchors, manifest.lift) == (None, None)


# ----------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("document", "content", "reason"),
    [
        (config(4), weights(prefix="layer."), "tensors layer.bias, layer.weight; expected model"),
        (config(4, esm_embedding_dim=768), weights(), "weights of width 32; expected 768"),
        (config(2), weights(width=16), "is of width 16; expected 32"),
        (config(2, base_model_name="roberta-base"), weights(), "made for base model roberta-base"),
        (config(1, optional_layer_dims=[64]), weights(), "a map of several layers"),
        (config(2, esm_architecture="mlp"), weights(), "of architecture 'mlp'"),
        (config(2, num_examples="many"), weights(), "num_examples: Input should be a valid int"),
        (config(2), weights()[:-40], "is truncated or not safetensors"),
        (config(2), b"", "is truncated or not safetensors"),
    ],
)
def test_a_map_that_does_not_fit_is_left_out_and_said(hub, pull, document, content, reason):
    publish(hub, "some/ESM_bad", document, content, tags=(f"base_model:{BASE}",))
    publish(hub, "some/ESM_good", config(4))
    report = pull()
    assert report.fetched == ("some/ESM_good",)
    assert reason in reasons(report)["some/ESM_bad"]
    with pytest.raises(MapError, match="ESM_bad"):
        pull(strict=True)


def test_other_formats_than_safetensors_are_not_read(hub, pull):
    repo = publish(hub, "some/ESM_pickle", config(2))
    repo.files["pytorch_model.bin"] = repo.files.pop("model.safetensors")
    report = pull()
    assert "has no model.safetensors" in reasons(report)["some/ESM_pickle"]
    assert not hub.files_asked("pytorch_model.bin")


def test_numbers_that_are_not_finite_are_refused(hub, pull):
    from safetensors.numpy import save

    weight, bias = arrays()
    bias[3] = np.nan
    publish(hub, "some/ESM_nan", config(4), save({"model.weight": weight, "model.bias": bias}))
    assert "bias holds 1 numbers that are not finite" in reasons(pull())["some/ESM_nan"]


@pytest.mark.parametrize(
    "name", ["../ESM_up", "some/../ESM_up", "some/ESM..up", "some/a/b", "", "/a"]
)
def test_names_that_climb_make_no_folder(hub, pull, tmp_path, name):
    publish(hub, name, config(4))
    publish(hub, "some/ESM_good", config(4))
    report = pull()
    assert report.fetched == ("some/ESM_good",)
    assert "the Hub lists a map called" in reasons(report)[name]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pool"]
    assert [path.name for path in (tmp_path / "pool/sources").iterdir()] == ["some@ESM_good"]


def test_file_names_and_datasets_that_climb_are_not_followed(hub, pull, pool_of, tmp_path):
    repo = publish(hub, "some/ESM_one", config(4, task_id="../../etc/passwd"))
    repo.files["../escaped.json"] = b"{}"
    pull()
    assert not (tmp_path / "escaped.json").exists()
    assert pool_of().entry("some/ESM_one").record.task is None
    assert not any("passwd" in path for path in hub.asked)


def test_a_base_model_that_the_peer_cannot_embed_with_is_refused(hub, pull):
    publish_base(hub, model_type="modernbert")
    with pytest.raises(PoolError, match=r"of type 'modernbert'; expected .*bert, roberta"):
        pull()


def test_a_base_model_that_is_not_there_is_refused(pull):
    with pytest.raises(HubError, match=r"no model 'some/none' on the Hub"):
        pull(base="some/none")
    with pytest.raises(HubError, match=r"is no Hub id"):
        pull(base="../here")


def test_a_pool_for_another_base_model_is_refused(hub, pull, pool_of):
    publish(hub, "some/ESM_one", config(4))
    pull()
    hub.models["some/other"] = hub.models[BASE]
    with pytest.raises(PoolError, match=r"is for google-bert/bert-tiny.*expected some/other"):
        pull(base="some/other")


def test_a_source_that_was_trained_here_is_not_replaced(hub, pull, pool_of, tmp_path):
    publish(hub, "some/ESM_one", config(4))
    pull()
    path = tmp_path / "pool/sources/some@ESM_one/source.json"
    document = json.loads(path.read_text()) | {"published": None}
    path.write_text(json.dumps(document))
    assert "that was trained here" in reasons(pull())["some/ESM_one"]


def test_one_writer_at_a_time(pull, tmp_path):
    with folder_lock(tmp_path / "pool"), pytest.raises(BusyError):
        pull()


# ----------------------------------------------------------------------------- finding, resuming


def test_current_and_legacy_tags_and_all_pages_are_found(hub, pull):
    for number in range(5):
        publish(hub, f"some/ESM_{number}", config(4), tags=(f"base_model:{BASE}",))
    publish(hub, "some/ESM_legacy", config(4), tags=(f"BaseLM:{LEGACY}",))
    publish(hub, "some/ESM_other", config(4), tags=("base_model:some/other",))
    report = pull(base=LEGACY)
    assert report.found == 6
    assert len(report.fetched) == 6
    found = list_published(BASE, hub=Hub(hub.endpoint))[1]
    assert [listing.repo for listing in found] == sorted(report.fetched)


def test_what_is_there_at_its_commit_is_not_fetched_again(hub, pull, pool_of):
    for name in ("some/ESM_a", "some/ESM_b"):
        publish(hub, name, config(4))
    pull()
    hub.asked.clear()
    report = pull()
    assert (report.fetched, report.present) == ((), ("some/ESM_a", "some/ESM_b"))
    assert not [path for path in hub.asked if "ESM_" in path]
    publish(hub, "some/ESM_a", config(4), weights(99))
    assert pull().fetched == ("some/ESM_a",)
    np.testing.assert_array_equal(
        pool_of().entry("some/ESM_a").load_map(MapForm.PUBLISHED).weight, arrays(99)[0]
    )


def test_a_stopped_run_goes_on_where_it_was(hub, pull):
    for number in range(4):
        publish(hub, f"some/ESM_{number}", config(4))
    commit = hub.models["some/ESM_3"].commit
    hub.faults.append(Fault(f"{commit}/model.safetensors", 429, retry_after="3600"))
    with pytest.raises(HubDownError, match="asks to wait 3600 seconds"):
        pull(workers=1)
    hub.faults.clear()
    hub.asked.clear()
    report = pull()
    assert report.fetched == ("some/ESM_3",)
    assert report.present == ("some/ESM_0", "some/ESM_1", "some/ESM_2")
    assert len(hub.files_asked("model.safetensors")) == 1


def test_a_damaged_entry_is_fetched_again(hub, pull, tmp_path):
    publish(hub, "some/ESM_one", config(4))
    pull()
    (tmp_path / "pool/sources/some@ESM_one/published/model.safetensors").write_bytes(b"")
    assert pull().fetched == ("some/ESM_one",)


# -------------------------------------------------------------------------------------- faults


def test_it_waits_as_long_as_the_hub_asks(hub, pull, waits):
    publish(hub, "some/ESM_one", config(4))
    hub.faults.append(Fault("model.safetensors", 429, times=2, retry_after="7"))
    assert pull().fetched == ("some/ESM_one",)
    assert [round(seconds) for seconds in waits] == [7, 7]


def test_a_fault_that_passes_is_waited_out(hub, pull, waits):
    publish(hub, "some/ESM_one", config(4))
    hub.faults += [Fault("config.json", 503, times=2), Fault("ESM_one", body="short", times=1)]
    assert pull().fetched == ("some/ESM_one",)
    assert len(waits) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("ESM_bad/resolve", 404), "no some/ESM_bad/config.json on the Hub"),
        (Fault("ESM_bad/resolve", 418), "the Hub answers HTTP 418"),
        (Fault("ESM_bad/resolve", 500), "cannot be fetched: HTTP 500"),
        (Fault("ESM_bad/resolve", body="short"), "the connection broke off"),
        (Fault("ESM_bad/resolve", body="other"), "has hash"),
    ],
)
def test_a_fault_that_stays_leaves_the_map_out(hub, pull, fault, reason):
    publish(hub, "some/ESM_bad", config(4))
    publish(hub, "some/ESM_good", config(4))
    hub.faults.append(fault)
    report = pull()
    assert report.fetched == ("some/ESM_good",)
    assert reason in reasons(report)["some/ESM_bad"]


@pytest.mark.parametrize("body", ["short", "other"])
def test_weights_that_are_not_those_stated_are_refused(hub, pull, tmp_path, body):
    publish(hub, "some/ESM_bad", config(4))
    hub.faults.append(Fault("model.safetensors", body=body))
    assert not pull().fetched
    assert not (tmp_path / "pool/sources/some@ESM_bad").exists()


def test_a_dataset_that_is_gone_leaves_the_licence_open(hub, pull, pool_of):
    publish(hub, "some/ESM_one", config(4))
    pull()
    assert pool_of().entry("some/ESM_one").record.metadata.license == ""


def test_a_hub_that_is_not_there_ends_the_run(hub, tmp_path, waits):
    reader = Hub("http://127.0.0.1:9")
    with pytest.raises(HubDownError, match="the Hub cannot be reached"):
        pull_pool(BASE, tmp_path, hub=reader)
    assert waits == [1, 2, 4, 8, 16]


def test_a_request_is_repeated_where_another_thread_closed_the_client(hub, waits, monkeypatch):
    """huggingface_hub closes the client of all threads where one of them cannot connect."""
    from huggingface_hub.utils import close_session, get_session

    publish(hub, "some/ESM_one", config(4))
    closed = get_session()
    close_session()
    clients = iter([closed])
    monkeypatch.setattr(
        "huggingface_hub.utils._http.get_session", lambda: next(clients, None) or get_session()
    )
    assert Hub(hub.endpoint).model("some/ESM_one")["id"] == "some/ESM_one"
    assert waits == [1]


@pytest.mark.parametrize("asked", [None, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_hub_that_refuses_without_saying_for_how_long_ends_the_run(hub, waits, asked):
    publish(hub, "some/ESM_one", config(4))
    hub.faults.append(Fault("ESM_one", 429, retry_after=asked))
    with pytest.raises(HubDownError, match=r"the Hub cannot be reached .HTTP 429.*try: check"):
        Hub(hub.endpoint).model("some/ESM_one")
    assert waits == [1, 2, 4, 8, 16]


def test_a_hub_that_is_switched_off_is_said(hub, pull, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubDownError, match="switched off by HF_HUB_OFFLINE"):
        pull()
    assert not hub.asked


def test_files_that_are_too_large_are_not_read(hub, pull):
    publish(hub, "some/ESM_big", config(4), weights(width=200))
    assert "bytes or more; expected at most" in reasons(pull())["some/ESM_big"]
    assert not hub.files_asked("model.safetensors")


# ------------------------------------------------------------------------------------- filters


def test_filters_are_counted_and_leave_what_is_there(hub, pull, pool_of):
    publish(hub, "some/ESM_tiny", config(4, num_examples=8, task_id="owner/tiny"))
    publish(hub, "some/ESM_copy", config(4, num_examples=500, task_id="copies/data"))
    publish(hub, "some/ESM_data", config(4))
    publish(hub, "some/ESM_date", config(4, label_column="date", task_id="owner/news"))
    report = pull("rows=100", "unique", "meaningful")
    assert report.fetched == ("some/ESM_data",)
    assert report.left_out == {"rows": 1, "unique": 1, "meaningful": 1}
    assert len(hub.files_asked("model.safetensors")) == 1
    again = pull("rows=5000")
    assert again.present == ("some/ESM_data",)
    assert again.left_out == {"rows": 3}


def test_a_copy_of_what_is_there_is_not_fetched(hub, pull):
    publish(hub, "some/ESM_small", config(4, num_examples=100))
    pull()
    publish(hub, "some/ESM_large", config(4))
    publish(hub, "some/ESM_same", config(4, task_id="owner/unlike"), weights(1))
    assert pull("unique").left_out == {"unique": 2}


def test_languages_and_licences_are_those_of_the_dataset(hub, pull):
    for name, tags in {
        "sk": ["language:sk", "license:mit"],
        "en": ["language:en", "license:mit"],
        "nc": ["language:sk", "license:cc-by-nc-4.0"],
    }.items():
        publish(hub, f"some/ESM_{name}", config(4, task_id=f"owner/{name}"))
        hub.datasets[f"owner/{name}"] = tags
    report = pull("language=sk|cs", "licence=mit|apache")
    assert report.fetched == ("some/ESM_sk",)
    assert report.left_out == {"language": 1, "licence": 1}
    assert pull("licence=commercial").fetched == ("some/ESM_en",)


def test_the_report_is_rows_and_json(hub, pull):
    publish(hub, "some/ESM_one", config(4))
    publish(hub, "some/ESM_bad", config(2), weights(width=16))
    report = pull()
    assert [(row["source"], row["now"]) for row in report.records()] == [
        ("some/ESM_one", "fetched"),
        ("some/ESM_bad", "skipped"),
    ]
    assert json.loads(json.dumps(report.as_dict()))["found"] == 2
