"""Every table of the command line, with long names, in narrow and wide terminals.

A function of the room that makes tables and has no case fails the first test.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import pkgutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

import esm.report
from esm.report import ranking as rankings
from esm.report.table import Table, plain, print_styled
from tests.unit.report.table_cases import CASES, SOURCES, ranking

WIDTHS = (80, 100, 140)


def makers() -> Iterator[str]:
    """Yield every public function that makes tables."""
    names = [f"esm.report.{found.name}" for found in pkgutil.iter_modules(esm.report.__path__)]
    for name in [*names, "esm.cli.demo.tables"]:
        for attribute, function in inspect.getmembers(
            importlib.import_module(name), inspect.isfunction
        ):
            own = function.__module__ == name and not attribute.startswith("_")
            if own and "Table" in str(inspect.signature(function).return_annotation):
                yield f"{name.removeprefix('esm.report.').removeprefix('esm.cli.')}.{attribute}"


def test_every_function_that_makes_tables_has_a_case():
    assert sorted(makers()) == sorted(CASES)


@functools.cache
def made(name: str) -> list[Table]:
    return CASES[name]()


def letters(texts: Iterable[str]) -> Counter[str]:
    return Counter(letter for text in texts for letter in text if not letter.isspace())


def shown(one: Table, wide: bool) -> list[str]:
    """Return all that a table has to show."""
    columns = [i for i, head in enumerate(one.columns) if wide or head not in one.further]
    lines = (one.columns, *one.rows)
    return [one.title, *(line[i] for line in lines for i in columns), *one.notes]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(CASES))
def test_no_line_is_wider_than_the_terminal_and_no_letter_is_lost(name, width, wide):
    assert made(name)
    for one in made(name):
        text = plain(one, wide=wide, width=width)
        assert max(map(cell_len, text.splitlines())) <= width
        # Where columns stand in blocks, the names of the rows are repeated.
        assert letters(shown(one, wide)) <= letters([text])
        console = Console(record=True, width=width, file=io.StringIO())
        print_styled([one], console, wide=wide)
        printed = console.export_text()
        assert max(map(cell_len, printed.splitlines())) <= width
        assert letters([text]) == letters([printed.replace("─", "")])


@pytest.mark.parametrize("name", sorted(CASES))
def test_default_columns_fit_80_side_by_side(name):
    """Only tables with a column per class, strategy or size of the data may need blocks."""
    for one in made(name):
        text = plain(one, width=80)
        by_data = one.title.endswith(("4 runs", "3 runs")) or "strategies compared" in one.title
        if not by_data:
            assert letters(shown(one, False)) == letters([text]), text


@pytest.mark.parametrize("name", sorted(CASES))
def test_in_a_pipe_every_name_is_on_one_line(name):
    for one in made(name):
        lines = plain(one).splitlines()
        assert len(lines) == bool(one.title) + bool(one.columns) + len(one.rows) + len(one.notes)


def test_the_narrow_ranking_has_the_default_columns_and_whole_names():
    found = ranking()
    _, one, *_ = rankings.ranking_tables(found)
    heads = [head for head in one.columns if head not in one.further]
    expected = "expected macro_f1, points"
    assert heads == ["rank", "source", "predicted gain", expected, "trust", "flags"]
    text = plain(one, width=80)
    assert text.splitlines()[2].split() == ["rank", "source", "gain", "points", "trust", "flags"]
    for source in SOURCES:  # longer than the column: folded behind separators
        assert source in plain(one, width=140)
    usual = [(row[0], "climate-fever-claims-en", *row[2:]) for row in one.rows]
    assert plain(replace(one, rows=usual), width=80).count("climate-fever-claims-en") == 3


@pytest.mark.parametrize("name", ["pool.pool_tables", "validation.validation_tables"])
def test_names_of_up_to_thirty_letters_are_not_folded_in_80_columns(name):
    one = made(name)[0]
    column = one.columns.index("source")
    source = "emotion-of-tweets-in-slovak-en"
    rows = [(*row[:column], source, *row[column + 1 :]) for row in one.rows]
    assert source in plain(replace(one, rows=rows), width=80)
