"""Splits by method: shares, groups, a column, folds; what is read is what was divided."""

from collections import Counter, defaultdict

import pytest

from esm.common.errors import TaskError
from esm.tasks.load import load_target, load_targets, load_task, load_tasks
from esm.tasks.spec import SplitMethod, SplitSpec, TaskSpec
from esm.tasks.splits.divide import split_of
from esm.tasks.splits.draw import joined_keys
from esm.tasks.task import SplitName, joint_hash


def write(path, rows, header):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def spec_of(path, attributes=(), **split):
    return TaskSpec(location=str(path), attributes=attributes, split=SplitSpec(**split))


@pytest.fixture
def posts(tmp_path):
    """Sixty Slovak posts by twenty authors; every third is not annotated with `tón`."""
    rows = [
        f"príspevok číslo {i},autor {i % 20},{'áno' if i % 3 else 'nie'},"
        f"{['vážny', 'vtipný', ''][i // 20]}"
        for i in range(60)
    ]
    return write(tmp_path / "príspevky.csv", rows, "text,autor,škodlivý,tón")


def author(text):
    return int(text.split()[-1]) % 20


# ----------------------------------------------------------------------------------- hold-outs


def test_the_share_of_test_rows_is_the_one_asked_for(posts):
    task = load_target(spec_of(posts, test_share=0.5)).attributes["škodlivý"]
    assert (len(task.train), len(task.test)) == (30, 30)
    assert Counter(task.test.labels.tolist()) == {0: 10, 1: 20}


def test_columns_of_many_small_groups_do_not_spoil_the_proportions(posts):
    """There are three posts by each author, which is named as an attribute too."""
    both = {"attributes": ("škodlivý", "autor")}
    target = load_target(spec_of(posts, **both))
    assert "autor" in target.attributes
    task = target.attributes["škodlivý"]
    assert (len(task.train), len(task.test)) == (48, 12)
    assert Counter(task.test.labels.tolist()) == {0: 4, 1: 8}
    for fold in load_targets(spec_of(posts, method="k-fold", folds=4, **both)):
        assert Counter(fold.attributes["škodlivý"].test.labels.tolist()) == {0: 5, 1: 10}


@pytest.mark.parametrize("method", ["grouped", "auto", "stratified"])
def test_an_author_is_on_one_side_whatever_draws_the_rows(posts, method):
    target = load_target(spec_of(posts, method=method, group="autor"))
    assert "autor" not in target.attributes
    task = target.attributes["škodlivý"]
    assert not set(map(author, task.train.texts)) & set(map(author, task.test.texts))
    assert len(task.test) == 12  # four of the twenty authors, three posts each
    assert (target.origin.method, target.origin.group) == ("grouped", "autor")
    assert target.origin.groups == {"train": 16, "test": 4}


def test_rows_are_joined_by_text_or_group_directly_or_through_others():
    keys = joined_keys(["t1", "t2", "t2", "t3", "t4", "t4"], ["a", "a", "b", "c", None, None])
    names = defaultdict(set)
    for place, key in enumerate(keys):
        names[key].add(place)
    assert sorted(map(sorted, names.values())) == [[0, 1, 2], [3], [4, 5]]
    turned = joined_keys(["t4", "t4", "t3", "t2", "t2", "t1"], [None, None, "c", "b", "a", "a"])
    assert turned == keys[::-1]


