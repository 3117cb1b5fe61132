"""Numbers, times and sizes as a person reads them."""

from __future__ import annotations

MISSING = "-"


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """Format a number, or a dash where there is none."""
    if value is None or value != value:
        return MISSING
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def points(value: float | None, *, sign: bool = False) -> str:
    """Format a fraction in points (x 100).

    Example:
        >>> points(0.6531), points(0.05, sign=True)
        ('65.3', '+5.0')
    """
    return number(None if value is None else 100 * value, 1, sign=sign)


def plus_minus(value: float | None, error: float | None, *, sign: bool = False) -> str:
    """Format a fraction in points with its standard error, where that is known.

    Example:
        >>> plus_minus(0.6531, 0.012)
        '65.3 ± 1.2'
    """
    if value is None or error is None:
        return points(value, sign=sign)
    return f"{points(value, sign=sign)} ± {100 * error:.1f}"


def duration(seconds: float) -> str:
    """Format seconds for a person.

    Example:
        >>> duration(3725)
        '1 h 2 min'
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Format a number of bytes in decimal units.

    Example:
        >>> size(57_300)
        '57.3 kB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def megabytes(value: float) -> str:
    """Format megabytes, the small ones to the kilobyte."""
    return number(value, 1 if value >= 1 else 3)
