"""Search for look-ahead in features: data that became known after a cut are changed; earlier values must stay the same."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats
from core.errors import BadInput, MissingData
from core.progress import Progress
from features.build import COMPOSITE_LOOKBACK, MARGIN, FeatureTable, Frames, compute, load, load_own, matrix
from features.composites import composites
from features.registry import FEATURES, Feature
from models.parallel import shielded_from_interrupts
from sources.layout import LAGS
from sources.reader import Reader
from sources.series import SERIES, Panel, Series
from training.settings import FIRST_TEST, START
from training.walk_forward import quarters

if TYPE_CHECKING:
    from models.champion import Champion


REMOVED, ABSURD = KINDS = ("removed", "absurd")
"""What became known after a cut is taken away, or each number of it is multiplied by a random factor of its own, typically e^±3."""


@dataclass(frozen=True)
class Moved:
    """The first day on or before a cut whose value differs, and by how much (None where it is missing on one side)."""

    day: pd.Timestamp
    by: float | None


def spoil(frames: Frames, cut: pd.Timestamp, kind: str, seed: int) -> Frames:
    """`frames` in which all data that became known after the end of `cut` are removed or changed, by a seeded generator."""
    rng = np.random.default_rng(seed)
    return {source: _spoil(source, frame, became_known_later(source, frame, cut), kind, rng) for source, frame in frames.items()}


def became_known_later(source: Series | Panel, frame: pd.DataFrame, cut: pd.Timestamp) -> Bools:
    """Rows of an input that became known after `cut`."""
    return np.asarray(days_known(source, frame) > cut)


def days_known(source: Series | Panel, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """Day on which each row became known. A panel's release lag is that of its universe, whatever the panel declares."""
    return pd.DatetimeIndex(frame.index + LAGS[source.universe] if isinstance(source, Panel) else frame["known"])


def days_observed(source: Series | Panel, frame: pd.DataFrame) -> pd.DatetimeIndex:
    """The day each row describes."""
    return pd.DatetimeIndex(frame.index if isinstance(source, Panel) else frame["observed"])


