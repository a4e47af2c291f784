"""Train: walk forward, judge, fit on everything known, track, and settle who is champion."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from core.notebook_view import NotebookView
from core.number_format import interval
from core.progress import Progress
from core.target import judged_horizon
from evaluation.bootstrap import WIDENING
from evaluation.evidence import Grade, LiveEvidence, evidence
from evaluation.multiple_testing import TrialHistory
from evaluation.sample import EvaluationSample, evaluation_samples
from features.build import catalogue
from models.base import HorizonModel
from models.card import Card, FoldCard
from models.catalog import COMPOSITES, MODELS, default_model
from models.coefficients import hazard_table, slope_text
from models.forecaster import assemble
from models.metric_names import metric_name
from models.passage import Passage
from models.pool import Pool
from sources.quality import freshness
from sources.reach import require_reachable
from sources.series import COIN_PRICE
from sources.store import Store
from training.dataset import Dataset, prepare
from training.mlflow_view import HEADLINE_BASELINES, skill_tag
from training.null_results import NullResults, Walk, configuration_of, null_results
from training.outbox import PendingTraining, forget, kept_until_logged, outbox_folder, pending_folders, read, reserved_disk
from training.promotion import update_aliases
from training.run_log import ModelRecord, TrainingRecord, log_training, show_training
from training.settings import TrainSettings, family
from training.tracking import (
    Registered,
    Tracker,
    TrackingPlace,
    champion,
    clear_errors,
    code_version,
    database_lock,
    quieten_mlflow,
    tracking,
)
from training.trial_count import count_trials, trial_history
from training.verify import add_null_tests, model_names, table, verification_frame, walk_all
from training.walk_forward import Draws, Fold, WalkForward, base_rates, describe, fitted, quarters, training_rows, usable

MOST_MISSING = 0.5
MOST_SLOW_DRAWS = 60
"""Refits behind an interval of a model whose refits take a tenth of a second each."""

METRIC_DIGITS = 4
"""MLflow's tables print every digit; all of them are in the table of the training."""

START_OF_TIME = pd.Timestamp("1900-01-01")
VERDICTS = {
    str(Grade.SHOWN): "Skill has been shown live",
    str(Grade.SUPPORTED): "Skill has not been shown live, history supports it",
    str(Grade.NOT_SHOWN): "Skill has not been shown",
}
BASELINE_WORDS = {
    "volatility": "volatility alone",
    "climatology": "climatology",
    "random_walk": "the random walk",
    "momentum": "momentum",
}


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


@dataclass(frozen=True)
class Trained:
    """One model: its walk-forward and forecasts, its fit on everything known, its rows of the verification, what chance does with
    it, and by horizon the forecasts of all models it was judged beside."""

    name: str
    walk: WalkForward
    forecasts: pd.DataFrame
    final: HorizonModel
    rows: list[dict[str, Any]]
    settings: TrainSettings
    chance: NullResults | None
    judged: Mapping[int, EvaluationSample]

    @property
    def configuration(self) -> str:
        """The hash that tells it from any other."""
        return configuration_of(self.name, self.settings)

    @property
    def columns(self) -> list[str]:
        """Inputs it reads, in order."""
        return list(MODELS[self.name].columns)


@dataclass(frozen=True)
class Job:
    """What all models of one training share. `stale` says why the data gates are closed; `catalogue` lists the features built."""

    settings: TrainSettings
    data: Dataset
    folds: list[Fold]
    stale: list[str]
    catalogue: pd.DataFrame

    @property
    def family(self) -> str:
        """Whose tries its configurations are."""
        return family(self.data.market, self.settings.target)


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
    job = Job(settings, data, folds, stale_index(store, until), listed)
    return train_on(job, place, progress)


def train_on(job: Job, place: TrackingPlace, progress: Progress) -> TrainReport:
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


def keep(tracker: Tracker, job: Job, trained: Sequence[Trained], trials: Mapping[str, int], progress: Progress) -> TrainReport:
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


