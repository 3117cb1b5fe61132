import pytest

from esm.tasks.guess.scales import ordered_scale


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("q2", ["1_no, definitely not", "2_probably", "3_not sure", "5_yes"]),
        ("otázka", ["1 - vôbec", "2 - trochu", "10 - veľmi"]),
        ("hodnotenie", ["1", "2", "3", "4", "5"]),
        ("Miera istoty", ["-1", "0", "1"]),
        ("severity_level", ["0", "2", "10"]),
        ("závažnosť", ["nízka", "Stredná", "VYSOKÁ"]),
        ("riziko", ["žiadne", "mierne", "stredné", "závažné"]),
        ("postoj", ["rozhodne nesúhlasím", "skôr súhlasím", "rozhodne súhlasím"]),
        ("otázka", ["nie", "čiastočne", "áno"]),
        ("otázka", ["Vůbec ne", "Spíše ne", "Spíše ano", "Zcela ano"]),
        ("pravdivosť", ["nepravda", "čiastočne pravda", "pravda"]),
        ("harm", ["low", "medium", "high"]),
        ("verdict", ["pants-fire", "false", "barely-true", "half-true", "mostly-true", "true"]),
        ("how often", ["never", "sometimes", "always"]),
    ],
)  # fmt: skip
def test_evident_scales_come_from_lowest_to_highest(name, order):
    found, why = ordered_scale(name, sorted(order))
    assert found == tuple(order)
    assert why


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("téma", ["1", "2", "3"]),
        ("rating", ["1", "2", "55"]),
        ("rating", ["1", "2", "bez hodnotenia"]),
        ("závažnosť", ["nízka", "vysoká"]),
        ("závažnosť", ["nízka", "stredná", "vysoká", "iná"]),
        ("závažnosť", ["nízka", "nízke", "vysoká"]),
        ("x", ["1_a", "1_b", "2_c"]),
        ("postoj", ["súhlasí", "nesúhlasí", "neutrálny"]),
        ("zdroj", ["facebook", "telegram", "blog"]),
    ],
)
def test_other_labels_are_no_scale(name, labels):
    assert ordered_scale(name, labels) is None
