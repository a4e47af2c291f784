"""Sweep: search many configurations on days before the test, and repeat the whole search on shifted outcomes.

The configurations are drawn independently of outcomes, so the same search can run on shifted outcomes. The share of shifts whose
winner scores as well is a p-value that includes the choice of the best configuration (decision 12).
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
from models.parallel import run_in_parallel
from models.rules import Climatology
from sources.quality import last_known
from sources.reach import require_reachable
from sources.store import Store
from studies.search_space import Candidate, Sweep
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
from training.settings import TrainSettings, family
from training.tracking import Tracker, TrackingPlace, tracking
from training.trial_count import count_sweeps, count_trials
from training.verify import verification_fields, walk_all
from training.walk_forward import forecast, quarters, usable

if TYPE_CHECKING:
    import optuna

ROTATIONS = 39
"""Number of shifts, as for every model whose tuning is repeated (STATISTICS 12): no p-value is below 1/40."""

PART = 20
"""Candidates per job, one or two seconds of work; an interruption loses the running jobs."""

FIRST_JUDGED_WHOLE = 50
"""Number of first trials that are never cut short; their median sets the bar for the others."""


@dataclass(frozen=True)
class Question:
    """Outcomes of one target with all shifts (S, n, K), the true dates first, and climatology's losses (S,) in the search.

    `early_climatology` are the losses in its first half, `climatology` in all of it.
    """

    data: Dataset
    complete: CompleteRows
    events: Floats
    early_climatology: Floats
    climatology: Floats


@dataclass(frozen=True)
class SweepData:
    """Data of a sweep: the folds of the search in two parts (`early`, `late`), the folds of the test, and the judged horizon's
    number `k`."""

    questions: Mapping[Target, Question]
    columns: list[str]
    early: FoldMask
    late: FoldMask
    test: FoldMask
    k: int

    @property
    def first(self) -> Question:
        """The first question; all questions have the same rows."""
        return next(iter(self.questions.values()))

    def search_tally(self, candidate: Candidate, bar: Floats | None) -> "Tally":
        """Skill (S,) in the search; a shift whose skill half-way is below the bar (S,) stops there.

        Each shift, the true dates included, is cut short by its own skill alone, so that all get the same search.
        """
        question = self.questions[candidate.target]
        first = self.losses(candidate, self.early, question.events)
        half = 1 - first / question.early_climatology
        on = np.ones(len(half), dtype=bool) if bar is None else half >= bar
        whole = np.full(len(half), np.nan)
        if on.any():
            total = first[on] + self.losses(candidate, self.late, question.events[on])
            whole[on] = 1 - total / question.climatology[on]
        return Tally(half, whole)

    def losses(self, candidate: Candidate, folds: FoldMask, events: Floats) -> Floats:
        """Summed Brier losses (S,) of a candidate on events (S, n, K)."""
        return summed_losses(walk_shifts(candidate.make(), self.inputs_of(candidate), events, folds), events, folds, self.k)

    def inputs_of(self, candidate: Candidate) -> Floats:
        """Inputs (n, p) of a candidate."""
        return self.questions[candidate.target].complete.inputs[:, [self.columns.index(name) for name in candidate.columns]]

    def test_skill(self, candidate: Candidate, shift: int) -> float:
        """Skill of a candidate against climatology in the test, after one shift."""
        question = self.questions[candidate.target]
        events = question.events[[shift]]
        forecasts = walk_shifts(candidate.make(), self.inputs_of(candidate), events, self.test)
        climatology = walk_shifts(Climatology(ordered=False), question.complete.inputs, events, self.test)
        return float(skill_of_shifts(forecasts, climatology, events[:, self.test.judged])[0, self.k])


@dataclass(frozen=True)
class Tally:
    """Skill (S,) of a candidate half-way through the search and at its end, the true dates first; NaN where it was cut short."""

    half: Floats
    whole: Floats

    @property
    def cut_short(self) -> bool:
        """Whether the trial on the true dates was cut short."""
        return bool(np.isnan(self.whole[0]))


def sweep(store: Store, search_space: Sweep, *, place: TrackingPlace, folder: Path, progress: Progress) -> dict[str, Any]:
    """Count the trials, search, judge the winner once, and return the result.

    Trials are stored in `folder` (an Optuna journal), so that the same command continues after a stop. One MLflow run holds the
    result. Raises MissingData where there are too few rows.
    """
    require_reachable(place.uri)
    progress("building features", 0, 0)
    sweep_data = read_sweep_data(store, search_space, last_known(store))
    data, candidates = sweep_data.first.data, search_space.candidates()
    with tracking(place) as tracker:
        trials, own_family = (
            count_sweep_trials(tracker, search_space, candidates, data.market),
            family(data.market, search_space.targets[0]),
        )
        sweeps = count_sweeps(tracker, own_family, search_space.name, search_space.first_test, data.until)
        tallies = search(sweep_data, search_space, candidates, open_study(folder, search_space, data.snapshot), progress)
        progress("judging the winner", 0, 0)
        result = search_result(sweep_data, search_space, candidates, tallies, sweeps) | {"trials": trials}
        tags = {"swept": own_family, "market": data.market, "snapshot": data.snapshot}
        run_id = log_sweep(tracker, search_space.targets[0], result, tags, trial_table(candidates, tallies))
    return result | {"run_id": run_id}


def count_sweep_trials(tracker: Tracker, search_space: Sweep, candidates: Sequence[Candidate], market: str) -> int:
    """Count all candidates as trials, before any is evaluated; return the number of trials so far."""
    trials = 0
    for target in search_space.targets:
        configurations = [candidate.configuration for candidate in candidates if candidate.target == target]
        trials = max(
            count_trials(tracker, family(market, target), search_space.label(target), configurations).values(), default=trials
        )
    return trials


def trial_table(candidates: Sequence[Candidate], tallies: Sequence[Tally]) -> pd.DataFrame:
    """Table with a row per trial: the configuration, its skill half-way through the search and at the end (NaN if cut short)."""
    rows = [
        candidate.summary | {"half": float(tally.half[0]), "skill": float(tally.whole[0])}
        for candidate, tally in zip(candidates, tallies, strict=True)
    ]
    return pd.DataFrame(rows).assign(columns=lambda table: table["columns"].map(" ".join))


def read_sweep_data(store: Store, search_space: Sweep, until: pd.Timestamp) -> SweepData:
    """Data of a sweep, read from the store as known at the end of `until`."""
    target = search_space.targets[0]
    settings = TrainSettings(target, first_test=search_space.first_test)
    data = prepare(store, settings, until)
    level = load_target_index(store, until, target).level.dropna()
    datasets = {
        each_target: replace(data, outcomes=index_outcomes(store, level, pd.DatetimeIndex(data.X.index), each_target, until))
        for each_target in search_space.targets
    }
    return prepare_sweep_data(datasets, search_space)


def prepare_sweep_data(datasets: Mapping[Target, Dataset], search_space: Sweep) -> SweepData:
    """Data of a sweep, from the prepared rows and outcomes of every target."""
    target = search_space.targets[0]
    columns, k, data = list(search_space.columns), target.horizons.index(judged_horizon(target.horizons)), datasets[target]
    rows_by_target = {
        each_target: complete_rows(target_data.X[columns], target_data.outcomes) for each_target, target_data in datasets.items()
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
    for each_target in search_space.targets:
        events = circularly_shifted(rows_by_target[each_target].events, shifts)
        first, rest = (
            summed_losses(walk_shifts(Climatology(ordered=False), rows.inputs, events, folds), events, folds, k)
            for folds in (early, late)
        )
        questions[each_target] = Question(datasets[each_target], rows_by_target[each_target], events, first, first + rest)
    return SweepData(questions, columns, early, late, test, k)


def search_folds(data: Dataset, complete_rows: CompleteRows, first_test: pd.Timestamp, k: int) -> tuple[FoldMask, FoldMask]:
    """The folds of the search in two halves: quarters before the test, with rows whose outcome was known before it."""
    known_days = complete_rows.days[complete_rows.known[:, k] < first_test.to_datetime64()]
    if len(known_days) < 2:
        raise MissingData(
            f"No outcome was known before {first_test:%Y-%m-%d}: there is nothing to search in. Set a later first_test."
        )
    folds = usable(quarters(known_days[0], known_days[-1]), data.outcomes)
    rows = fold_mask(complete_rows, folds, (known_days[0], known_days[-1])).rows
    if len(rows) < 2:
        raise MissingData(f"Fewer than two quarters before {first_test:%Y-%m-%d} can be forecast. Set a later first_test.")
    half = (len(rows) + 1) // 2
    return folds_of(rows[:half]), folds_of(rows[half:])


def folds_of(rows: list[tuple[Any, Any]]) -> FoldMask:
    """Fold masks of a part of a walk-forward."""
    return FoldMask(rows, np.any([test for _, test in rows], axis=0))


def summed_losses(forecasts: Floats, events: Floats, folds: FoldMask, k: int) -> Floats:
    """Sums (S,) of the Brier losses at horizon number k, of forecasts (S, m, K) on the judged rows of events (S, n, K)."""
    return np.asarray(((forecasts[:, :, k] - events[:, folds.judged, k]) ** 2).sum(axis=1))


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
    sweep_data: SweepData, search_space: Sweep, candidates: Sequence[Candidate], study: "optuna.Study", progress: Progress
) -> list[Tally]:
    """Tally of every candidate; those in the study are read, the others are computed and added to it."""
    tallies = {
        int(trial.user_attrs["number"]): Tally(*(np.array(trial.user_attrs[part], dtype=np.float64) for part in ("half", "whole")))
        for trial in study.get_trials(deepcopy=False)
    }
    for numbers in (range(min(FIRST_JUDGED_WHOLE, len(candidates))), range(FIRST_JUDGED_WHOLE, len(candidates))):
        todo = [number for number in numbers if number not in tallies]
        bar = np.median([tallies[first].half for first in range(FIRST_JUDGED_WHOLE)], axis=0) if todo and numbers.start else None
        for number, tally in zip(todo, tallies_of(sweep_data, [candidates[number] for number in todo], bar), strict=True):
            study.add_trial(optuna_trial(search_space, number, candidates[number], tally))
            tallies[number] = tally
            progress("searching", len(tallies), len(candidates))
    return [tallies[number] for number in range(len(candidates))]


def tallies_of(sweep_data: SweepData, candidates: Sequence[Candidate], bar: Floats | None) -> Iterator[Tally]:
    """Tallies of the candidates in order, computed in jobs on all cores or a cluster."""
    parts = [(sweep_data, candidates[first : first + PART], bar) for first in range(0, len(candidates), PART)]
    return chain.from_iterable(run_in_parallel(tally_part, parts))


def tally_part(sweep_data: SweepData, candidates: Sequence[Candidate], bar: Floats | None) -> list[Tally]:
    """Tallies of the candidates of one job."""
    return [sweep_data.search_tally(candidate, bar) for candidate in candidates]


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
        distributions={name: CategoricalDistribution(values) for name, (_, values) in choices.items()},
        user_attrs={"number": number, "half": tally.half.tolist(), "whole": plain(tally.whole.tolist())},
    )


def search_result(
    sweep_data: SweepData, search_space: Sweep, candidates: Sequence[Candidate], tallies: Sequence[Tally], sweeps: int = 1
) -> dict[str, Any]:
    """Result of a sweep: the winner judged once on the test, against the winners of the same search on shifted outcomes.

    `sweeps` is the number of sweeps judged on these days; p is multiplied by it (Bonferroni).
    """
    table = np.array([tally.whole for tally in tallies])
    winners = np.nanargmax(table, axis=0)
    test_skills = np.array([sweep_data.test_skill(candidates[winner], shift) for shift, winner in enumerate(winners)])
    null = null_distribution(test_skills, len(sweep_data.first.complete.days) // sweep_data.first.complete.longest_weeks)
    winner = candidates[winners[0]]
    row = winner_verification(sweep_data.questions[winner.target].data, search_space, winner)
    best_of_n_p = None if row["spa_p"] is None else min(1.0, sweeps * max(row["spa_p"], null.p))
    significant = best_of_n_p is not None and best_of_n_p < LEVEL
    shown = significant and all((row[f"skill_{name}"]["low"] or 0.0) > 0 for name in BASELINES)
    return {
        "target": winner.target.name,
        "label": winner.target.label,
        "market": sweep_data.first.data.market,
        "snapshot": sweep_data.first.data.snapshot,
        "tried": len(tallies),
        "sweeps": sweeps,
        "of": search_space.size,
        "cut_short": sum(tally.cut_short for tally in tallies),
        "searched_weeks": int(sweep_data.early.judged.sum() + sweep_data.late.judged.sum()),
        "first_test": f"{search_space.first_test:%Y-%m-%d}",
        "winner": winner.summary,
        "search_skill": float(table[winners[0], 0]),
        "horizon": judged_horizon(winner.target.horizons),
        "test": row,
        "search_p": null.p,
        "search_null": asdict(null),
        "best_of_n_p": best_of_n_p,
        "found": shown,
    }


def winner_verification(data: Dataset, search_space: Sweep, winner: Candidate) -> dict[str, Any]:
    """Scores of the winner on the test against the baselines, with the p-value of superior predictive ability."""
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
