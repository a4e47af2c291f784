"""What a training is asked to do, and the name a configuration goes by."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.target import ALTCOINS, Target

SEARCHED = ", searched before "
"""In what a try is counted as: only days before its test were looked at, so it wasn't judged."""

START, FIRST_TEST = pd.Timestamp("2015-01-01"), pd.Timestamp("2018-01-01")


@dataclass(frozen=True)
class TrainSettings:
    """What to forecast, with which models, on which rows.

    `models` None means all that can forecast the target's outcome; `draws` refits lie behind the interval of a probability;
    `rotations` thins those of the nulls evenly to that many (None: all).
    """

    target: Target = ALTCOINS
    start: pd.Timestamp = START
    first_test: pd.Timestamp = FIRST_TEST
    models: tuple[str, ...] | None = None
    draws: int = 200
    rotations: int | None = None
    seed: int = 7

    @property
    def outcome(self) -> str:
        """The kind of outcome."""
        return self.target.outcome

    @property
    def rise(self) -> float:
        """By how much the level must rise."""
        return self.target.rise

    @property
    def horizons(self) -> tuple[int, ...]:
        """Calendar days ahead."""
        return self.target.horizons

    @property
    def label(self) -> str:
        """Names what is forecast: only forecasts of the same label can be compared."""
        return self.target.label


def family(market: str, target: Target = ALTCOINS) -> str:
    """Models tried at the same target on the same market are tries at the same question."""
    return f"{target.slug}-{market}"


def configuration(model: str, params: Mapping[str, Any], columns: Sequence[str], settings: TrainSettings) -> str:
    """16 hex digits naming a configuration: all that decides its forecasts except the data and the code."""
    parts: dict[str, Any] = {
        "model": model,
        "params": {name: repr(value) for name, value in sorted(params.items())},
        "columns": list(columns),
        "outcome": settings.outcome,
        "threshold": settings.target.threshold,
        "horizons": settings.horizons,
        "start": f"{settings.start:%Y-%m-%d}",
    }
    if not settings.target.is_default:
        parts["target"] = settings.target.definition
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
