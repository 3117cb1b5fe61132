"""What a training cost, under the table of a validation."""

from __future__ import annotations

from esm.report.validation import training_notes
from esm.trials.lines import ArmResult

ARM = {
    "arm": "none",
    "source": "none",
    "rank": None,
    "predicted_gain": None,
    "runs": 1,
    "mean": 0.5,
    "standard_error": None,
    "gain": None,
    "gain_standard_error": None,
    "metrics": {},
    "trained_share": 0.0125,
    "seconds": 1.0,
}


def arm(**changes):
    return ArmResult(**(ARM | changes))


def test_a_result_of_an_earlier_version_tells_the_share_alone():
    assert training_notes([arm(), arm(source="a")]) == ["1.2 % of the weights were trained"]


def test_numbers_memory_and_remarks_are_told_once():
    first = arm(
        trained_parameters=25_000,
        stored_parameters=25_002,
        peak_memory=812_000_000,
        remarks=("the head is new",),
    )
    second = first.model_copy(update={"source": "a", "peak_memory": 1_400_000_000})
    assert training_notes([first, second]) == [
        "1.2 % of the weights were trained (25,000)",
        "at most 1,400 MB of memory in use while training",
        "the head is new",
    ]


def test_what_is_kept_is_told_where_it_is_not_what_was_trained():
    neighbours = arm(trained_share=0.0, trained_parameters=0, stored_parameters=58_351)
    assert training_notes([neighbours]) == [
        "0.0 % of the weights were trained (0)",
        "58,351 numbers are kept of a model",
    ]
