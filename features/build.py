"""The daily feature table: inputs dated by when they were known, formulas applied, composites made; the list for people."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.errors import BadInput, MissingData, RevisedWithoutVintages
from core.target import ALTCOINS, Target
from features import breadth, breakout, crypto_state, ladder, liquidity, volume  # noqa: F401  (importing declares their features)
from features.composites import WINDOW, composites
from features.registry import FEATURES, Derived, Feature, Input
from features.targets import features_of
from features.transforms import REACH_BACK, DayNumbers, day_numbers, forward_fill
from sources.reader import Reader
from sources.series import Panel, Series

COMPOSITE_LOOKBACK = pd.Timedelta(days=2 * WINDOW)
"""A composite rests on this much of the grid before it: z-scores over three years, standardised over three more."""

THREADS = 2
"""Reading and array maths release the interpreter; each input and formula is done whole in one thread, so the bits are the same."""

MARGIN = pd.Timedelta(days=REACH_BACK)

Frames = Mapping[Series | Panel, pd.DataFrame]
"""Of each input what `Store.read` and `Store.read_panel` return: for a Series every version (observed, known, value) sorted by
(known, observed), for a Panel observed days × symbols."""


@dataclass(frozen=True)
class FeatureTable:
    """What was known at the end of each UTC day up to `as_of`: days × features and days × composites, missing as NaN."""

    as_of: pd.Timestamp
    features: pd.DataFrame
    composites: pd.DataFrame


@dataclass(frozen=True)
class Matrix:
    """Model inputs by day. X: composites, 0 (neutral) where missing, then every feature with its NaN. `neutral` marks those 0."""

    X: pd.DataFrame
    neutral: pd.DataFrame


def build(store: Reader, as_of: pd.Timestamp, *, start: pd.Timestamp, target: Target = ALTCOINS) -> FeatureTable:
    """Every feature and composite of a target on the days from `start` to `as_of`, from what the store knew by then.

    A composite needs `COMPOSITE_LOOKBACK` of days before it. Raises RevisedWithoutVintages.
    """
    days = pd.date_range(pd.Timestamp(start).normalize(), pd.Timestamp(as_of).normalize(), unit="us", name="day")
    features = list(features_of(target).values())
    values = compute(features, load(store, features, as_of, days[0]), days)
    return FeatureTable(days[-1], values, composites(values, features))


def matrix(table: FeatureTable, days: pd.DatetimeIndex) -> Matrix:
    """The rows of `table` a model reads. Raises MissingData for a day it doesn't hold."""
    outside = days.difference(pd.DatetimeIndex(table.features.index))
    if len(outside):
        raise MissingData(f"Features were built to {table.as_of:%Y-%m-%d} and hold no {outside[0]:%Y-%m-%d}.")
    blocks = table.composites.loc[days]
    return Matrix(X=pd.concat([blocks.fillna(0.0), table.features.loc[days]], axis=1), neutral=blocks.isna())


def load(
    store: Reader, features: Iterable[Feature], as_of: pd.Timestamp, start: pd.Timestamp
) -> dict[Series | Panel, pd.DataFrame]:
    """Read each input once, from the earliest day before `start` that a formula needs."""
    reach: dict[Series | Panel, list[int | None]] = {}
    for feature in features:
        for source, days in feature.reach():
            reach.setdefault(source, []).append(days)
    with ThreadPoolExecutor(THREADS) as pool:
        frames = pool.map(lambda source: _load(store, source, as_of, _first_day(source, start, reach[source])), reach)
        return dict(zip(reach, frames, strict=True))


def _first_day(source: Series | Panel, start: pd.Timestamp, days: list[int | None]) -> pd.Timestamp | None:
    longest = [number for number in days if number is not None]
    if len(longest) < len(days):
        return None
    return start - pd.Timedelta(days=max(longest)) - source.stale_after - MARGIN


def _load(store: Reader, source: Series | Panel, as_of: pd.Timestamp, first: pd.Timestamp | None) -> pd.DataFrame:
    if isinstance(source, Panel):
        return store.read_panel(source, as_of, first, on_time=True)
    if source.revised and not store.has_vintages(source):
        raise RevisedWithoutVintages(
            f"{source.name} is revised after its release and the store has only its last version; "
            f"fetch its vintages (`altrally fetch` with a free key in FRED_API_KEY) or leave it out."
        )
    return store.read(source, as_of, first)


def compute(features: Iterable[Feature], frames: Frames, days: pd.DatetimeIndex) -> pd.DataFrame:
    """`features` on each of `days` from `frames` alone: what was known by the end of that day, NaN where an input is missing.

    A feature keeps the calendar of its first input and is carried forward until that input would be stale.
    """
    known = KnownInputs(frames)
    grid = day_numbers(days)
    jobs = [(feature, [known[declared] for declared in feature.inputs]) for feature in features]
    with ThreadPoolExecutor(THREADS) as pool:
        columns = pool.map(lambda job: _on_grid(job[0], job[1], grid), jobs)
        return pd.DataFrame({feature.name: column for (feature, _), column in zip(jobs, columns, strict=True)}, index=days)


@dataclass(frozen=True)
class Known:
    """An input by known day, with the last day on which each row may still be used."""

    data: pd.Series | pd.DataFrame
    until: DayNumbers


