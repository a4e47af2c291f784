"""What a training is asked to do, and the name a configuration goes by."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sources.errors import BadInput, UnknownName

KINDS: Mapping[str, float] = {"first_passage": 0.30, "terminal": 0.20, "relative": 0.0}
"""Kinds of outcome and the rise each asks for by default."""

LARGEST_RISE = 5.0
START, FIRST_TEST = pd.Timestamp("2015-01-01"), pd.Timestamp("2018-01-01")


@dataclass(frozen=True)
class TrainSettings:
    """What to forecast, with which models, on which rows.

    `threshold` is a share (0.3 is 30 %), None the default of the outcome; `horizons` are calendar days; `models` None means all
    that can forecast the outcome; `draws` refits lie behind the interval of a probability; `rotations` thins those of the
    nulls evenly to that many (None: all). Raises BadInput on anything else.
    """

    outcome: str = "first_passage"
    threshold: float | None = None
    horizons: tuple[int, ...] = (30, 60, 90)
    start: pd.Timestamp = START
    first_test: pd.Timestamp = FIRST_TEST
    models: tuple[str, ...] | None = None
    draws: int = 200
    rotations: int | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what can't be trained."""
        if self.outcome not in KINDS:
            raise UnknownName("outcome", self.outcome, KINDS)
        if sorted(set(self.horizons)) != list(self.horizons) or not self.horizons or self.horizons[0] < 1:
            raise BadInput(f"Horizons must be rising numbers of days, not {self.horizons}.")
        if self.threshold is not None:
            require_rise(self.outcome, self.threshold)

    @property
    def rise(self) -> float:
        """The threshold asked for, or the outcome's own."""
        return KINDS[self.outcome] if self.threshold is None else self.threshold

    @property
    def label(self) -> str:
        """Names what is forecast: only forecasts of the same label can be compared."""
        return f"{self.outcome} {self.rise:g} within {'/'.join(map(str, self.horizons))} days"


def require_rise(outcome: str, rise: float) -> None:
    """Refuse a threshold the outcome can't have."""
    if outcome == "relative" and rise != 0:
        raise BadInput(f"--threshold {rise:g} has no meaning for `relative`, which asks whether the index beats BTC.")
    if outcome == "terminal" and not -1 < rise <= LARGEST_RISE:
        raise BadInput(f"--threshold {rise:g} is not a share between -1 and {LARGEST_RISE:g}; 0.2 is 20 %.")
    if outcome == "first_passage" and not 0 < rise <= LARGEST_RISE:
        raise BadInput(f"--threshold {rise:g} is not a share between 0 and {LARGEST_RISE:g}; 0.3 is 30 %.")


def family(market: str) -> str:
    """Models tried on the same market are tries at the same question."""
    return f"altcoin-rally-{market}"


def configuration(model: str, params: Mapping[str, Any], columns: Sequence[str], settings: TrainSettings) -> str:
    """16 hex digits naming a configuration: all that decides its forecasts except the data and the code."""
    parts = {
        "model": model,
        "params": {name: repr(value) for name, value in sorted(params.items())},
        "columns": list(columns),
        "outcome": settings.outcome,
        "threshold": settings.rise,
        "horizons": settings.horizons,
        "start": f"{settings.start:%Y-%m-%d}",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
