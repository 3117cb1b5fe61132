"""What the library logs: to the command line, and to those who use it as a library."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from esm.cli.app import app
from esm.cli.notes import print_notes
from esm.common.runtime import show_progress
from tests.paths import ROOT

CUT = """
import sys
from esm.tasks.load import load_target
from esm.tasks.spec import TaskSpec
for _ in range(2):
    load_target(TaskSpec(location=sys.argv[1], test="test.csv", split={"method": "stratified"}))
"""
SHORT = "posts.csv: 2 of 42 rows have fewer cells than the header"


@pytest.fixture
def posts(tmp_path):
    """A table with two rows that end early, and test rows: something to warn of and a step."""
    rows = [f"the {('cat', 'dog')[i % 2]} number {i},{('yes', 'no')[i % 2]},{i}" for i in range(40)]
    lines = ["text,label,n", *rows, "the cat is late,yes", "the dog is late,no"]
    (tmp_path / "posts.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "test.csv").write_text("\n".join(lines[:21]), encoding="utf-8")
    return tmp_path / "posts.csv"


def library(posts, before=""):
    """Use the library in a process of its own; return what it wrote on stdout and stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            before + CUT.replace("test.csv", str(posts.parent / "test.csv")),
            posts,
        ],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout, done.stderr


@pytest.mark.slow
def test_without_configuration_a_library_user_hears_warnings_once_and_no_steps(posts):
    out, err = library(posts)
    assert out == ""
    assert err.count(SHORT) == 1
    assert "divided anew" not in err


@pytest.mark.slow
def test_with_plain_logging_a_library_user_hears_all_with_the_module_it_comes_from(posts):
    _, err = library(posts, "import logging; logging.basicConfig(level=logging.INFO)\n")
    assert f"WARNING:esm.tasks.formats.delimited:{SHORT}" in err
    assert "INFO:esm.tasks.splits.divide:" in err


def test_the_command_line_prints_the_lines_alone(posts):
    result = CliRunner().invoke(app, ["tasks", "show", str(posts), "--json"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("{")
    assert len([line for line in result.stderr.splitlines() if line.startswith(SHORT)]) == 1
    quiet = CliRunner().invoke(app, ["tasks", "show", str(posts), "--json", "--quiet"])
    assert (quiet.stdout, quiet.stderr) == (result.stdout, "")


def test_a_root_logger_does_not_say_it_again(capsys):
    root = logging.getLogger()
    again = logging.StreamHandler(sys.stderr)
    root.addHandler(again)
    try:
        show_progress(True)
        print_notes()
        print_notes()
        logging.getLogger("esm.pool.build").info("a step")
        logging.getLogger("esm.pool.build").debug("a detail")
    finally:
        root.removeHandler(again)
    assert capsys.readouterr().err == "a step\n"
