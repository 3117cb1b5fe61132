"""From the result of trials to its tables, whichever verb made it."""

from __future__ import annotations

from esm.report.classes import class_tables
from esm.report.comparison import comparison_tables, curve_table
from esm.report.table import Table
from esm.report.validation import validation_tables
from esm.trials.results import Comparison, Validation


def result_tables(found: Validation | Comparison, *, classes: bool = False) -> list[Table]:
    """Return the tables of a validation or a comparison.

    Args:
        found: The result.
        classes: Show every class and the confusion matrices too.
    """
    if isinstance(found, Comparison):
        tables = comparison_tables(found)
    else:
        tables = validation_tables(found)
        curves = [curve_table(name, one) for name, one in found.attributes.items() if one.curve]
        tables = [*tables[:-1], *curves, tables[-1]]
    return [*tables, *(class_tables(found) if classes else [])]