def _spoil(source: Series | Panel, frame: pd.DataFrame, later: Bools, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    if kind == REMOVED:
        return frame[~later]
    if isinstance(source, Series):
        return frame.assign(value=randomly_scaled(frame["value"].to_numpy(dtype=np.float64), later, rng))
    return pd.DataFrame(randomly_scaled(frame.to_numpy(dtype=np.float64), later, rng), frame.index, frame.columns, copy=False)


def randomly_scaled(cells: Floats, later: Bools, rng: np.random.Generator) -> Floats:
    """A copy of `cells` whose rows marked `later` are each multiplied by a random factor."""
    changed = cells.copy(order="K")
    changed[later] *= np.exp(3.0 * rng.standard_normal(cells[later].shape))
    return changed


def differing_columns(truth: pd.DataFrame, again: pd.DataFrame, cut: pd.Timestamp) -> Mapping[str, Moved]:
    """Columns of `truth` whose values up to `cut` aren't the same in `again`, bit for bit. Both: days × names, NaN equals NaN."""
    days, names = truth.loc[:cut].index, list(truth)
    before = truth.loc[:cut].to_numpy(dtype=np.float64)
    after = again[names].loc[:cut].to_numpy(dtype=np.float64)
    differs = (before.view(np.int64) != after.view(np.int64)) & ~(np.isnan(before) & np.isnan(after))
    gaps = np.abs(before - after)
    moves = {}
    for column in np.flatnonzero(differs.any(axis=0)):
        row = int(differs[:, column].argmax())
        gap = float(gaps[row, column])
        moves[str(names[column])] = Moved(pd.Timestamp(days[row]), gap if np.isfinite(gap) else None)
    return moves


CUTS = 200
SEED = 7
NAMES = 300
"""Of a panel wider than this the catalogue reads every k-th name, the same in both runs; one's own features read all."""

SCORE = "score"

COMPARED, AHEAD = pd.Timedelta(days=60), pd.Timedelta(days=200)
"""Days before a cut that are compared, and days after it that the uncut run sees: together, how far ahead a leak may reach."""

CUTS_A_WINDOW = 8
UNCUT = "uncut"
CLEAN, LEAK, UNSTEADY, FAILED, REFUSED, NO_VALUE = "clean", "leak", "unsteady", "failed", "refused", "no value"
PASSED = (CLEAN, NO_VALUE)


@dataclass(frozen=True)
class Window:
    """Cuts near each other, checked on the same days; `order` mixes their runs, so that none always comes first.

    Those in `twice` are spoilt in both ways, the others in turn.
    """

    days: pd.DatetimeIndex
    cuts: tuple[pd.Timestamp, ...]
    twice: frozenset[pd.Timestamp]
    order: int

    @property
    def runs(self) -> list[tuple[pd.Timestamp, str]]:
        """Each cut spoilt, and one run that isn't, in random order."""
        spoils = {cut: KINDS if cut in self.twice else (KINDS[number % 2],) for number, cut in enumerate(self.cuts)}
        planned = [(cut, kind) for cut, kinds in spoils.items() for kind in kinds] + [(self.days[-1], UNCUT)]
        return [planned[position] for position in np.random.default_rng(self.order).permutation(len(planned))]


@dataclass(frozen=True)
class Run:
    """Result of one run: values on the days up to its cut, the model inputs of that day (of a cut), and features that failed."""

    cut: pd.Timestamp
    kind: str
    values: pd.DataFrame
    inputs: pd.DataFrame | None
    failed: Mapping[str, str]


@dataclass
class Tally:
    """Counts of the runs of one feature so far."""

    name: str
    block: str
    runs: int = 0
    differing: int = 0
    unsteady: bool = False
    known: bool = False
    first: Moved | None = None
    cut: pd.Timestamp | None = None
    kind: str = ""
    why: str = ""

    def add(self, move: Moved | None, run: Run) -> None:
        """Count one run, and keep the earliest day that differs."""
        self.runs += 1
        if move is None:
            return
        self.differing += 1
        self.unsteady |= run.kind == UNCUT
        if self.first is None or move.day < self.first.day:
            self.first, self.cut, self.kind = move, run.cut, run.kind


@dataclass(frozen=True)
class Finding:
    """The verdict on one feature, or on the score. `first_day` is the earliest day that differs, `by` how much, at `cut`."""

    name: str
    block: str
    verdict: str
    first_day: str | None
    by: float | None
    cut: str | None
    kind: str | None
    runs: int
    differing: int
    why: str


@dataclass(frozen=True)
class LeakReport:
    """Every finding in order of declaration, the score last, and what was done; `thinned` names panels read in part."""

    market: str
    as_of: str
    refits: int
    random_cuts: int
    thinned: dict[str, str]
    findings: list[Finding] = field(default_factory=list)

    @property
    def leaking(self) -> list[str]:
        """Names of the features that did not pass."""
        return [finding.name for finding in self.findings if finding.verdict not in PASSED]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return asdict(self) | {"leaking": self.leaking}


@dataclass(frozen=True)
class Check:
    """What is asked: files or modules of one's own (none: the catalogue), how many random cuts, their seed, wide panels whole."""

    own: tuple[str, ...] = ()
    cuts: int = CUTS
    seed: int = SEED
    whole: bool = False
    processes: int | None = None

    def __post_init__(self) -> None:
        """Raise BadInput where the check can't be run."""
        if not 0 <= self.cuts <= 5000:
            raise BadInput(f"--cuts {self.cuts} isn't a number of days from 0 to 5000.")
        if self.seed < 0:
            raise BadInput(f"--seed {self.seed} is below 0.")


def leakcheck(store: Reader, check: Check, until: pd.Timestamp, champion: "Champion | None", progress: Progress) -> LeakReport:
    """Check one's own features, or else the whole catalogue and the score, on what `store` knew by the end of `until`.

    Raises MissingData where the store is too short to cut, BadInput where one's own code can't be loaded.
    """
    own_features = [FEATURES[name] for source in check.own for name in load_own(source)]
    refused = refusals(store, own_features)
    judged = [feature for feature in own_features or FEATURES.values() if feature.name not in refused]
    progress("reading", 0, 0)
    frames = load(store, judged, until, START - COMPOSITE_LOOKBACK)
    read, thinned = (frames, {}) if check.whole or own_features else thin_panels(frames)
    refits, random_cuts = cut_days(frames, until, check)
    tallies = {feature.name: Tally(feature.name, feature.block) for feature in judged} | (
        {} if own_features else {SCORE: Tally(SCORE, SCORE)}
    )
    planned = windows(refits, random_cuts, until, check.seed)
    fill_tallies(tallies, judged, read, planned, check, champion, progress)
    findings = [finding(counts) for counts in tallies.values()] + [refusal(FEATURES[name], why) for name, why in refused.items()]
    return LeakReport(store.market or "unknown", f"{until:%Y-%m-%d}", len(refits), len(random_cuts), thinned, findings)


def refusals(store: Reader, own_features: Sequence[Feature]) -> dict[str, str]:
    """Own features that rest on a revised series without its vintages, or declare it as if it weren't revised; and why."""
    declared = {(series.universe, series.code, series.field): series for series in SERIES.values()}
    reasons = {}
    for feature in own_features:
        for source in feature.sources:
            known = declared.get((source.universe, source.code, source.field)) if isinstance(source, Series) else None
            revised = source.revised or (known is not None and known.revised)
            if isinstance(source, Series) and revised and not store.has_vintages(source):
                hidden = "" if source.revised else ", though it is declared as if it weren't"
                reasons[feature.name] = f"{source.code} is revised after its release{hidden}, and the store has no vintages of it"
    return reasons


def thin_panels(frames: Frames) -> tuple[Frames, dict[str, str]]:
    """Frames with every k-th name of wide panels, and how many names of how many each keeps."""
    steps = {
        source: -(-frame.shape[1] // NAMES)
        for source, frame in frames.items()
        if isinstance(source, Panel) and frame.shape[1] > NAMES
    }
    thinned = {source: frame.iloc[:, :: steps[source]] if source in steps else frame for source, frame in frames.items()}
    return thinned, {source.name: f"{thinned[source].shape[1]} of {frames[source].shape[1]}" for source in steps}


def cut_days(frames: Frames, until: pd.Timestamp, check: Check) -> tuple[list[pd.Timestamp], list[pd.Timestamp]]:
    """The last day known at each refit of a training, and random days; none so early or late that nothing could differ."""
    began = max(
        START, min(days_known(source, frame).min() for source, frame in frames.items() if len(frame)) + pd.Timedelta(days=90)
    )
    days = pd.date_range(began, until - pd.Timedelta(days=30), unit="us")
    if len(days) < max(check.cuts, 30):
        raise MissingData(f"leakcheck needs more days than the {len(days)} there are from {began:%Y-%m-%d} to {until:%Y-%m-%d}.")
    starts = [fold.test_start - pd.Timedelta(days=1) for fold in quarters(FIRST_TEST, until)] if until > FIRST_TEST else []
    refits = [day for day in starts if day in days]
    other_days = days.difference(pd.DatetimeIndex(refits))
    drawn = np.random.default_rng(check.seed).choice(len(other_days), min(check.cuts, len(other_days)), replace=False)
    return refits, [other_days[position] for position in sorted(drawn)]


def windows(refits: Sequence[pd.Timestamp], random_cuts: Sequence[pd.Timestamp], last: pd.Timestamp, seed: int) -> list[Window]:
    """Cuts in order of time, a few at a time; refit dates are spoilt in both ways."""
    ordered = sorted([*refits, *random_cuts])
    groups = [ordered[first : first + CUTS_A_WINDOW] for first in range(0, len(ordered), CUTS_A_WINDOW)]
    spans = [(group[0] - COMPARED, min(group[-1] + AHEAD, last)) for group in groups]
    return [
        Window(pd.date_range(*span, unit="us", name="day"), tuple(group), frozenset(refits), seed + number)
        for number, (group, span) in enumerate(zip(groups, spans, strict=True))
    ]


def fill_tallies(
    tallies: Mapping[str, Tally],
    judged: Sequence[Feature],
    frames: Frames,
    planned: Sequence[Window],
    check: Check,
    champion: "Champion | None",
    progress: Progress,
) -> None:
    """Make every run and count what differs from the uncut one."""
    last = max(window.days[-1] for window in planned)
    long, _ = compute_features(judged, frames, pd.date_range(START - COMPOSITE_LOOKBACK, last, unit="us", name="day"))
    done = 0
    for window, runs in examine_windows(planned, judged, frames, long, check):
        truth, failed = compute_features(judged, inputs_within(frames, judged, window), window.days)
        for run in runs:
            compare(tallies, truth, run, {**failed, **run.failed})
        if SCORE in tallies:
            compare_scores(
                tallies[SCORE], inputs_of(judged, pd.concat([features_before(long, window), truth]), window.cuts), runs, champion
            )
        done += len(window.cuts)
        progress("cutting", done, sum(len(planned_window.cuts) for planned_window in planned))


def examine_windows(
    planned: Sequence[Window], judged: Sequence[Feature], frames: Frames, long: pd.DataFrame, check: Check
) -> Iterator[tuple[Window, list[Run]]]:
    """The runs of each window, made by other processes, as they are finished."""
    from joblib import Parallel, delayed, parallel_config

    names = [feature.name for feature in judged]
    processes = check.processes or max(2, os.cpu_count() or 1)
    with parallel_config("loky", inner_max_num_threads=1):
        workers = Parallel(n_jobs=processes, batch_size=1, return_as="generator_unordered")
        parts = (
            (window, inputs_within(frames, judged, window), None if check.own else features_before(long, window))
            for window in planned
        )
        with shielded_from_interrupts():
            runs = workers(delayed(examine_window)(window, check.own, names, read, past) for window, read, past in parts)
        yield from runs


def examine_window(
    window: Window, sources: Sequence[str], names: Sequence[str], frames: Frames, past: pd.DataFrame | None
) -> tuple[Window, list[Run]]:
    """Every run of one window. past: the features as they were before it, where a score is asked for."""
    for source in sources:
        load_own(source)
    judged = [FEATURES[name] for name in names]
    return window, [one_run(window, cut, kind, judged, frames, past) for cut, kind in window.runs]


def one_run(
    window: Window, cut: pd.Timestamp, kind: str, judged: Sequence[Feature], frames: Frames, past: pd.DataFrame | None
) -> Run:
    """The features from data spoilt after `cut`, and what a model would read of them on that day."""
    read = frames if kind == UNCUT else spoil(frames, cut, kind, seed=cut.dayofyear)
    days = window.days if kind in (ABSURD, UNCUT) else window.days[window.days <= cut]
    values, failed = compute_features(judged, read, days)
    inputs = None if past is None or kind == UNCUT else inputs_of(judged, pd.concat([past, values]), [cut])
    return Run(cut, kind, values.loc[:cut], inputs, failed)


def compute_features(judged: Sequence[Feature], frames: Frames, days: pd.DatetimeIndex) -> tuple[pd.DataFrame, dict[str, str]]:
    """Every feature on each of `days`, and the errors by name of those that raised, whose values are missing."""
    try:
        return compute(judged, frames, days), {}
    except Exception:  # whatever a stranger's formula may raise: find out whose it was
        columns, failed = [], {}
        for feature in judged:
            try:
                columns.append(compute([feature], frames, days))
            except Exception as error:
                message = str(error).strip().splitlines() or [""]
                failed[feature.name] = f"{type(error).__name__}: {message[0]}"
                columns.append(pd.DataFrame({feature.name: np.nan}, index=days))
        return pd.concat(columns, axis=1), failed


def inputs_within(frames: Frames, judged: Sequence[Feature], window: Window) -> Frames:
    """The part of each input that the days of a window can see, from as far back as some formula reaches."""
    reach: dict[Series | Panel, list[int | None]] = {}
    for feature in judged:
        for source, days in feature.reach():
            reach.setdefault(source, []).append(days)
    return {source: span(source, frames[source], reach[source], window.days) for source in reach}


def span(source: Series | Panel, frame: pd.DataFrame, reach: list[int | None], days: pd.DatetimeIndex) -> pd.DataFrame:
    """Rows of one input observed from as far back as is read, and known by the last of `days`."""
    readable = np.asarray(days_known(source, frame) <= days[-1])
    longest = [number for number in reach if number is not None]
    if len(longest) == len(reach):
        readable &= np.asarray(
            days_observed(source, frame) >= days[0] - pd.Timedelta(days=max(longest)) - source.stale_after - MARGIN
        )
    return frame[readable]


def features_before(long: pd.DataFrame, window: Window) -> pd.DataFrame:
    """The features on the days before a window that a composite in it rests on."""
    return long.loc[window.days[0] - COMPOSITE_LOOKBACK : window.days[0] - pd.Timedelta(days=1)]


def inputs_of(judged: Sequence[Feature], values: pd.DataFrame, days: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """What a model reads on some days, from a table of features that may go on after them."""
    table = FeatureTable(values.index[-1], values, composites(values, judged))
    return matrix(table, pd.DatetimeIndex(list(days))).X


def compare(tallies: Mapping[str, Tally], truth: pd.DataFrame, run: Run, failed: Mapping[str, str]) -> None:
    """Count one run against the uncut values `truth`."""
    moves = differing_columns(truth, run.values, run.cut)
    has_value = truth.loc[: run.cut].notna().any()
    for name in map(str, truth):
        tally = tallies[name]
        tally.known |= bool(has_value[name])
        tally.why = tally.why or failed.get(name, "")
        tally.add(None if name in failed else moves.get(name), run)


def compare_scores(tally: Tally, expected: pd.DataFrame, runs: Sequence[Run], champion: "Champion | None") -> None:
    """Count what the champion would say on the days of the cuts; `expected` are the uncut inputs."""
    tally.known = True
    for run in runs:
        if run.inputs is not None:
            moves = differing_columns(
                champion_probabilities(expected.loc[[run.cut]], champion), champion_probabilities(run.inputs, champion), run.cut
            )
            tally.add(max(moves.values(), key=lambda move: move.by or 0.0, default=None), run)


def champion_probabilities(inputs: pd.DataFrame, champion: "Champion | None") -> pd.DataFrame:
    """The champion's probabilities from the inputs of a day; the inputs themselves where there is no champion."""
    if champion is None:
        return inputs
    last = pd.Timestamp(champion.card.last_label_end)
    model, _ = champion.forecaster.model_for(pd.Timestamp(inputs.index[0]), last, in_sample=True)
    return pd.DataFrame(model.predict(inputs[champion.card.columns]), inputs.index, [f"P{days}" for days in champion.card.horizons])


def finding(tally: Tally) -> Finding:
    """The finding on one tally."""
    verdict = (
        FAILED if tally.why else UNSTEADY if tally.unsteady else LEAK if tally.differing else CLEAN if tally.known else NO_VALUE
    )
    if verdict == FAILED and tally.differing:
        verdict = LEAK
    first = tally.first
    return Finding(
        name=tally.name,
        block=tally.block,
        verdict=verdict,
        first_day=None if first is None else f"{first.day:%Y-%m-%d}",
        by=None if first is None else first.by,
        cut=None if tally.cut is None else f"{tally.cut:%Y-%m-%d}",
        kind=tally.kind or None,
        runs=tally.runs,
        differing=tally.differing,
        why=tally.why,
    )


def refusal(feature: Feature, why: str) -> Finding:
    """The finding on a feature that is refused because its data know the future by declaration."""
    return Finding(feature.name, feature.block, REFUSED, None, None, None, None, 0, 0, why)
