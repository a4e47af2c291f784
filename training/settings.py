"""Settings of a training, and the hash that identifies a configuration."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.target import ALTCOINS, Target

SEARCHED = ", searched before "
"""Part of the label of a trial that was only searched on days before the test, and never judged on the test."""

START, FIRST_TEST = pd.Timestamp("2015-01-01"), pd.Timestamp("2018-01-01")


@dataclass(frozen=True)
class TrainSettings:
    """What to forecast, with which models, on which rows.

    `models` None means all that can forecast the target's outcome; `draws` is the number of bootstrap refits for the
    interval of a probability; `rotations` the number of shifts in null tests (None: all).
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
        """Text that names the outcome; only forecasts with the same label can be compared."""
        return self.target.label


def family(market: str, target: Target = ALTCOINS) -> str:
    """Name of the family of trials: all models tried on one target and market count together."""
    return f"{target.slug}-{market}"


def configuration(model: str, params: Mapping[str, Any], columns: Sequence[str], settings: TrainSettings) -> str:
    """Hash (16 hex digits) of everything that decides the forecasts of a model except data and code."""
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