@dataclass(frozen=True)
class KnownInputs:
    """Cache of inputs dated by the day they became known."""

    frames: Frames
    done: dict[Input, Known] = field(default_factory=dict)

    def __getitem__(self, declared: Input) -> Known:
        if declared not in self.done:
            self.done[declared] = self._known(declared)
        return self.done[declared]

    def _known(self, declared: Input) -> Known:
        if isinstance(declared, Derived):
            return self._derived(declared)
        frame = self.frames.get(declared)
        if isinstance(declared, Panel):
            return known_panel(declared, NOTHING if frame is None else frame)
        return known_series(declared, NO_ROWS if frame is None else frame)

    def _derived(self, declared: Derived) -> Known:
        """Its formula runs on days by which each input was known its own lag later, so that inputs of unlike lags stay aligned."""
        parts = [self[part].data for part in declared.inputs]
        if parts[0].empty:
            return _shifted(NOTHING, declared)
        observed = (_redated(data, -part.release_lag) for data, part in zip(parts, declared.inputs, strict=True))
        return _shifted(declared.function(*observed), declared)


NOTHING = pd.DataFrame(index=pd.DatetimeIndex([], dtype="datetime64[us]"), dtype=np.float64)
NO_ROWS = pd.DataFrame({"observed": NOTHING.index, "known": NOTHING.index, "value": np.empty(0)})


def known_series(declared: Series, rows: pd.DataFrame) -> Known:
    """Value of the latest observed day, by the day on which something became known.

    A late revision of an older day says nothing new of the latest one, so the past it was known in stays as it was.
    """
    observed, known = rows["observed"].to_numpy(), rows["known"].to_numpy()
    newest = np.flatnonzero(observed >= np.maximum.accumulate(observed))
    last = newest[np.append(known[newest][1:] != known[newest][:-1], True)[: newest.size]]
    values = pd.Series(rows["value"].to_numpy()[last], pd.DatetimeIndex(known[last]), name=declared.name)
    return Known(values, day_numbers(pd.Index(observed[last])) + declared.stale_after.days)


def known_panel(declared: Panel, frame: pd.DataFrame) -> Known:
    """A panel by known day: each row is known one release lag after its day."""
    return _shifted(frame, declared)


def _shifted(values: pd.Series | pd.DataFrame, declared: Panel | Derived) -> Known:
    until = day_numbers(values.index) + declared.stale_after.days
    return Known(_redated(values, declared.release_lag), until)


def _redated(data: pd.Series | pd.DataFrame, lag: pd.Timedelta) -> pd.Series | pd.DataFrame:
    return data.set_axis(pd.DatetimeIndex(data.index) + lag)


def _on_grid(feature: Feature, inputs: list[Known], grid: DayNumbers) -> Floats:
    if any(known.data.empty for known in inputs):
        return np.full(len(grid), np.nan)
    first = inputs[0]
    calendar = day_numbers(first.data.index)
    result = feature.function(first.data, *(_on_calendar(known, first.data.index, calendar) for known in inputs[1:]))
    result_days = day_numbers(result.index)
    return forward_fill(result.to_numpy(dtype=np.float64), result_days, first.until[np.searchsorted(calendar, result_days)], grid)


def _on_calendar(known: Known, days: pd.Index, calendar: DayNumbers) -> pd.Series | pd.DataFrame:
    """A Series forward-filled onto the days of the first input; a DataFrame unchanged."""
    if isinstance(known.data, pd.DataFrame):
        return known.data
    since = day_numbers(known.data.index)
    return pd.Series(forward_fill(known.data.to_numpy(), since, known.until, calendar), days, name=known.data.name)


OWN_MODULE = "own_features"


@cache
def load_own(source: str) -> tuple[str, ...]:
    """Names of the features that a Python file, or a module by its dotted name, declares. It runs once a process.

    Raises BadInput where there is no such file or module, where it fails, or where it declares none.
    """
    before = set(FEATURES)
    try:
        _file(Path(source)) if source.endswith(".py") else importlib.import_module(source)
    except Exception as error:  # whatever a stranger's code may raise
        for name in set(FEATURES) - before:
            del FEATURES[name]
        message = str(error).strip().splitlines() or [""]
        raise BadInput(f"--own {source} can't be loaded: {type(error).__name__}: {message[0]}") from error
    declared = tuple(name for name in FEATURES if name not in before)
    if not declared:
        raise BadInput(f"--own {source} declares no feature: decorate a function with `features.registry.feature`.")
    return declared


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    spec = importlib.util.spec_from_file_location(f"{OWN_MODULE}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def catalogue(table: FeatureTable, first: pd.Timestamp | None, target: Target = ALTCOINS) -> pd.DataFrame:
    """One row a feature of a target, in order of declaration.

    block, name, formula, unit, sources, release_lag_days, sign, rationale, reference, first_day (YYYY-MM-DD, empty where there is
    none), coverage (share of the days of `table` with a value from `first`, that of the first coin price, on; None: its last day).
    """
    values = table.features.loc[table.as_of if first is None else first :]
    return pd.DataFrame([_row(feature, values[name]) for name, feature in features_of(target).items()])


def _row(feature: Feature, values: pd.Series) -> dict[str, object]:
    first = values.first_valid_index()
    return {
        "block": feature.block,
        "name": feature.name,
        "formula": feature.formula,
        "unit": feature.unit,
        "sources": ", ".join(source.name for source in feature.sources),
        "release_lag_days": feature.release_lag.days,
        "sign": feature.sign,
        "rationale": feature.rationale,
        "reference": feature.reference,
        "first_day": "" if first is None else pd.Timestamp(str(first)).strftime("%Y-%m-%d"),
        "coverage": float(values.notna().mean()),
    }
