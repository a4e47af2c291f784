"""Search many configurations honestly: on days before the test, with the whole search repeated on every rotation of outcomes.

The configurations are drawn before any outcome is looked at, so that the same search can be made on rotated outcomes: how often
chance finds as much is a p-value of everything that was done, the choice of the best included (decision 12).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.arrays import Floats
from core.errors import MissingData
from core.json import plain
from core.progress import Progress, silent
from core.target import Target, judged_horizon
from evaluation.multiple_testing import spa_p_values
from evaluation.permutation import circularly_shifted
from evaluation.sample import BASELINES, LEVEL, evaluation_sample
from features.targets import load_target_index
from models.base import BatchedModel
from models.catalog import MODELS
from models.parallel import run_in_parallel
from models.rules import Climatology
from sources.quality import last_known
from sources.reach import require_reachable
from sources.store import Store
from training.dataset import Dataset, index_outcomes, prepare
from training.null_tests import (
    CompleteRows,
    FoldMask,
    complete_rows,
    fold_mask,
    null_distribution,
    skill_of_shifts,
    walk_shifts,
)
from training.run_log import log_sweep
from training.settings import FIRST_TEST, SEARCHED, TrainSettings, configuration, family
from training.tracking import Tracker, TrackingPlace, tracking
from training.trial_count import count_sweeps, count_trials
from training.verify import verification_fields, walk_all
from training.walk_forward import forecast, quarters, usable

if TYPE_CHECKING:
    import optuna

ROTATIONS = 39
"""As for any model whose tuning is repeated (STATISTICS 12): no p-value is below 1/40."""

PART = 20
"""Candidates in one part of the work, a second or two; an interruption loses the parts under way."""

FIRST_JUDGED_WHOLE = 50
"""The first trials, which are never cut short; they set the bar for the others."""


@dataclass(frozen=True)
class Candidate:
    """One configuration: a model, the columns it reads, its prior, and the target (the same at another threshold)."""

    model: str
    columns: tuple[str, ...]
    prior_sd: float
    target: Target

    def make(self) -> BatchedModel:
        """A new, unfitted estimator."""
        return MODELS[self.model].for_target(self.target).set_params(prior_sd=self.prior_sd)

    @property
    def configuration(self) -> str:
        """The hash that tells it from any other; that of the model of the catalogue where it is one."""
        return configuration(self.model, self.make().get_params(), self.columns, TrainSettings(self.target))

    @property
    def summary(self) -> dict[str, Any]:
        """The candidate as plain values."""
        return {
            "model": self.model,
            "columns": list(self.columns),
            "prior_sd": self.prior_sd,
            "move": self.target.threshold,
            "configuration": self.configuration,
        }


@dataclass(frozen=True)
class Sweep:
    """What is searched: any non-empty choice of `columns`, with any of the models, priors and targets (thresholds of one question).

    `trials` configurations are drawn; the search sees only outcomes known before `first_test`, the winner is judged after it.
    """

    targets: tuple[Target, ...]
    columns: tuple[str, ...]
    models: tuple[str, ...]
    prior_sd: tuple[float, ...]
    trials: int
    first_test: pd.Timestamp
    seed: int

    @property
    def name(self) -> str:
        """16 hex digits that identify the search space."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return (2 ** len(self.columns) - 1) * len(self.models) * len(self.prior_sd) * len(self.targets)

    def candidates(self) -> list[Candidate]:
        """The configurations to try, all different, drawn evenly without a look at any outcome; all there are if they are few."""
        rng = np.random.default_rng(self.seed)
        numbers = rng.permutation(self.size) if self.size <= 10 * self.trials else distinct_draws(rng, self.size)
        return [self.numbered(int(number)) for number, _ in zip(numbers, range(min(self.trials, self.size)), strict=False)]

    def numbered(self, number: int) -> Candidate:
        """The configuration of a number below `size`."""
        rest, target = divmod(number, len(self.targets))
        rest, prior = divmod(rest, len(self.prior_sd))
        chosen, model = divmod(rest, len(self.models))
        columns = tuple(name for position, name in enumerate(self.columns) if (chosen + 1) >> position & 1)
        return Candidate(self.models[model], columns, self.prior_sd[prior], self.targets[target])

    def label(self, target: Target) -> str:
        """What a trial is counted as: the question itself where the search looks at days that `train` judges, else a search."""
        searched = f"{target.label}{SEARCHED}{self.first_test:%Y-%m-%d}"
        return target.label if self.first_test > FIRST_TEST else searched


