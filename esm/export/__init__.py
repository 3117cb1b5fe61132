"""The winners of a validation as plain Transformers models that need nothing of this package."""

from esm.export.models import Exported, export_run

__all__ = ["Exported", "export_run"]
