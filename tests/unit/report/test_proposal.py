"""What a person sees of a proposal and of findings, by table and by command."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from esm.cli.app import app
from esm.report.table import plain
from esm.report.tasks import finding_tables, proposal_tables
from esm.tasks.faults.findings import Finding, FindingKind
from esm.tasks.guess.propose import Proposal
from esm.tasks.guess.roles import Guess, Role
from esm.tasks.spec import ColumnSpec, RareClasses, TaskSpec
from esm.tasks.specfile import read_spec
from tests.unit.tasks.guess.test_propose import cycle, posts, write


def esm(*arguments, code=0):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def spreadsheet(folder):
    table = {
        "č.": range(120),
        "príspevok": [*posts()[:119], posts()[60].upper()],
        "autor": [f"autor {i % 25}" for i in range(120)],
        "postoj": ["iné"] * 3 + cycle("súhlasí", "nesúhlasí", count=117),
    }
    return write(folder / "prispevky.csv", table, "cp1250", ";")


def test_a_proposal_shows_every_column_with_its_reason():
    how = ColumnSpec(kind="ordinal", min_per_class=5, rare=RareClasses.MERGE)
    guesses = (
        Guess("príspevok", Role.TEXT, "9 distinct values"),
        Guess("závažnosť", Role.ATTRIBUTE, "degrees", how, "few rows: nízka 3"),
    )
    proposal = Proposal(TaskSpec(location="a/p.csv"), guesses, {"split": "few rows"}, 1200)
    (table,) = proposal_tables(proposal, Path("p.toml"))
    assert plain(table) == (
        "p.csv: 1,200 rows\n"
        "column     proposed as         why\n"
        "príspevok  text                9 distinct values\n"
        "závažnosť  attribute: ordinal  degrees\n"
        "split: auto: few rows\n"
        "závažnosť: min_per_class = 5, rare = merge: few rows: nízka 3\n"
        "written to p.toml: check it and edit it; then: esm tasks show p.toml\n"
    )


def test_findings_stand_beside_what_to_do():
    assert finding_tables([]) == []
    findings = [
        Finding(FindingKind.DUPLICATE_TEXTS, None, 1200, "many", "keep one"),
        Finding(FindingKind.FEW_ROWS, "postoj", 7, "few", "label more"),
    ]
    (table,) = finding_tables(findings)
    assert plain(table) == (
        "2 things may spoil results\n"
        "finding          attribute  count  what  what to do\n"
        "duplicate texts  -          1,200  many  keep one\n"
        "few rows         postoj         7  few   label more\n"
    )
    assert finding_tables(findings[:1])[0].title == "1 thing may spoil results"


def test_init_writes_a_specification_that_show_takes(tmp_path):
    path = spreadsheet(tmp_path)
    printed = esm("tasks", "init", path).stdout
    assert "prispevky.csv: 120 rows" in printed
    assert "attribute: classification" in printed
    assert "duplicate texts" in printed
    assert "údajne skrýva" not in printed.casefold()
    specification = tmp_path / "prispevky.toml"
    assert read_spec(specification).attributes == ("postoj",)
    shown = json.loads(esm("tasks", "show", specification, "--json").stdout)
    assert shown["split"]["group"] == "autor"
    assert shown["attributes"]["postoj"]["label_names"] == ["nesúhlasí", "súhlasí"]
    assert {finding["kind"] for finding in shown["findings"]} >= {"duplicate texts"}
    assert "keep one row of each" in esm("tasks", "show", specification).stdout


def test_init_as_json_and_elsewhere(tmp_path):
    path, out = spreadsheet(tmp_path), tmp_path / "a.toml"
    content = json.loads(esm("tasks", "init", path, "--out", out, "--json").stdout)
    assert content["written"] == str(out)
    assert content["spec"]["text"] == "príspevok"
    assert [column["proposed_as"] for column in content["columns"]] == [
        "-",
        "text",
        "group",
        "attribute",
    ]
    assert content["columns"][3]["how"]["rare"] == "leave-out"
    assert set(content["findings"][0]) == {"kind", "attribute", "count", "message", "hint"}
    assert not (tmp_path / "prispevky.toml").exists()


def test_init_does_not_replace_what_was_edited_and_takes_what_is_named(tmp_path):
    path = spreadsheet(tmp_path)
    esm("tasks", "init", path)
    refused = CliRunner().invoke(app, ["tasks", "init", str(path)])
    assert refused.exit_code == 1
    assert "--replace" in refused.stderr
    named = ["--encoding", "cp1250", "--delimiter", ";", "--text", "príspevok", "--replace"]
    esm("tasks", "init", path, *named)
    assert read_spec(tmp_path / "prispevky.toml").encoding == "cp1250"
    tabs = write(tmp_path / "t.csv", {"text": posts(), "x": cycle("a", "b")}, delimiter="\t")
    esm("tasks", "init", tabs, "--delimiter", "tab")
    assert read_spec(tmp_path / "t.toml").delimiter == "\t"
