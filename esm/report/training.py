"""What trainings cost and what has to be known of them, as notes under a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from esm.report.table import number

if TYPE_CHECKING:
    from esm.trials.validation import ArmResult

# Mean and scale of the labels are kept too.
_SCALE = 2


def training_notes(arms: Sequence[ArmResult]) -> list[str]:
    """Return the share and number of weights trained, what is kept, the memory, the remarks."""
    lines = [_trained(arm) for arm in sorted(arms, key=lambda arm: arm.trained_share)]
    kept = [arm.stored_parameters for arm in arms if _differs(arm)]
    lines += [f"{count:,} numbers are kept of a model" for count in kept]
    peaks = [arm.peak_memory for arm in arms if arm.peak_memory is not None]
    if peaks:
        lines.append(f"at most {max(peaks) / 1e6:,.0f} MB of memory in use while training")
    lines += [remark for arm in arms for remark in arm.remarks]
    return list(dict.fromkeys(lines))


def _trained(arm: ArmResult) -> str:
    count = "" if arm.trained_parameters is None else f" ({arm.trained_parameters:,})"
    return f"{number(100 * arm.trained_share, 1)} % of the weights were trained{count}"


def _differs(arm: ArmResult) -> bool:
    """Whether more, or less, is kept than what was trained and the scale of the labels."""
    if arm.stored_parameters is None or arm.trained_parameters is None:
        return False
    return abs(arm.stored_parameters - arm.trained_parameters) > _SCALE
