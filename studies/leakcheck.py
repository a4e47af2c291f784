"""Check features for look-ahead: data that became known after a cut are perturbed; earlier values must stay the same."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.errors import BadInput, MissingData
from core.progress import Progress
from features.build import COMPOSITE_LOOKBACK, FeatureTable, Frames, compute, load, load_own, matrix
from features.composites import composites
from features.registry import FEATURES, Feature
from models.parallel import shielded_from_interrupts
from sources.reader import Reader
from sources.series import SERIES, Series
from studies.perturbation import ABSURD, KINDS, Difference, days_known, differing_columns, inputs_within, spoil, thin_panels
from training.settings import FIRST_TEST, START
from training.walk_forward import quarters

if TYPE_CHECKING:
    from models.champion import Champion


CUTS = 200
SEED = 7
SCORE = "score"

COMPARED, AHEAD = pd.Timedelta(days=60), pd.Timedelta(days=200)
"""Days before a cut that are compared, and days after it that the uncut run reads; a leak may reach ahead by their sum."""

CUTS_A_WINDOW = 8
UNCUT = "uncut"
CLEAN, LEAK, UNSTEADY, FAILED, REFUSED, NO_VALUE = "clean", "leak", "unsteady", "failed", "refused", "no value"
PASSED = (CLEAN, NO_VALUE)


@dataclass(frozen=True)
class Window:
    """Neighbouring cuts, checked on the same days; the seed `order` shuffles their runs.

    Cuts in `twice` get both kinds of perturbation, the others alternate.
    """

    days: pd.DatetimeIndex
    cuts: tuple[pd.Timestamp, ...]
    twice: frozenset[pd.Timestamp]
    order: int

    @property
    def runs(self) -> list[tuple[pd.Timestamp, str]]:
        """The runs (cut, kind) of the window, and one unperturbed run, in random order."""
        spoils = {cut: KINDS if cut in self.twice else (KINDS[number % 2],) for number, cut in enumerate(self.cuts)}
        planned = [(cut, kind) for cut, kinds in spoils.items() for kind in kinds] + [(self.days[-1], UNCUT)]
        return [planned[position] for position in np.random.default_rng(self.order).permutation(len(planned))]


@dataclass(frozen=True)
class Run:
    """Result of one run: feature values up to its cut, the model inputs on that day, and the errors of features that failed."""

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
    first: Difference | None = None
    cut: pd.Timestamp | None = None
    kind: str = ""
    why: str = ""

    def add(self, move: Difference | None, run: Run) -> None:
        """Count one run, and store the earliest day that differs."""
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
    """Findings in order of declaration, the score last; number of cuts, and in `thinned` the panels that were read in part."""

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
    """A request: own files or modules (none: the catalogue), number of random cuts, their seed, and whether wide panels are read
    whole."""

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
    last = max(window.days[-1] for window in planned)
    long, _ = compute_features(judged, read, pd.date_range(START - COMPOSITE_LOOKBACK, last, unit="us", name="day"))
    done = 0
    for window, runs in examine_windows(planned, judged, read, long, check):
        truth, failed = compute_features(judged, inputs_within(read, judged, window.days), window.days)
        for run in runs:
            compare(tallies, truth, run, {**failed, **run.failed})
        if SCORE in tallies:
            expected = inputs_of(judged, pd.concat([features_before(long, window), truth]), window.cuts)
            compare_scores(tallies[SCORE], expected, runs, champion)
        done += len(window.cuts)
        progress("cutting", done, len(refits) + len(random_cuts))
    findings = [finding(counts) for counts in tallies.values()] + [refusal(FEATURES[name], why) for name, why in refused.items()]
    return LeakReport(store.market or "unknown", f"{until:%Y-%m-%d}", len(refits), len(random_cuts), thinned, findings)


def refusals(store: Reader, own_features: Sequence[Feature]) -> dict[str, str]:
    """Reasons, by name, why own features are refused: they read a revised series whose vintages the store doesn't have."""
    declared = {(series.universe, series.code, series.field): series for series in SERIES.values()}
    reasons = {}
    for feature in own_features:
        for source in feature.sources:
            listed = declared.get((source.universe, source.code, source.field)) if isinstance(source, Series) else None
            revised = source.revised or (listed is not None and listed.revised)
            if isinstance(source, Series) and revised and not store.has_vintages(source):
                hidden = "" if source.revised else ", though it is declared as if it weren't"
                reasons[feature.name] = f"{source.code} is revised after its release{hidden}, and the store has no vintages of it"
    return reasons


def cut_days(frames: Frames, until: pd.Timestamp, check: Check) -> tuple[list[pd.Timestamp], list[pd.Timestamp]]:
    """The last known day at each refit of a training, and random days; none too early or late to show a difference."""
    first = max(
        START, min(days_known(source, frame).min() for source, frame in frames.items() if len(frame)) + pd.Timedelta(days=90)
    )
    days = pd.date_range(first, until - pd.Timedelta(days=30), unit="us")
    if len(days) < max(check.cuts, 30):
        raise MissingData(f"leakcheck needs more days than the {len(days)} there are from {first:%Y-%m-%d} to {until:%Y-%m-%d}.")
    starts = [fold.test_start - pd.Timedelta(days=1) for fold in quarters(FIRST_TEST, until)] if until > FIRST_TEST else []
    refits = [day for day in starts if day in days]
    other_days = days.difference(pd.DatetimeIndex(refits))
    drawn = np.random.default_rng(check.seed).choice(len(other_days), min(check.cuts, len(other_days)), replace=False)
    return refits, [other_days[position] for position in sorted(drawn)]


