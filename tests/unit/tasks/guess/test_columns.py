import pytest

from esm.common.errors import TaskError
from esm.tasks.guess.columns import choose_attributes, choose_texts, offered_attributes
from esm.tasks.raw import LabelColumn, RawData, to_id
from esm.tasks.spec import TaskSpec
from esm.tasks.task import SplitName

N = 40
TEXTS = [f"this is text number {i}" for i in range(N)]


def raw_of(known=None, described=False, **columns):
    splits = {SplitName.TRAIN: columns}
    return RawData(id="data", splits=splits, known=known or {}, described=described)


def texts_of(raw, **options):
    return choose_texts(raw, TaskSpec(location="data.csv", **options))


def test_the_column_called_text_then_the_only_one_of_varied_long_strings():
    assert texts_of(raw_of(text=TEXTS, body=TEXTS)) == ("text", None)
    assert texts_of(raw_of(id=list(range(N)), body=TEXTS, label=["a", "b"] * 20)) == ("body", None)
    assert texts_of(raw_of(text=TEXTS, text_pair=TEXTS)) == ("text", "text_pair")
    assert texts_of(raw_of(a=TEXTS, b=TEXTS), text="a", text_pair="b") == ("a", "b")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": TEXTS, "b": TEXTS}, "2 columns that may be it; .* among 'a', 'b'"),
        ({"id": [f"id{i}" for i in range(N)]}, "none like it; .* among 'id'"),
        ({"a": ["a short list of", "repeated long strings"] * 20}, "none like it"),
    ],
)
def test_where_no_text_column_can_be_told_the_columns_are_listed(columns, message):
    with pytest.raises(TaskError, match=message):
        texts_of(raw_of(**columns))


def test_a_named_column_that_is_absent():
    message = "no column 'body' in the train rows of data; expected one of 'text', 'label'"
    with pytest.raises(TaskError, match=message):
        texts_of(raw_of(text=TEXTS, label=["a"] * N), text="body")
    with pytest.raises(TaskError, match="no column 'second'"):
        texts_of(raw_of(text=TEXTS), text_pair="second")


@pytest.mark.parametrize("values", [[1, 2, 3], [0.5, None], ["12", "-3.5"]])
def test_a_text_column_of_numbers(values):
    with pytest.raises(TaskError, match="holds numbers; expected texts; ids and numbers are not"):
        texts_of(raw_of(text=values))


def test_a_text_column_of_lists():
    with pytest.raises(TaskError, match="holds list values; expected strings"):
        texts_of(raw_of(text=[["a", "b"]]))


def test_columns_of_few_values_are_offered_in_the_order_of_the_file():
    raw = raw_of(
        stance=["for", "against"] * 20,
        row=list(range(N)),
        text=TEXTS,
        user=[f"u{i // 2}" for i in range(N)],
        grade=[1, 2, 3, None] * 10,
        topics=[["a"], ["b", "c"]] * 20,
        constant=["x"] * N,
        record=[{"a": 1}, {"a": 2}] * 20,
        turns=[[{"role": "user"}]] * N,
        hashes=[f"h{i}" for i in range(N)],
        sparse=["a", "b", *[None] * (N - 2)],
        empty=[None] * N,
    )
    assert offered_attributes(raw, ("text", None)) == ("stance", "user", "grade", "topics")


def test_a_column_called_label_is_always_offered():
    raw = raw_of(text=TEXTS, label=[i / 7 for i in range(N)])
    assert offered_attributes(raw, ("text", None)) == ("label",)


def test_groups_and_splits_are_no_attributes():
    raw = raw_of(text=TEXTS, part=["train", "test"] * 20, stance=["for", "against"] * 20)
    assert offered_attributes(raw, ("text", None, None, "part")) == ("stance",)
    described = raw_of({"part": LabelColumn()}, True, text=TEXTS, part=["train", "test"] * 20)
    assert offered_attributes(described, ("text", "part")) == ()


def test_described_attributes_are_the_only_ones_offered():
    known = {"q2": LabelColumn(), "q1": LabelColumn()}
    raw = raw_of(known, True, text=TEXTS, q1=["a"] * N, q2=["b"] * N, q3=["c", "d"] * 20)
    assert offered_attributes(raw, ("text", None)) == ("q2", "q1")


def test_named_attributes_win_and_must_be_there():
    raw = raw_of(text=TEXTS, q1=["a", "b"] * 20, q2=["c", "d"] * 20)
    spec = TaskSpec(location="data.csv", attributes=("q2",))
    assert choose_attributes(raw, spec, ("q1", "q2")) == ("q2",)
    absent = TaskSpec(location="data.csv", attributes=("q3",))
    with pytest.raises(TaskError, match=r"no column 'q3' .* expected one of 'text', 'q1', 'q2'"):
        choose_attributes(raw, absent, ("q1", "q2"))


def test_nothing_to_offer():
    spec = TaskSpec(location="data.csv")
    message = "no column that looks like an attribute; .* 2 to 30 distinct values among 'text'"
    with pytest.raises(TaskError, match=message):
        choose_attributes(raw_of(text=TEXTS), spec, ())


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("tweeteval-emotion", "tweeteval-emotion"),
        ("owner/name", "owner--name"),
        ("Je to škodlivé?", "Je-to-skodlive"),
        ("../..", "unnamed"),
        ("a..b", "a.b"),
        ("文", "unnamed"),
        ("x" * 500, "x" * 100),
    ],
)
def test_names_become_ids(name, identifier):
    assert to_id(name) == identifier
