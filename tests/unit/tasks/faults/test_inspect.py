import numpy as np
import pytest

from esm.tasks.faults import texts as text_faults
from esm.tasks.faults.findings import FindingKind, counts_in_words
from esm.tasks.faults.inspect import inspect_proposal, inspect_target
from esm.tasks.faults.texts import is_damaged
from esm.tasks.guess.propose import propose
from esm.tasks.splits.rows import EMPTY_TEXT
from esm.tasks.task import Examples, Metric, Problem, SplitName, Target, Task
from tests.unit.tasks.guess.test_propose import cycle, posts, write

NAMES = ("áno", "nie")


def examples(texts, labels=None, pairs=None):
    labels = np.arange(len(texts)) % 2 if labels is None else np.asarray(labels)
    return Examples(tuple(texts), pairs, labels)


def target(train, test=None, *, problem=Problem.CLASSIFICATION, names=NAMES, **more):
    splits = {SplitName.TRAIN: train} | ({} if test is None else {SplitName.TEST: test})
    skipped = more.pop("skipped", {})
    task = Task("p/postoj", problem, Metric.MACRO_F1, names, splits, **more)
    return Target("p", {"postoj": task}, skipped)


def various(count, first=0):
    """Return texts that are far from each other."""
    rng = np.random.default_rng(count)
    letters = np.array(list("aáäbcčdďeéfghiíjklľmnňoóôprŕsštťuúvyýzž"))
    return [
        f"{first + i} " + " ".join("".join(rng.choice(letters, 6)) for _ in range(6))
        for i in range(count)
    ]


def found(target):
    return {finding.kind: finding for finding in inspect_target(target)}


def test_good_data_have_no_findings():
    assert inspect_target(target(examples(various(100)), examples(various(40, 100)))) == []


def test_conflicting_labels_of_texts_that_are_the_same_but_for_the_form():
    texts = various(58)
    same = ["ČIPY vo vakcínach!", "@jano čipy  vo vakcínach https://t.co/x"]
    finding = found(target(examples([*texts, *same])))[FindingKind.CONFLICTING_LABELS]
    assert (finding.attribute, finding.count) == ("postoj", 1)
    assert finding.message == "texts with different labels in different rows: 1, in 2 rows"
    agreeing = target(examples([*texts, *same], [0, 1] * 29 + [1, 1]))
    assert FindingKind.CONFLICTING_LABELS not in found(agreeing)


def test_conflicts_of_amounts_and_of_sets_of_labels():
    texts = [*various(58), "čaj", "čaj"]
    amounts = target(examples(texts, np.linspace(0, 1.5, 60)), problem=Problem.REGRESSION, names=())
    assert FindingKind.CONFLICTING_LABELS in found(amounts)
    sets = np.ones((60, 2))
    sets[::2, 0] = 0
    assert FindingKind.CONFLICTING_LABELS in found(
        target(examples(texts, sets), problem=Problem.MULTILABEL)
    )


def test_duplicates_are_counted_over_all_rows():
    texts = [*various(57), "čaj", "Čaj.", "čaj"]
    finding = found(target(examples(texts, [0, 1] * 30)))[FindingKind.DUPLICATE_TEXTS]
    assert finding.count == 2
    assert "2 of 60; texts that come again: 1" in finding.message


def test_the_same_pair_of_texts_is_a_duplicate_and_the_same_first_text_none():
    texts = ["čaj"] * 60
    pairs = various(60)
    assert FindingKind.DUPLICATE_TEXTS not in found(target(examples(texts, pairs=tuple(pairs))))
    pairs[1] = pairs[0]
    pair = found(target(examples(texts, pairs=tuple(pairs))))
    assert pair[FindingKind.DUPLICATE_TEXTS].count == 1


