"""Where the checkout lies, and the folder of real datasets beside it."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("ESM_DATA") or ROOT.parent / "shared" / "data")
