"""Train: walk forward, judge, fit on everything known, track, and settle who is champion."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from core.notebook_view import NotebookView
from core.progress import Progress
from evaluation.multiple_testing import TrialHistory
from evaluation.sample import evaluation_samples
from features.build import catalogue
from models.base import HorizonModel
from models.catalog import MODELS, default_model
from models.pool import Pool
from sources.reach import require_reachable
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import Dataset, prepare
from training.null_results import Walk, configuration_of, null_results
from training.outbox import PendingTraining, forget, kept_until_logged, outbox_folder, pending_folders, read, reserved_disk
from training.promotion import update_aliases
from training.records import model_record, training_record
from training.run_log import log_training, show_training
from training.settings import TrainSettings
from training.tracking import (
    Registered,
    Tracker,
    TrackingPlace,
    champion,
    clear_errors,
    database_lock,
    quieten_mlflow,
    tracking,
)
from training.training_job import TrainedModel, TrainingJob, headline_row, stale_index
from training.trial_count import count_trials, trial_history
from training.verify import add_null_tests, model_names, table, verification_frame, walk_all
from training.walk_forward import Draws, WalkForward, describe, fitted, quarters, usable

MOST_SLOW_DRAWS = 60
"""Refits behind an interval of a model whose refits take a tenth of a second each."""

START_OF_TIME = pd.Timestamp("1900-01-01")


@dataclass(frozen=True)
class TrainReport(NotebookView):
    """What a training did: verification rows, its folds, the versions made, and what was decided about the champion."""

    until: str
    market: str
    label: str
    snapshot: str
    trials: int
    run_id: str
    models: list[dict[str, str]]
    decisions: list[str]
    sentence: str
    rows: list[dict[str, Any]]
    folds: pd.DataFrame

    @property
    def headline(self) -> str:
        """Skill in one sentence, and what became of the champion."""
        return " ".join([self.sentence, *self.decisions])

    def frame(self) -> pd.DataFrame:
        """A row a model and horizon: scores, skill with its interval, grade."""
        return verification_frame(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, days as text."""
        return {
            **vars(self),
            "folds": self.folds.map(lambda cell: f"{cell:%Y-%m-%d}" if hasattr(cell, "year") else cell).to_dict("records"),
        }


def train(store: Store, settings: TrainSettings, *, until: pd.Timestamp, place: TrackingPlace, progress: Progress) -> TrainReport:
    """Train on what was known by the end of `until` and track it all in `place`.

    An empty home gets the default model as champion (trained too, if others were asked for); later trainings refresh the champion
    or name a challenger. Raises MissingData, UnknownName, BadInput, Refused or StoreUnusable; then no alias has moved.
    """
    model_names(settings)
    require_reachable(place.uri)
    progress("building features", 0, 0)
    with ThreadPoolExecutor(1) as side:  # MLflow takes as long to import as the features to build
        imported = side.submit(quieten_mlflow)
        data = prepare(store, settings, until)
        imported.result()
    folds = usable(quarters(settings.first_test, until), data.outcomes)
    listed = catalogue(data.features, store.first_observed(COIN_PRICE), settings.target)
    job = TrainingJob(settings, data, folds, stale_index(store, until), listed)
    return train_on(job, place, progress)


def train_on(job: TrainingJob, place: TrackingPlace, progress: Progress) -> TrainReport:
    """Train on rows already prepared."""
    with tracking(place) as tracker:
        late = log_pending(tracker, progress)
        names = names_to_train(job.settings, champion(tracker, job.settings.target))
        configurations = [configuration_of(name, job.settings) for name in names]
        trials = count_trials(tracker, job.family, job.settings.label, configurations)
        tried = trial_history(tracker, job.family, job.settings.label)
        with reserved_disk(place.home):
            trained = fit_and_judge(job, names, tried, progress)
        report = keep(tracker, job, trained, trials, progress)
    return replace(report, decisions=[*late, *report.decisions])


def log_pending(tracker: Tracker, progress: Progress) -> list[str]:
    """Track what earlier runs learnt and couldn't; what was decided."""
    decisions = []
    for folder in pending_folders(tracker.place.home):
        work = read(folder)
        run_id, made, settled = log_work(tracker, work, progress)
        forget(folder)
        show_training(tracker, run_id, work.training, made, work.target, settled)
        decisions += [f"{work.training.name}, kept since it couldn't be logged: {decision}" for decision in settled]
    return decisions


def make_good(place: TrackingPlace, progress: Progress) -> list[str]:
    """`log_left` where there is anything; nothing is opened where there isn't."""
    if not any(outbox_folder(place.home).glob("*")):
        return []
    with tracking(place) as tracker:
        return log_pending(tracker, progress)