def windows(refits: Sequence[pd.Timestamp], random_cuts: Sequence[pd.Timestamp], last: pd.Timestamp, seed: int) -> list[Window]:
    """All cuts in order of time, grouped into windows; the cuts of refits get both kinds of perturbation."""
    ordered = sorted([*refits, *random_cuts])
    groups = [ordered[first : first + CUTS_A_WINDOW] for first in range(0, len(ordered), CUTS_A_WINDOW)]
    spans = [(group[0] - COMPARED, min(group[-1] + AHEAD, last)) for group in groups]
    return [
        Window(pd.date_range(*span, unit="us", name="day"), tuple(group), frozenset(refits), seed + number)
        for number, (group, span) in enumerate(zip(groups, spans, strict=True))
    ]


def examine_windows(
    planned: Sequence[Window], judged: Sequence[Feature], frames: Frames, long: pd.DataFrame, check: Check
) -> Iterator[tuple[Window, list[Run]]]:
    """The runs of each window, computed by other processes, in the order in which they finish."""
    from joblib import Parallel, delayed, parallel_config

    names = [feature.name for feature in judged]
    processes = check.processes or max(2, os.cpu_count() or 1)
    with parallel_config("loky", inner_max_num_threads=1):
        workers = Parallel(n_jobs=processes, batch_size=1, return_as="generator_unordered")
        parts = (
            (window, inputs_within(frames, judged, window.days), None if check.own else features_before(long, window))
            for window in planned
        )
        with shielded_from_interrupts():
            runs = workers(delayed(examine_window)(window, check.own, names, read, past) for window, read, past in parts)
        yield from runs


def examine_window(
    window: Window, sources: Sequence[str], names: Sequence[str], frames: Frames, past: pd.DataFrame | None
) -> tuple[Window, list[Run]]:
    """All runs of one window. past: the features before it, if the score is checked too."""
    for source in sources:
        load_own(source)
    judged = [FEATURES[name] for name in names]
    return window, [run_cut(window, cut, kind, judged, frames, past) for cut, kind in window.runs]


def run_cut(
    window: Window, cut: pd.Timestamp, kind: str, judged: Sequence[Feature], frames: Frames, past: pd.DataFrame | None
) -> Run:
    """One run: features from data perturbed after `cut`, and the model inputs of that day."""
    read = frames if kind == UNCUT else spoil(frames, cut, kind, seed=cut.dayofyear)
    days = window.days if kind in (ABSURD, UNCUT) else window.days[window.days <= cut]
    values, failed = compute_features(judged, read, days)
    inputs = None if past is None or kind == UNCUT else inputs_of(judged, pd.concat([past, values]), [cut])
    return Run(cut, kind, values.loc[:cut], inputs, failed)


def compute_features(judged: Sequence[Feature], frames: Frames, days: pd.DatetimeIndex) -> tuple[pd.DataFrame, dict[str, str]]:
    """All features on each of `days`, and errors by name; a feature that raised has missing values."""
    try:
        return compute(judged, frames, days), {}
    except Exception:  # a formula of the user may raise anything: find out which one did
        columns, failed = [], {}
        for feature in judged:
            try:
                columns.append(compute([feature], frames, days))
            except Exception as error:
                message = str(error).strip().splitlines() or [""]
                failed[feature.name] = f"{type(error).__name__}: {message[0]}"
                columns.append(pd.DataFrame({feature.name: np.nan}, index=days))
        return pd.concat(columns, axis=1), failed


def features_before(long: pd.DataFrame, window: Window) -> pd.DataFrame:
    """The features on the days before a window that its composites need."""
    return long.loc[window.days[0] - COMPOSITE_LOOKBACK : window.days[0] - pd.Timedelta(days=1)]


def inputs_of(judged: Sequence[Feature], values: pd.DataFrame, days: Sequence[pd.Timestamp]) -> pd.DataFrame:
    """Model inputs on some days, from a table of features that may continue after them."""
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
    """Count the champion's probabilities on the days of the cuts that differ; `expected` holds the uncut inputs."""
    tally.known = True
    for run in runs:
        if run.inputs is not None:
            moves = differing_columns(
                champion_probabilities(expected.loc[[run.cut]], champion), champion_probabilities(run.inputs, champion), run.cut
            )
            tally.add(max(moves.values(), key=lambda move: move.by or 0.0, default=None), run)


def champion_probabilities(inputs: pd.DataFrame, champion: "Champion | None") -> pd.DataFrame:
    """The champion's probabilities from the inputs of a day; without a champion the inputs themselves."""
    if champion is None:
        return inputs
    last = pd.Timestamp(champion.card.last_label_end)
    model, _ = champion.forecaster.model_for(pd.Timestamp(inputs.index[0]), last, in_sample=True)
    return pd.DataFrame(model.predict(inputs[champion.card.columns]), inputs.index, [f"P{days}" for days in champion.card.horizons])


def finding(tally: Tally) -> Finding:
    """The finding of one tally."""
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
    """The finding of a refused feature."""
    return Finding(feature.name, feature.block, REFUSED, None, None, None, None, 0, 0, why)