@dataclass(frozen=True)
class Question:
    """One target's outcomes, all their rotations (S, n, K), the true dates first, and climatology's losses (S,) in the search.

    `early_climate` are those of its first half, `climate` of all of it.
    """

    data: Dataset
    complete: CompleteRows
    events: Floats
    early_climate: Floats
    climate: Floats


@dataclass(frozen=True)
class Arena:
    """Where candidates are tried: the search in two parts (`early`, `late`), then the test; the horizon judged is number `k`."""

    questions: Mapping[Target, Question]
    columns: list[str]
    early: FoldMask
    late: FoldMask
    test: FoldMask
    k: int

    @property
    def first(self) -> Question:
        """Any of the questions: all have the same rows."""
        return next(iter(self.questions.values()))

    def search_tally(self, candidate: Candidate, bar: Floats | None) -> "Tally":
        """Skill (S,) in the search; a rotation whose skill half-way is below the bar (S,) stops there.

        Each rotation, the true dates among them, is cut short by its own numbers alone, so that chance gets the same search.
        """
        question = self.questions[candidate.target]
        first = self.losses(candidate, self.early, question.events)
        half = 1 - first / question.early_climate
        on = np.ones(len(half), dtype=bool) if bar is None else half >= bar
        whole = np.full(len(half), np.nan)
        if on.any():
            total = first[on] + self.losses(candidate, self.late, question.events[on])
            whole[on] = 1 - total / question.climate[on]
        return Tally(half, whole)

    def losses(self, candidate: Candidate, folds: FoldMask, events: Floats) -> Floats:
        """Summed Brier losses (S,) of a candidate on events (S, n, K)."""
        return summed_losses(walk_shifts(candidate.make(), self.inputs_of(candidate), events, folds), events, folds, self.k)

    def inputs_of(self, candidate: Candidate) -> Floats:
        """Input columns of a candidate."""
        return self.questions[candidate.target].complete.inputs[:, [self.columns.index(name) for name in candidate.columns]]

    def test_skill(self, candidate: Candidate, rotation: int) -> float:
        """Skill against climatology after the search, of one rotation."""
        question = self.questions[candidate.target]
        events = question.events[[rotation]]
        forecasts = walk_shifts(candidate.make(), self.inputs_of(candidate), events, self.test)
        climate = walk_shifts(Climatology(ordered=False), question.complete.inputs, events, self.test)
        return float(skill_of_shifts(forecasts, climate, events[:, self.test.judged])[0, self.k])


@dataclass(frozen=True)
class Tally:
    """Skill (S,) half-way through the search and at its end, the true dates first; NaN where it was cut short."""

    half: Floats
    whole: Floats

    @property
    def cut_short(self) -> bool:
        """Whether the trial on the true dates was cut short."""
        return bool(np.isnan(self.whole[0]))


