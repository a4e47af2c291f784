"""Numbers as people read them, the same in the terminal, on the page and in sentences: a real minus sign, and no minus zero."""

from collections.abc import Mapping
from typing import Any

UNKNOWN = "–"


def signed(value: float | None, digits: int = 2) -> str:
    """A number with its sign; a dash where there is none."""
    return UNKNOWN if value is None else f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def number(value: float | None, digits: int = 2) -> str:
    """A number whose sign only shows below zero; a dash where there is none."""
    return UNKNOWN if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def signed_share(share: float | None, digits: int = 0) -> str:
    """A change in percent, with its sign."""
    return UNKNOWN if share is None else f"{signed(100 * share, digits)}%"


def interval(part: Mapping[str, Any] | None, digits: int = 3) -> str:
    """A value with its interval in brackets, from a mapping of value, low and high."""
    if not part or part.get("value") is None:
        return UNKNOWN
    value = signed(part["value"], digits)
    if part.get("low") is None or part.get("high") is None:
        return value
    return f"{value} [{signed(part['low'], digits)}, {signed(part['high'], digits)}]"