def log_work(tracker: Tracker, work: PendingTraining, progress: Progress) -> tuple[str, dict[str, Registered], list[str]]:
    """The parent run of a training, its versions by model, and what was decided about aliases."""
    run_id, made = log_training(tracker, work.training, work.models, progress)
    with database_lock(tracker.place):
        return run_id, made, update_aliases(tracker, work.default, made, work.models)


def keep(
    tracker: Tracker, job: TrainingJob, trained: Sequence[TrainedModel], trials: Mapping[str, int], progress: Progress
) -> TrainReport:
    """Track what was trained and settle the aliases."""
    tried, default = max(trials.values()), default_model(job.settings.outcome)
    seen = pictured(trained, default)
    records = {
        model.name: replace(model_record(job, model, trials[model.configuration], tried), every_picture=model.name in seen)
        for model in trained
    }
    work = PendingTraining(training_record(job, tried, trained), records, default)
    with (
        kept_until_logged(tracker.place.home, work),
        clear_errors(tracker.place, "What was learnt is kept, and the next run logs it."),
    ):
        run_id, made, decisions = log_work(tracker, work, progress)
    show_training(tracker, run_id, work.training, made, job.settings.target, decisions)
    told = records.get(default, next(iter(records.values())))
    return TrainReport(
        until=f"{job.data.until:%Y-%m-%d}",
        market=job.data.market,
        label=job.settings.label,
        snapshot=job.data.snapshot,
        trials=tried,
        run_id=run_id,
        models=[{"model": name, "version": version.version, "run_id": version.run_id} for name, version in made.items()],
        decisions=decisions,
        sentence=f"{told.card.model}: {told.card.skill['sentence']}",
        rows=sorted((row for model in trained for row in model.rows), key=lambda row: row["horizon"]),
        folds=describe(job.folds, job.data.outcomes),
    )


def pictured(trained: Sequence[TrainedModel], default: str) -> set[str]:
    """The models people will look at: the default one, and the best of the others that isn't a baseline."""
    others = [model for model in trained if model.name != default and not MODELS[model.name].baseline]
    best = sorted(others, key=lambda model: headline_row(model)["brier"] or np.inf)[:1]
    return {default, *(model.name for model in best)}


def names_to_train(settings: TrainSettings, current: Registered | None) -> list[str]:
    """The models asked for; an empty home needs its default model besides."""
    names = model_names(settings)
    default = default_model(settings.outcome)
    return names if current is not None or default in names else [default, *names]


def fit_and_judge(job: TrainingJob, names: Sequence[str], tried: TrialHistory, progress: Progress) -> list[TrainedModel]:
    """Walk forward and judge, then fit each model on every outcome known."""
    data, settings = job.data, job.settings
    walks = walk_all(data, settings, names, job.folds, progress, draws=Draws(settings.draws, settings.seed))
    forecasts = {name: walk.probabilities for name, walk in walks.items()}
    found = null_results(list(walks), Walk(data, settings, job.folds, (START_OF_TIME, data.until)), progress)
    finals = {}
    with ThreadPoolExecutor(1) as side:  # slow models are spread over processes, and judging takes as long
        judging = side.submit(add_null_tests, forecasts, data, settings, names, found, tried)
        for done, name in enumerate(names):
            progress(f"final fit: {name}", done, len(names))
            finals[name] = final_fit(name, data, settings, walks[name])
        rows = judging.result()
    judged = evaluation_samples(forecasts, data.outcomes.events, settings.horizons)
    return [
        TrainedModel(
            name=name,
            walk=walks[name],
            forecasts=table(forecasts, data, [name]),
            final=finals[name],
            rows=[row for row in rows if row["model"] == name],
            settings=settings,
            chance=found.get(name),
            judged=judged,
        )
        for name in names
    ]


def final_fit(name: str, data: Dataset, settings: TrainSettings, walk: WalkForward) -> HorizonModel:
    """The model fitted on every outcome known, with the refits that give its interval; a pool with the record of its experts."""
    events = data.outcomes.events.dropna(how="all")
    inputs = data.X.loc[events.index, list(MODELS[name].columns)]
    model = MODELS[name].for_target(settings.target)
    draws = min(settings.draws, MOST_SLOW_DRAWS) if model.slow else settings.draws
    model = fitted(model, inputs, events, Draws(draws, settings.seed))
    newest = walk.models[-1].model
    if isinstance(model, Pool) and isinstance(newest, Pool):
        return model.with_record(pd.DatetimeIndex([data.until]), newest.weights_[None])
    return model