def test_texts_on_both_sides_of_the_split():
    train, test = various(60), various(40, 60)
    test[:2] = [train[0].upper(), train[1]]
    test[2] = f"{train[2]} dnes"
    kinds = found(target(examples(train), examples(test)))
    assert kinds[FindingKind.SHARED_TEXTS].count == 2
    assert "2 of 40; results will flatter" in kinds[FindingKind.SHARED_TEXTS].message
    near = kinds[FindingKind.NEAR_DUPLICATES]
    assert near.count == 1
    assert near.message == "test texts that are nearly the same as one in train: 1 of 38"


def test_near_duplicates_among_all_rows_where_nothing_is_split_yet(monkeypatch):
    texts = various(60)
    texts[1] = f"{texts[0]} dnes"
    near = found(target(examples(texts)))[FindingKind.NEAR_DUPLICATES]
    assert (near.count, near.attribute) == (2, None)
    assert "group under [split]" in near.hint
    monkeypatch.setattr(text_faults, "MOST_COMPARED", 59)
    sampled = inspect_target(target(examples(texts)))
    assert all("looked at 59 texts" in finding.message for finding in sampled)


def test_rare_classes_and_classes_without_test_rows():
    labels = np.array([0] * 30 + [1] * 27 + [2] * 3)
    both = target(
        examples(various(60), labels),
        examples(various(40, 60)),
        names=("áno", "nie", "neviem"),
    )
    kinds = found(both)
    rare = kinds[FindingKind.RARE_CLASSES]
    assert (rare.count, rare.attribute) == (1, "postoj")
    assert rare.message.endswith("training rows: 1 of 3, namely neviem 3")
    assert "min_per_class = 5" in rare.hint
    absent = kinds[FindingKind.NOT_IN_TEST]
    assert (
        absent.message
        == "classes without a test row: 1 of 3; in train: neviem 3; scores say nothing of them"
    )


def test_labels_of_sets_are_counted_one_by_one():
    labels = np.zeros((60, 2))
    labels[:, 0] = 1
    labels[:2, 1] = 1
    rare = found(target(examples(various(60), labels), problem=Problem.MULTILABEL))
    assert rare[FindingKind.RARE_CLASSES].message.endswith("1 of 2, namely nie 2")
    assert FindingKind.ONE_CLASS not in rare


def test_an_id_mistaken_for_a_label():
    names = tuple(f"x{i}" for i in range(60))
    as_class = found(target(examples(various(60), np.arange(60)), names=names))
    assert as_class[FindingKind.ID_AS_LABEL].message.startswith("60 classes in 60 training rows")
    assert FindingKind.RARE_CLASSES not in as_class
    numbers = examples(various(60), np.arange(60.0) + 1)
    amount = found(target(numbers, problem=Problem.REGRESSION, names=()))[FindingKind.ID_AS_LABEL]
    assert amount.message == "60 different whole numbers in 60 rows: this looks like an id"
    shares = examples(various(60), np.arange(60) / 7)
    assert inspect_target(target(shares, problem=Problem.REGRESSION, names=())) == []


def test_an_attribute_that_is_nearly_one_class():
    one = found(target(examples(various(200), [1] * 6 + [0] * 194)))[FindingKind.ONE_CLASS]
    assert one.message == "97.0 % of the training rows are áno 194; 6 are anything else"
    some = target(examples(various(200), [1] * 10 + [0] * 190))
    assert FindingKind.ONE_CLASS not in found(some)


def test_few_labelled_rows():
    few = found(target(examples(various(30)), examples(various(19, 30))))[FindingKind.FEW_ROWS]
    assert (few.count, few.attribute) == (49, "postoj")
    assert FindingKind.FEW_ROWS not in found(target(examples(various(50))))


def test_rows_without_a_text():
    empty = target(examples(various(60)), dropped={EMPTY_TEXT: 61})
    assert found(empty)[FindingKind.EMPTY_TEXTS].message == "61 of about 121 rows have no text"
    assert found(target(examples(various(60)), dropped={EMPTY_TEXT: 60})) == {}


