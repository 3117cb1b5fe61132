import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from esm.common.errors import HubError, TaskError
from esm.tasks.formats.hub import is_hub_id, read_hub
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
from esm.tasks.task import SplitName

CLASSES = ClassLabel(names=["neg", "pos"])
FEATURES = Features({"text": Value("string"), "label": CLASSES, "tags": List(CLASSES)})
ROWS = Dataset.from_dict(
    {"text": ["a", "b", "c"], "label": [1, 0, -1], "tags": [[0, 1], [], None]}, features=FEATURES
)


@pytest.fixture
def hub(monkeypatch):
    """A Hub with one dataset; returns what was asked of it."""
    asked = {}
    parts = ("train", "validation", "test", "unlabelled")

    def load_dataset(path, name=None, revision=None, **options):
        asked.update(path=path, name=name, revision=revision)
        return DatasetDict(dict.fromkeys(parts, ROWS))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def failing(monkeypatch, error):
    def load_dataset(*args, **options):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_class_indices_become_names_and_hidden_labels_null(hub):
    raw = read_hub(TaskSpec(location="owner/name", config="en", revision="abc"))
    assert hub == {"path": "owner/name", "name": "en", "revision": "abc"}
    assert raw.id == "owner--name--en"
    assert list(raw.splits) == [SplitName.TRAIN, SplitName.TEST, SplitName.VALIDATION]
    assert raw.train["label"] == ["pos", "neg", None]
    assert raw.train["tags"] == [["neg", "pos"], [], None]
    assert raw.known["label"].names == ("neg", "pos")
    assert raw.file is None


def test_splits_can_be_chosen(hub):
    spec = TaskSpec(location="owner/name", train_split="unlabelled", test_split="validation")
    assert list(read_hub(spec).splits) == [SplitName.TRAIN, SplitName.TEST]
    absent = TaskSpec(location="owner/name", test_split="dev")
    with pytest.raises(TaskError, match="no split 'dev'; expected one of train, validation"):
        read_hub(absent)


def test_a_column_of_another_kind_is_left_out(monkeypatch):
    rows = ROWS.add_column("meta", [{"a": 1}] * 3)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: DatasetDict(train=rows))
    assert list(read_hub(TaskSpec(location="owner/name")).train) == ["text", "label", "tags"]


def test_a_dataset_with_one_split_is_split_and_the_split_kept(monkeypatch):
    rows = {"text": [f"text {i}" for i in range(40)], "label": ["a", "b"] * 20}
    data = DatasetDict(train=Dataset.from_dict(rows))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: data)
    spec = TaskSpec(location="owner/name")
    first = load_target(spec).attributes["label"]
    assert len(first.test) == 8
    assert load_target(spec).content_hash() == load_target(spec).content_hash()


def test_the_switched_off_hub_is_not_asked():
    message = r"'nobody/nothing' is not on this machine and the Hub is switched off.*HF_HUB_OFFLINE"
    with pytest.raises(HubError, match=message):
        read_hub(TaskSpec(location="nobody/nothing"))


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ConnectionError("no route"), HubError, "switched off|cannot be reached"),
        (datasets.exceptions.DatasetNotFoundError("gone"), HubError, "no dataset 'owner/name' on"),
        (ValueError("Config name is missing. Pick one of ['a']"), TaskError, r"of \['a'\].*--conf"),
        (RuntimeError("Dataset scripts are no longer supported"), TaskError, r"--rev.* refs/conv"),
    ],
)
def test_what_the_hub_refuses(monkeypatch, error, kind, message):
    failing(monkeypatch, error)
    with pytest.raises(kind, match=message):
        read_hub(TaskSpec(location="owner/name"))


def test_without_a_network_the_message_says_so(monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    failing(monkeypatch, ConnectionError("no route"))
    with pytest.raises(HubError, match=r"the Hub cannot be reached; .* try: check the network"):
        read_hub(TaskSpec(location="owner/name"))


@pytest.mark.parametrize(
    ("location", "answer"),
    [("owner/name", True), ("imdb", False), ("./a/b", False), ("a/b/c", False), ("/a/b", False)],
)
def test_hub_ids_have_one_slash(location, answer):
    assert is_hub_id(location) is answer


def test_words_that_pandas_takes_for_null_are_classes(tmp_path, monkeypatch):
    """As in files on this machine; the loader itself is the real one, on a folder with a CSV."""
    load = datasets.load_dataset
    words = ["None", "NA", "N/A", "null", "nan"]
    rows = "".join(f"text {word},{word}\n" for word in words)
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}last,\n", encoding="utf-8")
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **more: load(str(tmp_path), **more))
    assert read_hub(TaskSpec(location="owner/name")).train["label"] == [*words, None]


def test_other_formats_know_no_such_words(tmp_path, monkeypatch):
    load = datasets.load_dataset
    ROWS.to_parquet(tmp_path / "train.parquet")
    monkeypatch.setattr(datasets, "load_dataset", lambda path, **more: load(str(tmp_path), **more))
    assert read_hub(TaskSpec(location="owner/name")).train["label"] == ["pos", "neg", None]
