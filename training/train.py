"""Train models: walk forward, verify, fit on all known outcomes, log to MLflow, and update the champion."""

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
from training.model_versions import (
    ModelVersion,
    champion,
)
from training.null_results import Walk, configuration_of, null_results
from training.outbox import (
    PendingTraining,
    outbox_folder,
    pending_folders,
    read_pending,
    remove_pending,
    reserved_disk,
    stored_until_logged,
)
from training.promotion import update_aliases
from training.records import model_record, training_record
from training.run_log import log_training, show_training
from training.settings import TrainSettings
from training.tracking import (
    Tracker,
    TrackingPlace,
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
"""Most bootstrap refits of a slow model, one whose refit takes about a tenth of a second."""

START_OF_TIME = pd.Timestamp("1900-01-01")


@dataclass(frozen=True)
class TrainReport(NotebookView):
    """Result of a training: verification rows, folds, registered versions, and the decisions about the champion."""

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
        """Skill in one sentence, then the decisions about the champion."""
        return " ".join([self.sentence, *self.decisions])

    def frame(self) -> pd.DataFrame:
        """A row per model and horizon: scores, skill with its interval, grade."""
        return verification_frame(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, days as text."""
        return {
            **vars(self),
            "folds": self.folds.map(lambda cell: f"{cell:%Y-%m-%d}" if hasattr(cell, "year") else cell).to_dict("records"),
        }


def train(store: Store, settings: TrainSettings, *, until: pd.Timestamp, place: TrackingPlace, progress: Progress) -> TrainReport:
    """Train on what was known by the end of `until`, log everything in `place`, and return the report.

    In an empty home the default model becomes champion; it is trained even if other models were requested. Later trainings refresh
    the champion or name a challenger. Raises MissingData, UnknownName, BadInput, Refused or StoreUnusable; then no alias has moved.
    """
    model_names(settings)
    require_reachable(place.uri)
    progress("building features", 0, 0)
    with ThreadPoolExecutor(1) as side:  # importing MLflow takes as long as building the features
        imported = side.submit(quieten_mlflow)
        data = prepare(store, settings, until)
        imported.result()
    folds = usable(quarters(settings.first_test, until), data.outcomes)
    listed = catalogue(data.features, store.first_observed(COIN_PRICE), settings.target)
    job = TrainingJob(settings, data, folds, stale_index(store, until), listed)
    return train_on(job, place, progress)


def train_on(job: TrainingJob, place: TrackingPlace, progress: Progress) -> TrainReport:
    """Train on prepared rows, after logging the trainings that earlier runs couldn't log."""
    with tracking(place) as tracker:
        late_decisions = log_outbox(tracker, progress)
        names, default = model_names(job.settings), default_model(job.settings.outcome)
        if champion(tracker, job.settings.target) is None and default not in names:
            names = [default, *names]
        configurations = [configuration_of(name, job.settings) for name in names]
        trials = count_trials(tracker, job.family, job.settings.label, configurations)
        history = trial_history(tracker, job.family, job.settings.label)
        with reserved_disk(place.home):
            trained = fit_and_judge(job, names, history, progress)
        report = track_training(tracker, job, trained, trials, progress)
    return replace(report, decisions=[*late_decisions, *report.decisions])


def log_outbox(tracker: Tracker, progress: Progress) -> list[str]:
    """Log the trainings that earlier runs stored in the outbox; return the decisions about the champion."""
    decisions = []
    for folder in pending_folders(tracker.place.home):
        pending = read_pending(folder)
        run_id, versions, new_decisions = log_pending(tracker, pending, progress)
        remove_pending(folder)
        show_training(tracker, run_id, pending.training, versions, pending.target, new_decisions)
        decisions += [f"{pending.training.name}, kept since it couldn't be logged: {decision}" for decision in new_decisions]
    return decisions


def log_pending_trainings(place: TrackingPlace, progress: Progress) -> list[str]:
    """Log the trainings in the outbox of a home; return the decisions. With an empty outbox MLflow isn't opened."""
    if not any(outbox_folder(place.home).glob("*")):
        return []
    with tracking(place) as tracker:
        return log_outbox(tracker, progress)


def log_pending(tracker: Tracker, pending: PendingTraining, progress: Progress) -> tuple[str, dict[str, ModelVersion], list[str]]:
    """Log a training and update the aliases; return the id of its run, its versions by model, and the decisions."""
    run_id, versions = log_training(tracker, pending.training, pending.models, progress)
    with database_lock(tracker.place):
        return run_id, versions, update_aliases(tracker, pending.default, versions, pending.models)


def track_training(
    tracker: Tracker, job: TrainingJob, trained: Sequence[TrainedModel], trials: Mapping[str, int], progress: Progress
) -> TrainReport:
    """Store the trained models in the outbox, log them to MLflow and update the aliases; return the report."""
    total_trials, default = max(trials.values()), default_model(job.settings.outcome)
    others = [model for model in trained if model.name != default and not MODELS[model.name].baseline]
    best = sorted(others, key=lambda model: headline_row(model)["brier"] or np.inf)[:1]
    with_all_figures = {default, *(model.name for model in best)}
    records = {
        model.name: replace(
            model_record(job, model, trials[model.configuration], total_trials), every_picture=model.name in with_all_figures
        )
        for model in trained
    }
    pending = PendingTraining(training_record(job, total_trials, trained), records, default)
    with (
        stored_until_logged(tracker.place.home, pending),
        clear_errors(tracker.place, "What was learnt is kept, and the next run logs it."),
    ):
        run_id, versions, decisions = log_pending(tracker, pending, progress)
    show_training(tracker, run_id, pending.training, versions, job.settings.target, decisions)
    headline = records.get(default, next(iter(records.values())))
    return TrainReport(
        until=f"{job.data.until:%Y-%m-%d}",
        market=job.data.market,
        label=job.settings.label,
        snapshot=job.data.snapshot,
        trials=total_trials,
        run_id=run_id,
        models=[{"model": name, "version": version.version, "run_id": version.run_id} for name, version in versions.items()],
        decisions=decisions,
        sentence=f"{headline.card.model}: {headline.card.skill['sentence']}",
        rows=sorted((row for model in trained for row in model.rows), key=lambda row: row["horizon"]),
        folds=describe(job.folds, job.data.outcomes),
    )


def fit_and_judge(job: TrainingJob, names: Sequence[str], history: TrialHistory, progress: Progress) -> list[TrainedModel]:
    """Walk forward and verify, then fit each model on all known outcomes; return the trained models in order."""
    data, settings = job.data, job.settings
    walks = walk_all(data, settings, names, job.folds, progress, draws=Draws(settings.draws, settings.seed))
    forecasts = {name: walk.probabilities for name, walk in walks.items()}
    nulls = null_results(list(walks), Walk(data, settings, job.folds, (START_OF_TIME, data.until)), progress)
    finals = {}
    with ThreadPoolExecutor(1) as side:  # slow models fit in other processes, and judging takes as long
        judging = side.submit(add_null_tests, forecasts, data, settings, names, nulls, history)
        for done, name in enumerate(names):
            progress(f"final fit: {name}", done, len(names))
            finals[name] = final_fit(name, data, settings, walks[name])
        rows = judging.result()
    samples = evaluation_samples(forecasts, data.outcomes.events, settings.horizons)
    return [
        TrainedModel(
            name=name,
            walk=walks[name],
            forecasts=table(forecasts, data, [name]),
            final=finals[name],
            rows=[row for row in rows if row["model"] == name],
            settings=settings,
            nulls=nulls.get(name),
            judged=samples,
        )
        for name in names
    ]


def final_fit(name: str, data: Dataset, settings: TrainSettings, walk: WalkForward) -> HorizonModel:
    """The model fitted on all known outcomes, with bootstrap refits for its interval; a pool with the weights of its experts."""
    events = data.outcomes.events.dropna(how="all")
    inputs = data.X.loc[events.index, list(MODELS[name].columns)]
    model = MODELS[name].for_target(settings.target)
    draws = min(settings.draws, MOST_SLOW_DRAWS) if model.slow else settings.draws
    model = fitted(model, inputs, events, Draws(draws, settings.seed))
    newest = walk.models[-1].model
    if isinstance(model, Pool) and isinstance(newest, Pool):
        return model.with_record(pd.DatetimeIndex([data.until]), newest.weights_[None])
    return model
