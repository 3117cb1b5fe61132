"""Answers to a form."""

import itertools

import pytest

from esm.tasks.formats.google_forms import check_boxes
from tests.unit.tasks.formats.told import read, write

OPTIONS = ["strava, výživa a pitie", "očkovanie", "právo"]
CHOSEN = [
    list(found)
    for size in (1, 2, 3)
    for found in itertools.combinations(OPTIONS, size)
    for _ in range(2)
]


@pytest.mark.parametrize("first", ["Timestamp", "Časová pečiatka", "Zeitstempel"])
def test_check_boxes_with_commas_inside_an_option(tmp_path, caplog, first):
    lines = [
        f'5. 3. 2024 16:09:11,"prvý, druhý {n}","{", ".join(found)}",nie, ano'
        for n, found in enumerate(CHOSEN)
    ]
    lines = [line.replace("nie, ano", "nie") for line in lines]
    content = "\n".join([f'{first},"Prečítajte si, čo sa píše",Témy?,Je to tak?', *lines])
    table, said = read(write(tmp_path / "a.csv", content), caplog)
    assert table["Témy?"] == CHOSEN
    assert table["Prečítajte si, čo sa píše"][:2] == ["prvý, druhý 0", "prvý, druhý 1"]
    assert set(table["Je to tak?"]) == {"nie"}
    assert said == "a.csv: read as Google Forms: 'Témy?' holds check boxes, 3 options"


def test_single_answers_and_sentences_are_no_check_boxes():
    assert check_boxes(["áno, určite", "nie, vôbec"] * 9) is None
    assert check_boxes([f"veta {n}, a ďalšia {n}" for n in range(30)]) is None
    assert check_boxes([1, 2, 3] * 9) is None
    assert check_boxes([]) is None
    assert check_boxes(["a, b;c", "c", "a, b", "c"] * 2)[:2] == [["a, b", "c"], ["c"]]
    assert check_boxes(["a, b", None, "b", "a", "a, b", "b", "a"]) == [
        ["a", "b"], None, ["b"], ["a"], ["a", "b"], ["b"], ["a"],
    ]  # fmt: skip


def test_other_files_with_commas_in_cells_stay(tmp_path, caplog):
    table, said = read(write(tmp_path / "a.csv", 'text,x\na,"y, z"\nb,y\n'), caplog)
    assert (table["x"], said) == (["y, z", "y"], "")
