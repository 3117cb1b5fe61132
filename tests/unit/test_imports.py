"""Imports go one way: a module imports only what stands above it in the architecture."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "esm"
ORDER = [
    "common",
    "tasks",
    "metrics",
    "encoder",
    "maps",
    "training",
    "strategies",
    "pool",
    "scorers",
    "ranking",
    "trials",
    "inference",
    "report",
    "cli",
    "__main__",
]


def place(module: str) -> int:
    return ORDER.index(module.split(".")[1])


def imports_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [name.name for name in node.names]
    return [name for name in found if name == "esm" or name.startswith("esm.")]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_above(path):
    module = "esm." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for imported in imports_of(path):
        assert imported != "esm", f"{module} imports from the package root"
        same_package = imported.split(".")[1] == module.split(".")[1]
        assert same_package or place(imported) < place(module), f"{module} imports {imported}"


def test_every_module_has_its_place_in_the_order():
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in modules()}
    assert names == set(ORDER)


def test_the_command_line_starts_without_heavy_libraries():
    heavy = ["torch", "transformers", "datasets", "sklearn", "pandas", "scipy", "pydantic"]
    code = f"import sys, esm.cli.app; print([m for m in {heavy} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
