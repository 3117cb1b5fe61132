"""Start the command line, and notice where another package owns the import name ``esm``.

The protein language models ``esm`` and ``fair-esm`` on PyPI are imported as ``esm`` too. Installed
beside this package they overwrite its files, or hide them; the message would then be an
ImportError that names a module of theirs. This module lies outside the package, so that it can
still say what has happened.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NAMESAKES = ("esm", "fair-esm")

# esm/__init__.py names its distribution: theirs do not hold this line.
_MARK = '__distribution__ = "esm-transfer"'


def stranger() -> str | None:
    """Return where ``import esm`` leads when it is not this package; None when it is.

    Nothing is imported: the protein packages load torch, or fail.
    """
    spec = importlib.util.find_spec("esm")
    if spec is None or spec.origin is None:
        return "no package at all"
    init = Path(spec.origin)
    if init.is_file() and _MARK in init.read_text(encoding="utf-8", errors="replace"):
        return None
    return str(init.parent)


def namesakes() -> tuple[str, ...]:
    """Return the installed distributions that are also imported as ``esm``."""
    return tuple(name for name in NAMESAKES if _is_installed(name))


def clash() -> str | None:
    """Return what to say where the name is taken; None where all is well."""
    where = stranger()
    if where is None:
        return None
    names = ", ".join(namesakes()) or "another package"
    return (
        f"esm: `import esm` leads to {where} ({names}), not to esm-transfer; expected an"
        " environment of its own, since both packages are imported as `esm`; try: python -m venv"
        " ENV, and pip install esm-transfer there; or pip uninstall"
        f" {' '.join(namesakes()) or 'the other one'}, then pip install --force-reinstall"
        " --no-deps esm-transfer"
    )


def company() -> str | None:
    """Return a note where both are installed and this package is the one that is imported."""
    found = namesakes()
    if not found:
        return None
    return (
        f"note: {' and '.join(found)} (protein models) is installed here too, and imported as `esm`"
        " as well; whichever was installed last works: give each its own environment"
    )


def main() -> None:
    """Run the command line, or say why it cannot run."""
    message = clash()
    if message is not None:
        print(message, file=sys.stderr)  # noqa: T201
        raise SystemExit(1)
    note = company()
    if note is not None and "--quiet" not in sys.argv:
        print(note, file=sys.stderr)  # noqa: T201
    from esm.cli.app import main as run

    run()


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