def sweep(store: Store, search_space: Sweep, *, place: TrackingPlace, folder: Path, progress: Progress) -> dict[str, Any]:
    """Count, search, judge the winner once, and say whether anything was found.

    What was tried is kept in `folder` (an Optuna study in a journal), so that the same command goes on after a stop; one run in
    MLflow holds the result. Raises MissingData where the rows don't reach.
    """
    require_reachable(place.uri)
    progress("building features", 0, 0)
    arena = arena_of(store, search_space, last_known(store))
    data, candidates = arena.first.data, search_space.candidates()
    with tracking(place) as tracker:
        trials, own_family = (
            count_sweep_trials(tracker, search_space, candidates, data.market),
            family(data.market, search_space.targets[0]),
        )
        sweeps = count_sweeps(tracker, own_family, search_space.name, search_space.first_test, data.until)
        tallies = search(arena, search_space, candidates, open_study(folder, search_space, data.snapshot), progress)
        progress("judging the winner", 0, 0)
        result = search_result(arena, search_space, candidates, tallies, sweeps) | {"trials": trials}
        tags = {"swept": own_family, "market": data.market, "snapshot": data.snapshot}
        run_id = log_sweep(tracker, search_space.targets[0], result, tags, trial_table(candidates, tallies))
    return result | {"run_id": run_id}


def count_sweep_trials(tracker: Tracker, search_space: Sweep, candidates: Sequence[Candidate], market: str) -> int:
    """Number of trials after all candidates are counted, which is done before any is evaluated."""
    trials = 0
    for target in search_space.targets:
        configurations = [candidate.configuration for candidate in candidates if candidate.target == target]
        trials = max(
            count_trials(tracker, family(market, target), search_space.label(target), configurations).values(), default=trials
        )
    return trials


def trial_table(candidates: Sequence[Candidate], tallies: Sequence[Tally]) -> pd.DataFrame:
    """One row a trial: what it was, its skill half-way through the search and at its end (NaN where it was cut short)."""
    rows = [
        candidate.summary | {"half": float(tally.half[0]), "skill": float(tally.whole[0])}
        for candidate, tally in zip(candidates, tallies, strict=True)
    ]
    return pd.DataFrame(rows).assign(columns=lambda table: table["columns"].map(" ".join))


def arena_of(store: Store, search_space: Sweep, until: pd.Timestamp) -> Arena:
    """Rows, outcomes and their rotations, and the days that are searched and tested."""
    target = search_space.targets[0]
    settings = TrainSettings(target, first_test=search_space.first_test)
    data = prepare(store, settings, until)
    level = load_target_index(store, until, target).level.dropna()
    datasets = {
        asked_target: replace(data, outcomes=index_outcomes(store, level, pd.DatetimeIndex(data.X.index), asked_target, until))
        for asked_target in search_space.targets
    }
    return arena_on(datasets, search_space)


def arena_on(datasets: Mapping[Target, Dataset], search_space: Sweep) -> Arena:
    """As `arena_of`, of rows already prepared, with the outcomes of every target."""
    target = search_space.targets[0]
    columns, k, data = list(search_space.columns), target.horizons.index(judged_horizon(target.horizons)), datasets[target]
    rows_by_target = {
        asked_target: complete_rows(target_data.X[columns], target_data.outcomes) for asked_target, target_data in datasets.items()
    }
    rows = rows_by_target[target]
    shifts = [0, *rows.outcome_shifts(ROTATIONS)]
    if len(shifts) == 1:
        raise MissingData(f"{len(rows.days)} weeks with known outcomes allow no rotation; a sweep needs more of them.")
    early, late = search_folds(data, rows, search_space.first_test, k)
    test = fold_mask(
        rows, usable(quarters(search_space.first_test, data.until), data.outcomes), (search_space.first_test, data.until)
    )
    questions = {}
    for asked_target in search_space.targets:
        events = circularly_shifted(rows_by_target[asked_target].events, shifts)
        first, rest = (climate_losses(rows, events, folds, k) for folds in (early, late))
        questions[asked_target] = Question(datasets[asked_target], rows_by_target[asked_target], events, first, first + rest)
    return Arena(questions, columns, early, late, test, k)