def test_too_few_groups_leave_no_test_rows(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{'ba'[i // 15]}" for i in range(30)]
    path = write(tmp_path / "data.csv", rows, "text,label,source")
    with pytest.raises(TaskError, match="2 groups by column 'source' in data leave no test rows"):
        load_target(spec_of(path, group="source"))


def test_a_group_column_that_is_missing_or_not_named(posts, tmp_path):
    # Named like an origin, it is found.
    assert load_target(spec_of(posts, method="grouped")).origin.group == "autor"
    other = write(tmp_path / "b.csv", [f"text {i},{'ab'[i % 2]}" for i in range(40)], "text,tón")
    with pytest.raises(TaskError, match=r"grouped split without a group column.*--group NAME"):
        load_target(spec_of(other, method="grouped"))
    with pytest.raises(TaskError, match="no column 'author' in the train rows"):
        load_target(spec_of(posts, method="grouped", group="author"))


# -------------------------------------------------------------------------------- given splits


@pytest.fixture
def with_test_file(posts, tmp_path):
    rows = [f"nový text {i},autor {i},{'áno' if i % 2 else 'nie'}" for i in range(40)]
    test = write(tmp_path / "test.csv", rows, "text,autor,škodlivý")
    return TaskSpec(location=str(posts), attributes=("škodlivý",), test=str(test))


def test_given_splits_are_kept_unless_a_method_is_named(with_test_file, caplog):
    caplog.set_level("INFO")
    given = load_target(with_test_file)
    assert (len(given.attributes["škodlivý"].train), given.origin.method) == (60, "given")
    how = SplitSpec(method=SplitMethod.STRATIFIED)
    anew = load_target(with_test_file.model_copy(update={"split": how}))
    task = anew.attributes["škodlivý"]
    assert (len(task.train), len(task.test)) == (80, 20)
    assert any(text.startswith("nový") for text in task.train.texts)
    assert any(text.startswith("nový") for text in task.test.texts)
    assert "given splits (train and test) are put together and divided anew" in caplog.text


def test_a_column_that_the_test_rows_lack_is_empty_there(with_test_file):
    how = SplitSpec(method=SplitMethod.K_FOLD, folds=2)
    update = {"split": how, "attributes": ("tón",)}
    task = load_task(with_test_file.model_copy(update=update))
    assert (len(task.train), task.dropped["no label"]) == (40, 60)


# ------------------------------------------------------------------------------- split columns


def with_column(tmp_path, values):
    rows = [f"text {i},{'ab'[i % 2]},{value}" for i, value in enumerate(values)]
    return write(tmp_path / "data.csv", rows, "text,label,časť")


@pytest.mark.parametrize("method", ["column", "auto"])
def test_a_column_names_the_split_of_each_row(tmp_path, method):
    values = ["Trénovacia", "train"] * 4 + ["DEV", "validácia"] + ["testovacia", " Test "] * 2
    path = with_column(tmp_path, values)
    target = load_target(spec_of(path, method=method, column="časť"))
    assert list(target.attributes) == ["label"]
    sizes = {name: len(rows) for name, rows in target.attributes["label"].splits.items()}
    assert sizes == {SplitName.TRAIN: 8, SplitName.VALIDATION: 2, SplitName.TEST: 4}
    assert (target.origin.method, target.origin.column) == ("column", "časť")
    assert not list(tmp_path.glob("*.split.json"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["train"] * 6 + ["druhá", "druhá", ""], r"3 rows with 'druhá' \(2\), 'nothing' \(1\)"),
        (["train"] * 4 + [f"a sentence of some user {i}" for i in range(4)], "4 other values"),
        (["train"] * 4 + list("abcdefgh"), "8 rows with 8 other values"),
        (["test"] * 4, "has no training rows"),
    ],
)
def test_a_split_column_that_does_not_name_splits(tmp_path, values, message):
    with pytest.raises(TaskError, match=message) as caught:
        load_target(spec_of(with_column(tmp_path, values), method="column", column="časť"))
    assert "some user" not in str(caught.value)


def test_a_split_by_a_column_that_is_not_named(posts):
    with pytest.raises(TaskError, match="by column without the column's name"):
        load_target(spec_of(posts, method="column"))


@pytest.mark.parametrize(
    ("value", "split"),
    [
        ("TRAIN", SplitName.TRAIN),
        ("trénovacie", SplitName.TRAIN),
        ("tréning", SplitName.TRAIN),
        ("val", SplitName.VALIDATION),
        ("Validačná", SplitName.VALIDATION),
        ("testovacie", SplitName.TEST),
        ("testament", None),
        (3, None),
    ],
)
def test_what_a_split_may_be_called(value, split):
    assert split_of(value) is split


# --------------------------------------------------------------------------------------- folds


def test_every_text_is_a_test_text_once_per_repetition(posts):
    targets = load_targets(spec_of(posts, method="k-fold", folds=4, repeats=2))
    assert [target.fold for target in targets] == list(range(8))
    whole = load_target(spec_of(posts, method="k-fold", folds=4, repeats=2))
    assert list(whole.attributes["škodlivý"].splits) == [SplitName.TRAIN]
    for name, task in whole.attributes.items():
        folds = [target.attributes[name] for target in targets]
        for repetition in (folds[:4], folds[4:]):
            tested = [text for fold in repetition for text in fold.test.texts]
            assert sorted(tested) == sorted(task.train.texts)
        for fold in folds:
            assert not set(fold.train.texts) & set(fold.test.texts)
            assert len(fold.train) + len(fold.test) == len(task.train)
            assert fold.label_names == task.label_names


def test_folds_by_author(posts):
    targets = load_targets(spec_of(posts, method="k-fold", group="autor", folds=4))
    for target in targets:
        task = target.attributes["škodlivý"]
        assert not set(map(author, task.train.texts)) & set(map(author, task.test.texts))
        assert len(task.test) == 15
    assert targets[0].origin.groups == {"train": 20}


def test_folds_come_back_as_they_were_drawn(posts):
    spec = spec_of(posts, method="k-fold", folds=3)
    first = load_targets(spec)
    lines = posts.read_text(encoding="utf-8").splitlines()
    posts.write_text("\n".join([lines[0], *lines[:0:-1]]), encoding="utf-8")
    for before, after in zip(first, load_targets(spec), strict=True):
        tests = [t.attributes["škodlivý"].test.texts for t in (before, after)]
        assert set(tests[0]) == set(tests[1])


def test_a_fixed_split_is_one_target_with_its_own_hash(posts):
    targets = load_targets(spec_of(posts))
    assert len(targets) == 1
    assert targets[0].fold is None
    assert joint_hash(targets) == load_target(spec_of(posts)).content_hash()
    folds = load_targets(spec_of(posts, method="k-fold", folds=2))
    assert joint_hash(folds) not in {fold.content_hash() for fold in folds}


def test_too_few_rows_or_groups_for_the_folds(posts, tmp_path):
    with pytest.raises(TaskError, match=r"20 distinct groups by column 'autor' in .* 21 folds"):
        load_targets(spec_of(posts, method="k-fold", group="autor", folds=21))
    rows = [f"text {i},{'ab'[i % 2]},{'xy'[i % 2] if i < 4 else ''}" for i in range(30)]
    path = write(tmp_path / "rare.csv", rows, "text,label,rare")
    targets = load_targets(spec_of(path, method="k-fold", folds=10))
    assert [list(target.attributes) for target in targets] == [["label"]] * 10
    assert (
        "4 rows of rare/rare are too few for 10 folds: one has no labelled row"
        in (targets[0].skipped["rare"])
    )
    with pytest.raises(TaskError, match=r"too few for 10 folds.*fewer --folds"):
        load_targets(spec_of(path, ("rare",), method="k-fold", folds=10))


def test_no_attribute_with_enough_rows(tmp_path):
    rows = [
        f"text {i},{'ab'[i % 2] if i < 4 else ''},{'xy'[i % 2] if i < 6 else ''}" for i in range(30)
    ]
    path = write(tmp_path / "rare.csv", rows, "text,one,two")
    message = r"no attribute of rare has enough rows for folds; one: 4 rows of rare/one are too few"
    with pytest.raises(TaskError, match=message):
        load_targets(spec_of(path, method="k-fold", folds=10))


def test_outside_a_fold_two_labels_are_needed(tmp_path):
    rows = [f"text {i},{'b' if i == 7 else 'a'}" for i in range(30)]
    path = write(tmp_path / "data.csv", rows, "text,label")
    with pytest.raises(TaskError, match="one has all rows of all labels but one; expected labels"):
        load_targets(spec_of(path, method="k-fold", folds=3))


def test_new_rows_are_counted_and_what_becomes_of_them_is_said(posts, caplog):
    load_target(spec_of(posts))
    with posts.open("a", encoding="utf-8") as file:
        file.write("celkom nový príspevok,autor 3,áno,vážny\n")
    caplog.set_level("INFO")
    load_target(spec_of(posts))
    told = caplog.text
    assert "1 rows are new since" in told
    assert "else they are training rows" in told
    assert "celkom" not in told


def test_a_fold_that_holds_all_of_a_class(tmp_path):
    rows = [f"text {i},{'rare' if i == 7 else 'ab'[i % 2]}" for i in range(30)]
    targets = load_targets(
        spec_of(write(tmp_path / "data.csv", rows, "text,label"), method="k-fold", folds=3)
    )
    (holding,) = [t for t in targets if 2 in t.attributes["label"].test.labels]
    assert holding.attributes["label"].label_names == ("a", "b", "rare")
    assert 2 not in holding.attributes["label"].train.labels


# ------------------------------------------------------------------------------------- sources


def test_named_attributes_are_a_source_each_on_the_training_rows_of_the_split(posts):
    spec = spec_of(posts, ("škodlivý", "tón"))
    sources = load_tasks(spec)
    assert [task.id for _, task in sources] == [
        "prispevky/skodlivy",
        "prispevky/ton",
    ]
    target = load_target(spec)
    for (single, task), of_target in zip(sources, target.attributes.values(), strict=True):
        assert len(single.attributes) == 1
        assert load_task(single).content_hash() == task.content_hash() == of_target.content_hash()
        for other in target.attributes.values():
            assert not set(task.train.texts) & set(other.test.texts)
