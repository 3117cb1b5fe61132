import pytest

from esm.common.errors import TaskError
from esm.tasks.guess.columns import choose_attributes, choose_texts
from esm.tasks.guess.facts import Facts
from esm.tasks.raw import RawData, to_id
from esm.tasks.spec import TaskSpec
from esm.tasks.task import SplitName

N = 40
TEXTS = [f"this is text number {i}" for i in range(N)]


def raw_of(known=None, described=False, **columns):
    splits = {SplitName.TRAIN: columns}
    return RawData(id="data", splits=splits, known=known or {}, described=described)


def texts_of(raw, **options):
    return choose_texts(raw, TaskSpec(location="data.csv", **options))


def test_the_column_called_text_then_the_likeliest_of_varied_long_strings():
    assert texts_of(raw_of(text=TEXTS, body=TEXTS)) == ("text", None)
    assert texts_of(raw_of(id=list(range(N)), body=TEXTS, label=["a", "b"] * 20)) == ("body", None)
    assert texts_of(raw_of(note=[None, *TEXTS[1:]], title=TEXTS)) == ("title", None)
    assert texts_of(raw_of(a=TEXTS, b=TEXTS), text="a", text_pair="b") == ("a", "b")


def test_a_second_text_is_called_so_or_makes_a_pair():
    assert texts_of(raw_of(text=TEXTS, text_pair=TEXTS)) == ("text", "text_pair")
    assert texts_of(raw_of(premise=TEXTS, hypothesis=TEXTS)) == ("premise", "hypothesis")
    raw = raw_of(claim=TEXTS, evidence=TEXTS)
    spec = TaskSpec(location="data.csv", text="claim")
    facts = [Facts(name, values) for name, values in raw.train.items()]
    assert choose_texts(raw, spec, facts) == ("claim", "evidence")
    assert choose_texts(raw, spec) == ("claim", None)
    # What is described is all there is.
    assert texts_of(raw_of({}, True, text=TEXTS, question=TEXTS, answer=TEXTS)) == ("text", None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [f"id{i}" for i in range(N)]}, "looks like texts; .* one of 'id'"),
        ({"a": ["a short list of", "repeated long strings"] * 20}, "looks like texts"),
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


def test_named_attributes_win_and_must_be_there():
    raw = raw_of(text=TEXTS, q1=["a", "b"] * 20, q2=["c", "d"] * 20)
    spec = TaskSpec(location="data.csv", attributes=("q2",))
    assert choose_attributes(raw, spec, ("q1", "q2")) == ("q2",)
    absent = TaskSpec(location="data.csv", attributes=("q3",))
    with pytest.raises(TaskError, match=r"no column 'q3' .* expected one of 'text', 'q1', 'q2'"):
        choose_attributes(raw, absent, ("q1", "q2"))


def test_nothing_to_offer():
    spec = TaskSpec(location="data.csv")
    message = "no column that looks like an attribute; expected labels in one of 'text'"
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