def pictured(trained: Sequence[Trained], default: str) -> set[str]:
    """The models people will look at: the default one, and the best of the others that isn't a baseline."""
    others = [model for model in trained if model.name != default and not MODELS[model.name].baseline]
    best = sorted(others, key=lambda model: headline_row(model)["brier"] or np.inf)[:1]
    return {default, *(model.name for model in best)}


def names_to_train(settings: TrainSettings, current: Registered | None) -> list[str]:
    """The models asked for; an empty home needs its default model besides."""
    names = model_names(settings)
    default = default_model(settings.outcome)
    return names if current is not None or default in names else [default, *names]


def fit_and_judge(job: Job, names: Sequence[str], tried: TrialHistory, progress: Progress) -> list[Trained]:
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
        Trained(
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


def model_record(job: Job, model: Trained, trial: int, tried: int) -> ModelRecord:
    """Everything to keep of one model, the `trial`-th of `tried` configurations."""
    card, row = make_card(job, model, tried), headline_row(model)
    tags = {
        "model": model.name,
        "configuration": model.configuration,
        "trial": str(trial),
        **{skill_tag(row["horizon"], name): interval(row[f"skill_{name}"]) for name in HEADLINE_BASELINES},
        "grade": card.skill["evidence"]["grade"],
        "unproven": str(card.skill["evidence"]["grade"] == Grade.NOT_SHOWN).lower(),
        "gates": "; ".join(closed_gates(job, model.columns)) or "pass",
    }
    return ModelRecord(
        card=card,
        forecaster=assemble(
            model.final, model.walk.models, [place for place, name in enumerate(model.columns) if name in COMPOSITES]
        ),
        inputs=job.data.X[model.columns].tail(100),
        forecasts=model.forecasts,
        params={"model": model.name, "columns": ", ".join(model.columns), "draws": job.settings.draws, **model.final.get_params()},
        metrics=metrics_by_headline(model),
        tags=tags,
        texts=coefficients(job, model),
        description=description(job, model, card),
        rotations=rotation_table(model.chance, job.settings.horizons),
        independent=0 if model.chance is None or model.chance.shift is None else model.chance.shift.independent,
        judged=model.judged,
    )


def description(job: Job, model: Trained, card: Card) -> str:
    """What a reader of MLflow must know of a model: what it is worth, what it was trained on, what it reads, its limits."""
    span = f"{job.settings.start:%Y-%m-%d} to {card.last_label_end}"
    return "\n\n".join(
        [
            f"{MODELS[model.name].description} {card.skill['sentence']}",
            f"Forecasts {card.label} on the {card.market} market. Trained on outcomes from {span}, snapshot {card.snapshot}.",
            f"Reads {', '.join(card.columns)}.",
            "Intervals of its probabilities are parameter uncertainty only. Not investment advice.",
        ]
    )


def rotation_table(chance: NullResults | None, horizons: Sequence[int]) -> pd.DataFrame:
    """One row a null ("shift" or "claim"), rotation and horizon: skill, auc, brier; the true dates have a shift of 0."""
    nulls = {} if chance is None else {"shift": chance.shift, "claim": chance.claim}
    parts = [one.table(horizons).assign(null=name) for name, one in nulls.items() if one is not None]
    columns = ["null", "shift", "horizon", "skill", "auc", "brier"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def coefficients(job: Job, model: Trained) -> dict[str, str]:
    """The table of coefficients with standard errors, by file name: of a hazard, a passage or a pool; or why there is none."""
    if isinstance(model.final, Passage | Pool) and model.final.parameters_ is not None:
        return {"coefficients.txt": slope_text(model.final, [name for name in model.columns if name in COMPOSITES])}
    if model.name != "hazard":
        return {}
    events = job.data.outcomes.events.dropna(how="all")
    inputs = job.data.X.loc[events.index, model.columns]
    try:
        return {"coefficients.txt": hazard_table(inputs, events.to_numpy(), horizons=job.settings.horizons).text}
    except ValueError as error:
        return {"coefficients.txt": str(error)}


def training_record(job: Job, tried: int, trained: Sequence[Trained]) -> TrainingRecord:
    """Everything to keep of a training as a whole; its tags go to every model too."""
    settings, data = job.settings, job.data
    return TrainingRecord(
        name=f"train {data.until:%Y-%m-%d}" + ("" if settings.target.is_default else f" {settings.target.name}"),
        params={
            "outcome": settings.outcome,
            "threshold": settings.target.threshold,
            "horizons": settings.horizons,
            "start": f"{settings.start:%Y-%m-%d}",
            "first_test": f"{job.folds[0].test_start:%Y-%m-%d}",
            "until": f"{data.until:%Y-%m-%d}",
            "seed": settings.seed,
            "widening": WIDENING,
        },
        tags=training_tags(job, tried),
        tables={"folds.csv": describe(job.folds, data.outcomes), "features.csv": job.catalogue},
        inputs=data.X,
        description=f"{len(trained)} models of {settings.label} on the {data.market} market; {tried} tries were counted so far.",
        verification=[row for model in trained for row in model.rows],
    )


def training_tags(job: Job, tried: int) -> dict[str, str]:
    """What tells a training from others, as tags of its runs."""
    return {
        "family": job.family,
        "trials": str(tried),
        "label": job.settings.label,
        "market": job.data.market,
        "snapshot": job.data.snapshot,
        "trained_as_of": f"{job.data.until:%Y-%m-%d}",
        "code_version": code_version(),
    }


def make_card(job: Job, model: Trained, tried: int) -> Card:
    """What a forecast of this model needs besides the model."""
    data, events = job.data, job.data.outcomes.events.dropna(how="all")
    ends = data.outcomes.label_end.loc[events.index].where(events.notna())
    return Card(
        model=model.name,
        family=job.family,
        market=data.market,
        outcome=job.settings.target.summary,
        horizons=list(job.settings.horizons),
        columns=model.columns,
        label=job.settings.label,
        configuration=model.configuration,
        snapshot=data.snapshot,
        trained_as_of=f"{data.until:%Y-%m-%d}",
        last_label_end=f"{ends.max().max():%Y-%m-%d}",
        base_rates=base_rates(events),
        folds=[fold_card(job, model, position) for position in range(len(job.folds))],
        means=means(data.X.loc[events.index, model.columns]),
        skill=skill_card(model),
        draws=job.settings.draws,
        trials=tried,
    )


def fold_card(job: Job, model: Trained, position: int) -> FoldCard:
    """What a forecast of one walk-forward model needs."""
    fold = job.folds[position]
    rows = training_rows(job.data.outcomes, fold.test_start).index
    return FoldCard(
        test_start=f"{fold.test_start:%Y-%m-%d}",
        test_end=f"{fold.test_end:%Y-%m-%d}",
        base_rates=model.walk.base_rates[position],
        means=means(job.data.X.loc[rows, model.columns]),
    )


def means(inputs: pd.DataFrame) -> dict[str, Any]:
    """Mean of each input; None where it was never known."""
    return {str(name): None if pd.isna(mean) else float(mean) for name, mean in inputs.mean().items()}


def headline_row(model: Trained) -> dict[str, Any]:
    """The row a model is judged by."""
    return next((row for row in model.rows if row["horizon"] == judged_horizon(model.settings.horizons)), model.rows[-1])


def skill_card(model: Trained) -> dict[str, Any]:
    """Skill at the horizon judged as the card tells it, with the evidence that history gives."""
    row = headline_row(model)
    judged = model.forecasts[(model.forecasts["horizon"] == row["horizon"])].dropna(subset=["outcome"])["as_of"]
    start, end = (f"{day:%Y-%m-%d}" if len(judged) else None for day in (judged.min(), judged.max()))
    against = row["skill_climatology"]
    drift = row["drift"]
    found = evidence(None if drift is None else drift["p"], row["ahead_of_all"], LiveEvidence())
    return {
        "brier_skill_score": against["value"],
        "low": against["low"],
        "high": against["high"],
        "null_p": row["null_p"],
        "shown": found.grade == Grade.SHOWN,
        "sentence": skill_sentence(row, start, end, found.grade),
        "start": start,
        "end": end,
        "evidence": found.to_dict(),
    }


def skill_sentence(row: Mapping[str, Any], start: str | None, end: str | None, grade: str) -> str:
    """Skill in one sentence, the same wherever it is printed: the grade, over which span, against whom."""
    if row["n"] == 0 or start is None or end is None:
        return "Skill has not been shown: no forecast has been judged yet."
    against = ", ".join(f"{interval(row[f'skill_{name}'])} against {words}" for name, words in baseline_clause(row).items())
    windows = f"about {row['n_effective']:.0f} independent windows{null_clause(row['null'])}"
    return (
        f"{VERDICTS[grade]}: from {start[:7]} to {end[:7]} the {row['horizon']}-day Brier skill was {against} "
        f"(95 % intervals, {windows}; {best_of_clause(row)})."
    )


def baseline_clause(row: Mapping[str, Any]) -> dict[str, str]:
    """The baselines by name, in words. Of an outcome without a law climatology stands for the volatilities, and is told once."""
    same = [name for name in ("volatility", "random_walk") if row[f"skill_{name}"] == row["skill_climatology"]]
    return {name: words for name, words in BASELINE_WORDS.items() if name not in same}


def best_of_clause(row: Mapping[str, Any]) -> str:
    """The p-value as the best of what was judged together, and how much was tried; it doesn't pay for other tries."""
    best, tries = row["best_of_n_p"], f"{row['trials']} tries counted"
    return f"no p as the best, {tries}" if best is None else f"p {best:.3f} as the best of those judged together, {tries}"


def null_clause(null: Mapping[str, Any] | None) -> str:
    """How often rotated outcomes gave as much, and on how many independent rotations that rests."""
    return (
        "" if null is None else f"; null p {null['p']:.3f} of {null['shifts']} rotations, about {null['independent']} independent"
    )


def row_metrics(row: Mapping[str, Any], *, judged: bool) -> dict[str, float | None]:
    """A verification row as the metrics people compare: 60d/skill_vs_volatility with _low and _high, 60d/brier, and so on.

    All of the row is kept as a file of the training. Only the horizon judged has p-values: promotion reads them.
    """
    limits = {
        f"skill_vs_{name}{ending}": row[f"skill_{name}"][key]
        for name in HEADLINE_BASELINES
        for ending, key in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    scores = {name: row[name] for name in ("brier", "log_score", "auc")}
    p_values = {name: row[name] for name in ("null_p", "claim_null_p", "best_of_n_p")} if judged else {}
    short = {name: None if value is None else round(value, METRIC_DIGITS) for name, value in (limits | scores).items()}
    return {metric_name(row["horizon"], name): value for name, value in (short | p_values).items()}


def metrics_by_headline(model: Trained) -> dict[str, float | None]:
    """Metrics of a model, those of the horizon judged first."""
    judged = headline_row(model)
    rows = [judged, *(row for row in model.rows if row is not judged)]
    return {name: value for row in rows for name, value in row_metrics(row, judged=row is judged).items()}


def stale_index(store: Store, until: pd.Timestamp) -> list[str]:
    """Why the altcoin index isn't fresh; empty if it is."""
    return [line.message for line in freshness(store, until) if line.series == COIN_PRICE.name and not line.fresh]


def closed_gates(job: Job, columns: Sequence[str]) -> list[str]:
    """Why today's data may not make a champion (a stale index, most inputs missing); empty if they may."""
    last = job.data.X[list(columns)].iloc[-1]
    missing = [name for name in columns if pd.isna(last[name]) or (name in job.data.neutral and job.data.neutral[name].iloc[-1])]
    thin = (
        [f"{len(missing)} of {len(columns)} inputs are missing ({', '.join(missing)})"]
        if len(missing) > MOST_MISSING * len(columns)
        else []
    )
    return job.stale + thin