def search_folds(data: Dataset, complete_rows: CompleteRows, first_test: pd.Timestamp, k: int) -> tuple[FoldMask, FoldMask]:
    """The inner walk-forward in two halves: quarters before the test, only rows whose outcome was known before it."""
    over = complete_rows.days[complete_rows.known[:, k] < first_test.to_datetime64()]
    if len(over) < 2:
        raise MissingData(
            f"No outcome was known before {first_test:%Y-%m-%d}: there is nothing to search in. Set a later first_test."
        )
    folds = usable(quarters(over[0], over[-1]), data.outcomes)
    rows = fold_mask(complete_rows, folds, (over[0], over[-1])).rows
    if len(rows) < 2:
        raise MissingData(f"Fewer than two quarters before {first_test:%Y-%m-%d} can be forecast. Set a later first_test.")
    half = (len(rows) + 1) // 2
    return folds_of(rows[:half]), folds_of(rows[half:])


def folds_of(rows: list[tuple[Any, Any]]) -> FoldMask:
    """The fold mask of a part of a walk-forward."""
    return FoldMask(rows, np.any([test for _, test in rows], axis=0))


def summed_losses(forecasts: Floats, events: Floats, folds: FoldMask, k: int) -> Floats:
    """Summed Brier losses (S,) at horizon number k of forecasts (S, m, K) on the judged rows of events (S, n, K)."""
    return np.asarray(((forecasts[:, :, k] - events[:, folds.judged, k]) ** 2).sum(axis=1))


def climate_losses(rows: CompleteRows, events: Floats, folds: FoldMask, k: int) -> Floats:
    """Summed Brier losses (S,) of climatology, refitted on every rotation."""
    return summed_losses(walk_shifts(Climatology(ordered=False), rows.inputs, events, folds), events, folds, k)


def distinct_draws(rng: np.random.Generator, size: int) -> Iterator[int]:
    """Different numbers below `size`, evenly drawn."""
    seen: set[int] = set()
    while True:
        number = int(rng.integers(size))
        if number not in seen:
            seen.add(number)
            yield number


def open_study(folder: Path, search_space: Sweep, snapshot: str) -> "optuna.Study":
    """The Optuna study of this sweep on this data, resumed from its journal where there is one."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise MissingData("A sweep needs Optuna: `pip install '.[sweep]'` in a checkout of altrally.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{search_space!r} {snapshot}".encode()).hexdigest()[:16]
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))
    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def search(
    arena: Arena, search_space: Sweep, candidates: Sequence[Candidate], study: "optuna.Study", progress: Progress
) -> list[Tally]:
    """Tally of every candidate; those already in the study are read from it."""
    tallies = {int(trial.user_attrs["number"]): read_tally(trial.user_attrs) for trial in study.get_trials(deepcopy=False)}
    for numbers in (range(min(FIRST_JUDGED_WHOLE, len(candidates))), range(FIRST_JUDGED_WHOLE, len(candidates))):
        todo = [number for number in numbers if number not in tallies]
        bar = np.median([tallies[first].half for first in range(FIRST_JUDGED_WHOLE)], axis=0) if todo and numbers.start else None
        for number, tally in zip(todo, tallies_of(arena, [candidates[number] for number in todo], bar), strict=True):
            study.add_trial(optuna_trial(search_space, number, candidates[number], tally))
            tallies[number] = tally
            progress("searching", len(tallies), len(candidates))
    return [tallies[number] for number in range(len(candidates))]


def tallies_of(arena: Arena, candidates: Sequence[Candidate], bar: Floats | None) -> Iterator[Tally]:
    """The tally of each, tried in parts on every core or by a cluster."""
    parts = [(arena, candidates[first : first + PART], bar) for first in range(0, len(candidates), PART)]
    return chain.from_iterable(run_in_parallel(tally_part, parts))


def tally_part(arena: Arena, candidates: Sequence[Candidate], bar: Floats | None) -> list[Tally]:
    """Tallies of some candidates."""
    return [arena.search_tally(candidate, bar) for candidate in candidates]


def optuna_trial(search_space: Sweep, number: int, candidate: Candidate, tally: Tally) -> "optuna.trial.FrozenTrial":
    """A candidate and its tally as an Optuna trial."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState, create_trial

    choices: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "model": (candidate.model, search_space.models),
        "prior_sd": (candidate.prior_sd, search_space.prior_sd),
        "move": (candidate.target.threshold, tuple(target.threshold for target in search_space.targets)),
        **{name: (name in candidate.columns, (False, True)) for name in search_space.columns},
    }
    return create_trial(
        state=TrialState.PRUNED if tally.cut_short else TrialState.COMPLETE,
        value=None if tally.cut_short else float(tally.whole[0]),
        intermediate_values={0: float(tally.half[0])},
        params={name: chosen for name, (chosen, _) in choices.items()},
        distributions={name: CategoricalDistribution(among) for name, (_, among) in choices.items()},
        user_attrs={"number": number, "half": tally.half.tolist(), "whole": plain(tally.whole.tolist())},
    )


