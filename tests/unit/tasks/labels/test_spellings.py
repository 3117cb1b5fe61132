import pytest

from esm.tasks.labels.spellings import find_spellings, look_alikes, truth


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("Reliable", "reliable"),
        ("RELIABLE", "reliable"),
        ("reliable.", "reliable"),
        ('"reliable"', "reliable"),
        ("reliable", "reliable"),
        ("Reliabel", "Reliabel"),
        ("unreliable", "unreliable"),
    ],
)
def test_another_spelling_of_the_only_such_class(written, label):
    assert find_spellings({"reliable": 20, "misleading": 30}).find(written) == label


def test_labels_that_the_training_rows_tell_apart_stay_apart():
    spellings = find_spellings({"US": 10, "us": 12, "other": 9})
    assert [spellings.find(name) for name in ("US", "us", "Us")] == ["US", "us", "Us"]
    assert spellings.find("Other") == "other"


@pytest.mark.parametrize(
    ("counts", "written", "label"),
    [
        ({"true": 9, "TRUE": 2, "False": 8}, "TRUE", "true"),
        ({"true": 9, "False": 8}, "0", "False"),
        ({"áno": 9, "Ano": 2, "nie": 8}, "Ano", "áno"),
        ({"1": 9, "0": 8}, "yes", "1"),
        ({"1": 9, "1.0": 2, "0": 8}, "1.0", "1"),
        ({"ja": 9, "nein": 8}, "Nein", "nein"),
        ({"tak": 9, "nie": 8}, "TAK", "tak"),
        ({"yes": 9, "no": 8, "Y": 2, "N": 1}, "Y", "yes"),
        ({"yes": 9, "no": 8}, "n", "no"),
        ({"ano": 9, "nie": 8}, "x", "x"),
        # A third answer makes of yes and no two of three classes.
        ({"yes": 9, "no": 8, "maybe": 3}, "true", "true"),
        # One letter each may be true, false and neither.
        ({"T": 9, "F": 8}, "true", "true"),
        ({"1": 9, "2": 8}, "true", "true"),
    ],
)
def test_truth_values_in_every_spelling(counts, written, label):
    assert find_spellings(counts).find(written) == label


def test_truth():
    assert [truth(name) for name in ("Áno", "NIE", "1.0", "n/a")] == [True, False, True, None]


def test_declared_classes_are_all_there_are():
    spellings = find_spellings({"Nízka": 3, "nízka": 9, "vysoká": 9}, ("nízka", "vysoká"))
    assert [spellings.find(name) for name in ("Nízka", "VYSOKÁ", "iné")] == [
        "nízka",
        "vysoká",
        "iné",
    ]


def test_what_the_specification_merges():
    spellings = find_spellings({"US": 9, "us": 3, "uk": 9}, merge={"us": "US", "GB": "uk"})
    assert [spellings.find(name) for name in ("us", "GB", "UK")] == ["US", "uk", "uk"]


def test_classes_that_look_alike():
    names = ["áno", "ano", "nie", "US", "us", "mis_leading", "mis leading"]
    assert look_alikes(names) == [("US", "us"), ("ano", "áno"), ("mis leading", "mis_leading")]
    assert look_alikes(["a", "b"]) == []