def test_attributes_that_cannot_be_used_are_named():
    skipped = target(examples(various(60)), skipped={"id": "texts or ids"})
    (finding,) = inspect_target(skipped)
    assert (finding.kind, finding.attribute) == (FindingKind.UNUSABLE, "id")
    assert finding.message == "texts or ids"


@pytest.mark.parametrize("letter", "áäčďéíĺľňóôŕšťúýžěřů„“–")
@pytest.mark.parametrize("encoding", ["cp1250", "cp1252", "latin-1"])
def test_utf8_read_as_something_else_is_seen(letter, encoding):
    wrong = f"x{letter}x".encode().decode(encoding, "replace")
    assert is_damaged(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "Kŕdeľ šťastných ďatľov učí pri ústí Váhu mĺkveho koňa obhrýzať kôru a žrať čerstvé mäso",
        "KŔDEĽ ŠŤASTNÝCH ĎATĽOV, DĹŽKA, VĹČA, HĹBKA",
        "Příliš žluťoučký kůň úpěl ďábelské ódy. PŘÍLIŠ ŽLUŤOUČKÝ KŮŇ",
        "Müßte „Ärger“ größer als 3 m² sein? Âge d'or, garçon, ÎLE; MĂŞTI, Ţară",
        "Ångström, Ålesund, ½ l, 5 ¾ hodiny, 20 °C, © 2021 — „áno“ …",
        "Ваксините са опасни 😀",
    ],
)
def test_good_letters_are_left_alone(text):
    assert not is_damaged(text)


def test_damaged_texts_are_counted_with_a_way_out():
    texts = [*various(58), "vakc\ufffdna", "ve¾mi málo ¾udí"]
    finding = found(target(examples(texts)))[FindingKind.DAMAGED_TEXTS]
    assert finding.count == 2
    assert finding.message.endswith("encoding: 2 of 60")
    assert "--encoding" in finding.hint


def test_a_list_of_many_classes_is_cut():
    many = counts_in_words({f"x{i}": i for i in range(8)})
    assert many == "x0 0, x1 1, x2 2, x3 3, x4 4, x5 5, and 2 others"


# ---------------------------------------------------------------------------------- proposals


def test_nothing_is_stored_when_a_proposal_is_looked_at(tmp_path):
    table = {"text": posts(600), "postoj": cycle("áno", "nie", count=600)}
    path = write(tmp_path / "p.csv", table)
    kinds = {finding.kind for finding in inspect_proposal(propose(path))}
    assert kinds == {FindingKind.NEAR_DUPLICATES}
    assert [file.name for file in tmp_path.iterdir()] == ["p.csv"]


def test_an_attribute_that_does_not_load_does_not_hide_the_others(tmp_path):
    parts = cycle("train", "test", count=200)
    table = {
        "text": various(200),
        "časť": parts,
        "postoj": cycle("a", "a", "b", "b", count=200),
        "téma": [f"iná pre {part}" for part in parts],
    }
    (finding,) = inspect_proposal(propose(write(tmp_path / "p.csv", table)))
    assert (finding.kind, finding.attribute) == (FindingKind.UNUSABLE, "téma")
    assert "one class or value only in its 100 training rows" in finding.message


def test_a_long_file_that_contradicts_itself(tmp_path):
    texts = [text for text in various(40) for _ in range(2)]
    table = {
        "text": [*texts, texts[0]],
        "atribút": [*["postoj", "téma"] * 40, "téma"],
        "hodnota": [*(f"{'ab'[i % 2]}{i // 2 % 2}" for i in range(80)), "iná"],
    }
    (finding,) = inspect_proposal(propose(write(tmp_path / "p.csv", table)))
    assert (finding.kind, finding.attribute) == (FindingKind.UNUSABLE, None)
    assert "attribute 'téma' has several values for 1 of its 40 texts" in finding.message


def test_a_file_without_attributes(tmp_path):
    path = write(tmp_path / "p.csv", {"text": posts(), "id": range(120)})
    (finding,) = inspect_proposal(propose(path))
    assert (finding.kind, finding.attribute) == (FindingKind.UNUSABLE, None)
