"""The type of a feature, and the registry of all features. Each is declared beside its formula."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.errors import NO_DOCSTRINGS, BadInput
from sources.series import Panel, Series

BLOCKS = ("breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state")


@dataclass(frozen=True)
class Derived:
    """An input that is computed from others, once for all features that read it.

    `function` sees its inputs by *observed* day, each as far as it was known its own release lag later, and returns a Series or a
    wide DataFrame by observed day. It must only look back, at most `lookback` days. Without its first input it is missing; another
    input may be an empty frame.
    """

    name: str
    inputs: "tuple[Input, ...]"
    function: Callable[..., pd.Series | pd.DataFrame]
    unit: str
    lookback: int

    @property
    def release_lag(self) -> pd.Timedelta:
        """Release lag of the latest input."""
        return max(declared.release_lag for declared in self.inputs)

    @property
    def stale_after(self) -> pd.Timedelta:
        """Age at which a value is stale: that of the first input, whose calendar it keeps."""
        first = self.inputs[0]
        return first.stale_after - first.release_lag + self.release_lag


Input = Series | Panel | Derived


@dataclass(frozen=True)
class Feature:
    """One formula and what it reads, says and is expected to do.

    `sign` is the direction in which the claim, or the field, expects altcoins to follow; 0 marks a state read by name, which
    belongs to no composite. `lookback` is the past its formula uses, in days; None means all of it. Values lie in [`low`, `high`].
    `sd_floor`: a z-score never divides by less, so that a feature standing still doesn't magnify noise.
    A feature that `stands_in_for` another takes its place in the composite on the days the other is missing.
    """

    name: str
    function: Callable[..., pd.Series]
    inputs: tuple[Input, ...]
    block: str
    sign: int
    unit: str
    rationale: str
    lookback: int | None
    low: float = -np.inf
    high: float = np.inf
    reference: str = ""
    sd_floor: float = 1e-4
    stands_in_for: str = ""

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"{self.name}: block must be one of {', '.join(BLOCKS)}; got {self.block!r}.")
        if self.sign not in (-1, 0, 1):
            raise ValueError(f"{self.name}: sign must be -1, 0 or 1; got {self.sign!r}.")
        if sys.flags.optimize > 1:
            raise BadInput(NO_DOCSTRINGS)
        if not self.inputs or not self.function.__doc__:
            raise ValueError(f"{self.name}: needs at least one declared input, and a docstring that says the formula in words.")

    @property
    def formula(self) -> str:
        """The formula in words: the first line of the docstring."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    @property
    def release_lag(self) -> pd.Timedelta:
        """Age of the newest value the feature can use: the release lag of its latest input."""
        return max(declared.release_lag for declared in self.inputs)

    @property
    def sources(self) -> tuple[Series | Panel, ...]:
        """Declared series and panels the feature reads, directly or through derived inputs, each once."""
        return tuple(dict.fromkeys(source for source, _ in self.reach()))

    def reach(self) -> "Iterator[tuple[Series | Panel, int | None]]":
        """Each source with the days of it that are needed before the first day of a grid; None for all there are."""
        for declared in self.inputs:
            for source, days in _reach(declared):
                yield source, None if self.lookback is None else self.lookback + days


def _reach(declared: Input) -> Iterator[tuple[Series | Panel, int]]:
    if isinstance(declared, Derived):
        for part in declared.inputs:
            for source, days in _reach(part):
                yield source, days + declared.lookback
    else:
        yield declared, 0


FEATURES: dict[str, Feature] = {}
"""Every feature by name, in order of declaration; complete once `features.build` is imported."""


def feature(
    *inputs: Input, block: str, sign: int, unit: str, rationale: str, lookback: int | None, **more: Any
) -> Callable[[Callable[..., pd.Series]], Callable[..., pd.Series]]:
    """Declare the decorated function as a feature of its name; `more` are further fields of `Feature`.

    The function receives its inputs by *known* day: a Series as a pandas Series, a Panel or a wide Derived as a DataFrame (days ×
    symbols). Series after the first are carried forward onto the days of the first. It returns a Series on days of the first.
    """

    def declare(function: Callable[..., pd.Series]) -> Callable[..., pd.Series]:
        name = function.__name__
        if name in FEATURES:
            raise ValueError(f"Two features are named {name!r}.")
        FEATURES[name] = Feature(name, function, inputs, block, sign, unit, rationale, lookback, **more)
        return function

    return declare
