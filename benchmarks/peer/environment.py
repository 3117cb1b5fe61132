"""An environment of its own for hf-dataset-selector, which wants another numpy than we do."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "peer-constraints.txt"
_ROOT = Path(__file__).parents[2]
DEFAULT = _ROOT / ".venv-peer"
_STAMP = ".installed"


def install(environment: Path = DEFAULT) -> Path:
    """Return the Python of an environment with hf-dataset-selector, made where it is missing.

    It takes some minutes, and nothing where the constraints have not changed since.

    Raises:
        CalledProcessError: Something cannot be installed.
    """
    windows = sys.platform == "win32"
    python = environment / ("Scripts/python.exe" if windows else "bin/python")
    wanted, stamp = CONSTRAINTS.read_text(encoding="utf-8"), environment / _STAMP
    if python.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    if not python.is_file():
        venv.create(environment, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for packages in (["torch"], ["scipy", "hf-dataset-selector"]):
        subprocess.run([*command, "-c", str(CONSTRAINTS), *packages], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python
