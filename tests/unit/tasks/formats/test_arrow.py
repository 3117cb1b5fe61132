"""Class names that Hugging Face datasets stores in its files."""

import datasets
import pyarrow as pa
import pyarrow.feather
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from esm.common.errors import TaskError
from esm.tasks.formats.files import read_table
from tests.unit.tasks.formats.told import read

NAMES = ["spoľahlivé", "zavádzajúce"]
ROWS = Dataset.from_dict(
    {"text": ["a", "b", "c"], "label": [1, -1, 0], "tags": [[0, 1], [], [1]]},
    features=Features(
        {
            "text": Value("string"),
            "label": ClassLabel(names=NAMES),
            "tags": List(ClassLabel(names=["x", "y"])),
        }
    ),
)
READ = {
    "text": ["a", "b", "c"],
    "label": [NAMES[1], None, NAMES[0]],
    "tags": [["x", "y"], [], ["y"]],
}


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()


def test_parquet(tmp_path, caplog):
    ROWS.to_parquet(tmp_path / "a.parquet")
    table, said = read(tmp_path / "a.parquet", caplog)
    assert table == READ
    assert said == (
        "a.parquet: the file names the classes of 'label', 'tags'; 1 cells are -1, which is no"
        " label"
    )


def test_arrow_files_of_save_to_disk(tmp_path):
    ROWS.save_to_disk(tmp_path / "saved")
    (path,) = (tmp_path / "saved").glob("*.arrow")
    assert read_table(path) == READ


def test_feather(tmp_path):
    pyarrow.feather.write_feather(pa.table({"text": ["a"], "x": [-1]}), tmp_path / "a.feather")
    assert read_table(tmp_path / "a.feather") == {"text": ["a"], "x": [-1]}


def test_the_old_way_to_write_a_list_and_metadata_of_another_kind(tmp_path):
    import pyarrow.parquet as pq

    old = '{"info": {"features": {"tags": [{"names": ["x", "y"], "_type": "ClassLabel"}]}}}'
    for stored, tags in ((old, [["y"]]), ("{", [[1]]), ('{"info": []}', [[1]])):
        table = pa.table({"text": ["a"], "tags": [[1]]}).replace_schema_metadata(
            {"huggingface": stored}
        )
        pq.write_table(table, tmp_path / "a.parquet")
        assert read_table(tmp_path / "a.parquet")["tags"] == tags


def test_an_index_without_a_name(tmp_path):
    import pyarrow.parquet as pq

    stored = '{"info": {"features": {"y": {"names": ["a", "b"], "_type": "ClassLabel"}}}}'
    table = pa.table({"y": [0, 2]}).replace_schema_metadata({"huggingface": stored})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TaskError, match="class 2 in column 'y', and names 2 classes; expected an"):
        read_table(tmp_path / "a.parquet")


def test_a_broken_arrow_file(tmp_path):
    (tmp_path / "a.arrow").write_bytes(b"ARROW1 and then nothing")
    with pytest.raises(
        TaskError, match="truncated or not Arrow; expected a whole Arrow or Feather"
    ):
        read_table(tmp_path / "a.arrow")
