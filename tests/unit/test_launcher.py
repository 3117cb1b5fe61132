"""The launcher, and what it says where another package is imported as esm."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.paths import ROOT


def run(*arguments, path=(), cwd=ROOT):
    """Run Python with these folders first on the path."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=cwd
    )


START = ("-c", "import sys, esm_transfer; sys.argv = ['esm', *sys.argv[1:]]; esm_transfer.main()")


@pytest.fixture
def namesake(tmp_path):
    """A protein package, as pip would have installed it."""
    (tmp_path / "esm").mkdir()
    (tmp_path / "esm" / "__init__.py").write_text("raise ImportError('torch')\n")
    return tmp_path


def installed(folder, name="fair-esm"):
    metadata = folder / f"{name.replace('-', '_')}-2.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0.0\n")
    return folder


def test_another_package_of_the_name_is_named_and_never_imported(namesake, tmp_path):
    result = run(*START, "--version", path=[installed(namesake)], cwd=tmp_path.parent)
    assert result.returncode == 1
    assert f"`import esm` leads to {namesake / 'esm'} (fair-esm), not to esm-transfer" in (
        result.stderr
    )
    assert "pip uninstall fair-esm" in result.stderr
    assert "Traceback" not in result.stderr


def test_both_installed_is_noted_unless_quiet(tmp_path):
    beside = installed(tmp_path / "site")
    result = run(*START, "--version", path=[beside])
    assert result.returncode == 0
    assert result.stderr.startswith("note: fair-esm (protein models) is installed here too")
    assert run(*START, "--quiet", "--version", path=[beside]).stderr == ""


@pytest.mark.parametrize("start", [("-m", "esm"), ("cli.py",), START])
def test_every_way_in_works(start):
    result = run(*start, "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip()


def test_nothing_heavy_is_loaded_to_look(tmp_path):
    code = "import sys, esm_transfer; print(esm_transfer.clash(), 'torch' in sys.modules)"
    assert run("-c", code).stdout.strip() == "None False"


def test_usage_reports_of_the_libraries_are_off_for_programs_and_the_command_line():
    names = ("HF_HUB_DISABLE_TELEMETRY", "HF_UPDATE_DOWNLOAD_COUNTS")
    code = (
        "import os, esm, huggingface_hub.constants as hub;"
        f"print(hub.HF_HUB_DISABLE_TELEMETRY, *map(os.environ.get, {names}))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.split() == ["True", "1", "0"]
    environment["HF_HUB_DISABLE_TELEMETRY"] = "0"  # whoever wants to report, may
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout.split() == ["False", "0", "0"]
