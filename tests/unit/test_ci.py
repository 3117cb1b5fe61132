"""What continuous integration runs: a step that fails, in the background too, fails the whole."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.paths import ROOT

DEMO_TEST = "tests/e2e/test_demo.py"
STEPS = [
    "setup",
    "demo",
    "tutorial",
    f"test TESTS={DEMO_TEST}",
    "lint",
    "docs",
    f"test TESTS=--deselect {DEMO_TEST}",
]

# Stands in for make: says what it was called with, and fails where it is told to.
MAKE = """#!/bin/sh
echo "$*" >> "$CALLS"
echo "closing line of $*"
[ "$*" != "$FAILS" ]
"""


@pytest.fixture
def run_ci(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(MAKE, encoding="utf-8")
    make.chmod(0o755)
    calls = tmp_path / "calls"

    def run(fails=""):
        path = f"{make.parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "CALLS": str(calls), "FAILS": fails}
        done = subprocess.run(
            [tmp_path / ".ci" / "run"], capture_output=True, text=True, check=False, env=environment
        )
        return done, calls.read_text(encoding="utf-8").splitlines()

    return run


def test_every_step_is_run_once_and_the_tests_have_the_last_line(run_ci):
    done, calls = run_ci()
    assert done.returncode == 0, done.stderr
    assert calls[0] == "setup"
    assert sorted(calls) == sorted(STEPS)
    assert done.stdout.splitlines()[-1] == f"closing line of {STEPS[-1]}"
    for step in STEPS:
        assert f"closing line of {step}" in done.stdout
        assert re.search(rf"^make {step}: \d+ s, passed$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_fails_the_whole(run_ci, step):
    done, calls = run_ci(step)
    assert done.returncode != 0
    if step == "setup":
        assert calls == ["setup"]
        return
    assert f"make {step}: " in done.stdout
    assert done.stdout.count("FAILED") == 1
    assert {STEPS[1], *STEPS[4:]} <= set(calls), "the other lane ran to its end"
