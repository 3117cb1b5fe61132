import stat
import tomllib

import pytest

from esm.common.errors import TaskError
from esm.tasks.guess.draft import as_toml, write_draft
from esm.tasks.guess.propose import Proposal, propose
from esm.tasks.guess.roles import Guess, Role
from esm.tasks.load import load_target
from esm.tasks.spec import ColumnSpec, SplitSpec, TaskSpec
from esm.tasks.specfile import read_spec
from tests.unit.tasks.guess.test_propose import cycle, long_table, posts, write


def spreadsheet(folder):
    table = {
        "č.": range(120),
        "príspevok": posts(),
        "autor": [f"autor {i % 25}" for i in range(120)],
        "postoj": ["iné"] * 3 + cycle("súhlasí", "nesúhlasí", count=117),
        "závažnosť": cycle("nízka", "stredná", "vysoká"),
        "emócie": cycle("strach; hnev", "hnev", "", ";"),
        "miera": [i / 120 for i in range(120)],
    }
    return write(folder / "príspevky.csv", table, "cp1250", ";")


def test_what_is_written_is_read_as_it_was_proposed(tmp_path):
    proposal = propose(spreadsheet(tmp_path))
    path = write_draft(proposal)
    assert path == tmp_path / "príspevky.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_spec(path) == proposal.spec


def test_the_target_loads(tmp_path):
    target = load_target(read_spec(write_draft(propose(spreadsheet(tmp_path)))))
    kinds = {name: task.problem.value for name, task in target.attributes.items()}
    assert kinds == {
        "postoj": "classification",
        "závažnosť": "ordinal",
        "emócie": "multi-label",
        "miera": "regression",
    }
    assert target.attributes["postoj"].label_names == ("nesúhlasí", "súhlasí")
    assert not target.skipped


def test_a_long_file_loads(tmp_path):
    path = write(tmp_path / "p.csv", long_table())
    target = load_target(read_spec(write_draft(propose(path))))
    assert list(target.attributes) == ["postoj", "hodnotenie", "emócia"]
    assert target.attributes["emócia"].label_names == ("hnev", "strach", "žiaľ")


def test_every_choice_stands_below_its_reason(tmp_path):
    lines = as_toml(propose(spreadsheet(tmp_path)), tmp_path).splitlines()
    assert lines[lines.index('text = "príspevok"') - 1].startswith("# 120 distinct values in 120")
    assert lines[lines.index('group = "autor"') - 1].startswith("# named like an origin")
    assert lines[lines.index('kind = "ordinal"') - 1].startswith("# its labels are degrees")
    assert lines[lines.index("min_per_class = 5") - 1].startswith("# few rows to learn from: iné 3")
    assert "# 'č.': an id: 120 distinct values in 120 rows" in lines
    assert any(line.startswith('# language = "sk" # detected') for line in lines)
    assert max(map(len, lines)) <= 100


def test_the_data_file_is_named_relative_to_the_specification(tmp_path):
    proposal = propose(spreadsheet(tmp_path))
    (tmp_path / "a").mkdir()
    path = write_draft(proposal, tmp_path / "a" / "spec.toml")
    assert tomllib.loads(path.read_text("utf-8"))["file"] == "../príspevky.csv"
    assert read_spec(path) == proposal.spec


def test_names_with_quotes_line_ends_and_dots_survive(tmp_path):
    names = ('a "b"', "riadok\n1", "x.y", "#", "č'")
    columns = {
        name: ColumnSpec(kind="classification", order=(name.replace("\n", " "), "\\"))
        for name in names
    }
    spec = TaskSpec(
        location=str(tmp_path / "p.csv"),
        text="te\nxt",
        attributes=names,
        columns=columns,
        delimiter="\t",
        split=SplitSpec(group="x.y"),
    )
    guesses = [
        Guess("te\nxt", Role.TEXT, "why\n[split]"),
        *(Guess(name, Role.ATTRIBUTE, f"why {name}", how) for name, how in columns.items()),
        Guess("id\n", Role.NONE, "an id"),
    ]
    proposal = Proposal(spec, tuple(guesses), {"split": "why", "delimiter": "a\nb"})
    assert read_spec(write_draft(proposal)) == spec


def test_nothing_that_was_edited_is_lost(tmp_path):
    proposal = propose(spreadsheet(tmp_path))
    path = write_draft(proposal)
    path.write_text("edited", "utf-8")
    with pytest.raises(TaskError, match=r"is there already; .*--replace"):
        write_draft(proposal)
    assert path.read_text("utf-8") == "edited"
    write_draft(proposal, replace=True)
    assert read_spec(path) == proposal.spec
    with pytest.raises(TaskError, match=r"ends in '\.csv'; .*--out p\.toml"):
        write_draft(proposal, tmp_path / "p.csv")
