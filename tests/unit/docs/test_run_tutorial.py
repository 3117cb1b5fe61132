"""The tutorial's commands are run in order, and one that fails ends it with its exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

import esm.cli.app
from docs import run_tutorial

FAILURES = [
    ("show nowhere", 1, "esm: nowhere"),  # an error of ours
    ("show", 2, "Missing argument"),  # wrong usage
]


@pytest.fixture
def tutorial(tmp_path, monkeypatch):
    """Write a tutorial of these commands; the folder is what its commands run from."""
    monkeypatch.setattr(run_tutorial, "TUTORIAL", tmp_path / "tutorial.md")
    monkeypatch.setattr(run_tutorial, "PROJECT", tmp_path)

    def write(*commands):
        lines = "".join(f"Words.\n\n    esm {command}\n\n" for command in commands)
        run_tutorial.TUTORIAL.write_text(lines, encoding="utf-8")

    return write


@pytest.fixture
def no_process(monkeypatch):
    monkeypatch.setattr(run_tutorial, "run_installed", run_tutorial.run_here)


def test_the_first_command_is_a_process_of_its_own(tutorial, monkeypatch, capfd):
    seen = []
    run = subprocess.run

    def watched(command, **options):
        seen.append(list(map(str, command[1:])))
        return run([sys.executable, "-m", "esm", *command[1:]], **options)

    monkeypatch.setattr(run_tutorial.subprocess, "run", watched)
    tutorial("--version", "show --help")
    assert run_tutorial.main() == 0
    assert seen == [["--version"]]
    printed = capfd.readouterr().out
    assert printed.index("$ esm --version") < printed.index("$ esm show --help")
    assert "show [OPTIONS]" in printed


@pytest.mark.parametrize(("command", "code", "message"), FAILURES)
def test_the_first_failure_ends_it(tutorial, no_process, capsys, command, code, message):
    tutorial("--version", command, "tasks --help")
    arguments = list(sys.argv)
    assert run_tutorial.main() == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "tasks --help" not in printed.out
    assert sys.argv == arguments


def test_a_crash_is_a_failure_with_its_traceback(tutorial, no_process, monkeypatch, capsys):
    def crash():
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(esm.cli.app, "app", crash)
    tutorial("--version", "show")
    assert run_tutorial.main() == 1
    assert "RuntimeError: a fault of ours" in capsys.readouterr().err


def test_the_commands_of_the_page_are_found():
    found = run_tutorial.commands()
    assert found[0].startswith("esm tasks init data/remedy-posts.csv")
    assert found[-1] == "esm purge --dry-run"
    assert len(found) == len(set(found)) >= 10