def read_tally(attributes: Mapping[str, Any]) -> Tally:
    """The tally in the attributes of an Optuna trial."""
    return Tally(np.array(attributes["half"], dtype=np.float64), np.array(attributes["whole"], dtype=np.float64))


def search_result(
    arena: Arena, search_space: Sweep, candidates: Sequence[Candidate], tallies: Sequence[Tally], sweeps: int = 1
) -> dict[str, Any]:
    """The winner judged once after the search, against the winners that the same search finds on rotated outcomes.

    Of several `sweeps` whose winners were judged on these days one looks good by luck: p is taken as often (Bonferroni).
    """
    table = np.array([tally.whole for tally in tallies])
    winners = np.nanargmax(table, axis=0)
    after = np.array([arena.test_skill(candidates[winner], rotation) for rotation, winner in enumerate(winners)])
    null = null_distribution(after, len(arena.first.complete.days) // arena.first.complete.longest_weeks)
    winner = candidates[winners[0]]
    row = winner_verification(arena.questions[winner.target].data, search_space, winner)
    best = None if row["spa_p"] is None else min(1.0, sweeps * max(row["spa_p"], null.p))
    shown = best is not None and best < LEVEL and all((row[f"skill_{name}"]["low"] or 0.0) > 0 for name in BASELINES)
    return {
        "target": winner.target.name,
        "label": winner.target.label,
        "market": arena.first.data.market,
        "snapshot": arena.first.data.snapshot,
        "tried": len(tallies),
        "sweeps": sweeps,
        "of": search_space.size,
        "cut_short": sum(tally.cut_short for tally in tallies),
        "searched_weeks": int(arena.early.judged.sum() + arena.late.judged.sum()),
        "first_test": f"{search_space.first_test:%Y-%m-%d}",
        "winner": winner.summary,
        "search_skill": float(table[winners[0], 0]),
        "horizon": judged_horizon(winner.target.horizons),
        "test": row,
        "search_p": null.p,
        "search_null": asdict(null),
        "best_of_n_p": best,
        "found": shown,
    }


def winner_verification(data: Dataset, search_space: Sweep, winner: Candidate) -> dict[str, Any]:
    """Scores of the winner after the search, against the three baselines, with the p-value of superior predictive ability."""
    settings = TrainSettings(winner.target, first_test=search_space.first_test, seed=search_space.seed)
    folds = usable(quarters(search_space.first_test, data.until), data.outcomes)
    horizon = judged_horizon(winner.target.horizons)
    walks = walk_all(data, settings, [], folds, silent)
    probabilities = {name: walk.probabilities for name, walk in walks.items()}
    probabilities["winner"] = forecast(winner.make, data.X[list(winner.columns)], data.outcomes, folds).probabilities
    sample = evaluation_sample(probabilities, data.outcomes.events, horizon)
    references = {name: sample.loss(model) for name, model in sample.baselines.items()}
    onset = (data.X["rise_from_low"].reindex(sample.days) < winner.target.under_way).to_numpy()
    row = verification_fields(sample.probabilities["winner"], sample.outcome, references, onset, horizon, search_space.seed)
    spa = spa_p_values({"winner": sample.loss("winner")}, references, horizon, seed=search_space.seed)
    return row | {"spa_p": spa.get("winner")}
