"""What MLflow is told of a training, run by run: values, files, pictures, models and their versions."""

import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from core.home import HIDDEN
from core.progress import Progress
from core.target import Target, judged_horizon
from models.catalog import MODELS, default_model
from models.champion import (
    CARD_FILE,
    FORECASTS_FILE,
    SHADOW_MODELS_FILE,
    SHADOWS_FILE,
    VERIFICATION_FILE,
    figures_of,
    unless_deleted,
)
from models.forecaster import Forecaster
from models.metric_names import metric_name
from models.parallel import shielded_from_interrupts
from models.saving import digest, save_models
from training.leaderboard import FOREST_FILE, LEADERBOARD_FILE, Leaderboard, draw_forest, leaderboard_html, role_of
from training.model_versions import Registered, SavedModel, champion, register_all, save_model
from training.records import ModelRecord, TrainingRecord
from training.tracking import LOG, Tracker, database_lock, describe_experiment, for_target

WORTH_TWO_PROCESSES = 3
TRAINING, NUMBER = "train", f"{HIDDEN}number"
SEED = 7


def log_training(
    tracker: Tracker, training: TrainingRecord, models: Mapping[str, ModelRecord], progress: Progress
) -> tuple[str, dict[str, Registered]]:
    """One parent run, one child run and one registered version a model; the parent's id and the versions by model name.

    A failure leaves the parent FAILED; versions that were made stay without an alias.
    """
    target = next(iter(models.values())).card.target
    lead, own, saved = leading_model(tracker, models), for_target(tracker, target), {}
    number = next_number(own)
    names = run_names(training, models, number)
    told = {name: value for name, value in models[lead].tags.items() if name == "grade" or " skill vs " in name}
    shown = {"standing": f"shows {lead}", **told, NUMBER: str(number)}
    with running(own, names[TRAINING], {**training.tags, **shown}, training.description) as parent:
        log_values(tracker, parent, training.params, headline_metrics(models[lead]))
        log_input(tracker, parent, training)
        log_files(tracker, parent, training.tables)
        tracker.client.log_dict(parent, [dict(row) for row in training.verification], VERIFICATION_FILE)
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # after a failure a process may still draw into it
            progress("drawing", 0, 0)
            pictures = draw_all(models, Path(folder))
            log_forest(tracker, parent, names[TRAINING], training, Path(folder))
            for done, (name, record) in enumerate(models.items()):
                progress(f"tracking: {name}", done, len(models))
                drawn = None if MODELS[name].baseline else next(pictures)
                saved[name] = log_model_run(own, parent, names, training, record, drawn)
        made = register_all(tracker, models, saved, lead)
        log_shadows(tracker, parent, models, made)
        seal(tracker, parent)
    return parent, made


def leading_model(tracker: Tracker, models: Mapping[str, ModelRecord]) -> str:
    """The model a training is told by: the champion's, else the default one, else the one of the lowest Brier score."""
    target = next(iter(models.values())).card.target
    current = champion(tracker, target)
    for name in (current.tags.get("model", "") if current else "", default_model(target.outcome)):
        if name in models:
            return name
    key = metric_name(judged_horizon(target.horizons), "brier")
    return min(models, key=lambda name: np.inf if (brier := models[name].metrics.get(key)) is None else brier)


def headline_metrics(record: ModelRecord) -> dict[str, float | None]:
    """What a model scores at the horizon judged."""
    beginning = metric_name(judged_horizon(record.card.horizons), "")
    return {name: value for name, value in record.metrics.items() if name.startswith(beginning)}


def run_names(training: TrainingRecord, models: Mapping[str, ModelRecord], number: int) -> dict[str, str]:
    """Names of the runs of a training, by model and for itself: day, snapshot and a number that counts the target's trainings."""
    about = f"{training.tags['trained_as_of']} {training.tags['snapshot'][:6]} #{number}"
    return {name: f"{name} {about}" for name in (TRAINING, *models)}


def next_number(tracker: Tracker) -> int:
    """The number of the next training or sweep of an experiment; those deleted since keep theirs."""
    from mlflow.entities import ViewType

    numbered = tracker.client.search_runs([tracker.experiment_id], f"tags.`{NUMBER}` != ''", ViewType.ALL, max_results=1)
    return int(numbered[0].data.tags[NUMBER]) + 1 if numbered else 1


def log_forest(tracker: Tracker, run_id: str, name: str, training: TrainingRecord, folder: Path) -> None:
    """Keep a picture of all models' skill with a training."""
    path = folder / FOREST_FILE
    draw_forest(training.verification, f"{name} · {training.tags['label']} · {training.tags['market']} market", path)
    if path.exists():
        tracker.client.log_artifact(run_id, str(path))


def show_training(
    tracker: Tracker,
    run_id: str,
    training: TrainingRecord,
    made: Mapping[str, Registered],
    target: Target,
    decisions: Sequence[str],
) -> None:
    """Keep a page that compares the models of a training with its run, and prepare MLflow's run table for comparing them.

    A failure costs nothing that is needed, so it is only told as a warning.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        versions = {name: version.version for name, version in made.items()}
        roles = {name: tracker.client.get_run(version.run_id).data.tags["standing"] for name, version in made.items()}
        name, tags = tracker.client.get_run(run_id).info.run_name, training.tags
        about = {
            "label": f"{target.name}: {tags['label']}" if target.is_default else tags["label"],
            "market": tags["market"],
            "snapshot": tags["snapshot"],
        }
        board = Leaderboard(name, **about, rows=training.verification, versions=versions, roles=roles, decisions=decisions)
        tracker.client.log_text(run_id, leaderboard_html(board), LEADERBOARD_FILE)
        describe_experiment(tracker, target, name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        LOG.warning("The page that compares the models of %s couldn't be kept: %s", training.name, error)


def log_shadows(tracker: Tracker, parent: str, models: Mapping[str, ModelRecord], made: Mapping[str, Registered]) -> None:
    """Keep the final fits of all models in one small file, so that each can forecast beside the champion every day."""
    told = [
        {"name": name, "version": made[name].version, "configuration": record.card.configuration, "columns": record.card.columns}
        for name, record in models.items()
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / SHADOW_MODELS_FILE
        save_models({name: record.forecaster.model_.without_draws() for name, record in models.items()}, file)
        sha = digest(file)
        tracker.client.log_artifact(parent, str(file))
    tracker.client.log_dict(parent, told, SHADOWS_FILE)
    tracker.client.set_tag(parent, f"{HIDDEN}shadows", sha)


@contextmanager
def running(tracker: Tracker, name: str, tags: Mapping[str, str], description: str, parent: str | None = None) -> Iterator[str]:
    """The id of a new run, FINISHED where all that is done meanwhile succeeds, else FAILED."""
    run_id = start_run(tracker, name, tags, description, parent)
    outcome = "FAILED"
    try:
        yield run_id
        outcome = "FINISHED"
    finally:
        tracker.client.set_terminated(run_id, outcome)


def start_run(tracker: Tracker, name: str, tags: Mapping[str, str], description: str, parent: str | None = None) -> str:
    """A RUNNING run that says whose it is; its id."""
    process = {f"{HIDDEN}pid": str(os.getpid()), f"{HIDDEN}host": platform.node(), f"{HIDDEN}room": tracker.room}
    told = {"mlflow.note.content": description, "mlflow.source.name": "altrally train"}
    family = {} if parent is None else {"mlflow.parentRunId": parent}
    all_tags = {**tags, **process, **told, **family}
    return str(tracker.client.create_run(tracker.experiment_id, tags=all_tags, run_name=name).info.run_id)


def draw_all(models: Mapping[str, ModelRecord], folder: Path) -> Iterator[Path]:
    """A folder with the pictures of each model but the baselines, in their order.

    Two processes draw many, from the call on; a few are drawn here, each when it is asked for.
    """
    drawn = [replace(record, forecaster=Forecaster()) for name, record in models.items() if not MODELS[name].baseline]
    parts = [(record, folder / str(number)) for number, record in enumerate(drawn)]
    if len(parts) <= WORTH_TWO_PROCESSES:
        return starmap(write_figures, parts)
    with shielded_from_interrupts():
        return iter(Parallel(n_jobs=2, backend="loky", return_as="generator")(starmap(delayed(write_figures), parts)))


def log_model_run(
    tracker: Tracker, parent: str, names: Mapping[str, str], training: TrainingRecord, record: ModelRecord, pictures: Path | None
) -> SavedModel:
    """The child run of one model, named as `names` says."""
    model = record.card.model
    tags = {**training.tags, **record.tags, "training": names[TRAINING], "standing": role_of(model)}
    with running(tracker, names[model], tags, record.description, parent) as run_id:
        log_values(tracker, run_id, record.params, {})
        log_input(tracker, run_id, training)
        log_files(tracker, run_id, {**training.tables, FORECASTS_FILE: record.forecasts}, record)
        if pictures is not None:
            tracker.client.log_artifacts(run_id, str(pictures))
        saved = save_model(tracker, run_id, record)
        # Metrics logged before the model would cost MLflow a request each.
        log_values(tracker, run_id, {}, record.metrics, saved.model_id)
        seal(tracker, run_id)
    return saved


def log_values(
    tracker: Tracker, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float | None], model_id: str | None = None
) -> None:
    """Everything in one request, metrics also with the model they are of; one that couldn't be had is left out."""
    from mlflow.entities import Metric, Param

    now = int(pd.Timestamp.now("UTC").timestamp() * 1000)
    known = {name: value for name, value in metrics.items() if value is not None and np.isfinite(value)}
    tracker.client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, 0, model_id=model_id) for name, value in known.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )


def log_input(tracker: Tracker, run_id: str, training: TrainingRecord) -> None:
    """The data set that was read, named by its snapshot."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    name = f"{training.tags['market']} market"
    data = mlflow.data.from_pandas(training.inputs, name=name, digest=training.tags["snapshot"])
    entity = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
    with database_lock(tracker.place):  # two at once would both add the same dataset
        tracker.client.log_inputs(run_id, [entity])


def log_files(tracker: Tracker, run_id: str, tables: Mapping[str, pd.DataFrame], record: ModelRecord | None = None) -> None:
    """Tables by the name of their file (Parquet or CSV); of a model also its card and texts."""
    with TemporaryDirectory() as folder:
        for name, table in tables.items():
            write_table(table, Path(folder) / name)
        if record is not None:
            for name, text in record.texts.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            tracker.client.log_dict(run_id, record.card.to_dict(), CARD_FILE)
        tracker.client.log_artifacts(run_id, folder)


def log_comparison(
    tracker: Tracker, run_id: str, *, against: str, metrics: Mapping[str, float | None], draw: Callable[[Path], None]
) -> str:
    """What a run gained over another: metrics, a tag that names the other, a picture drawn by `draw`; where the picture lies.

    The picture takes longest and comes first: killed between its figures and their seal, a run doesn't say what was logged.
    """
    with TemporaryDirectory() as folder:
        picture = Path(folder) / f"against {re.sub(r'[^0-9A-Za-z_.-]+', ' ', against)[:80]}.png"
        draw(picture)
        tracker.client.log_artifacts(run_id, folder, "comparisons")
    log_values(tracker, run_id, {}, metrics)
    tracker.client.set_tag(run_id, "compared_with", against)
    seal(tracker, run_id)
    address, artifacts = f"comparisons/{picture.name}", tracker.place.artifacts
    return f"{address} of run {run_id}" if artifacts is None else str(artifacts / run_id / "artifacts" / address)


def seal(tracker: Tracker, run_id: str) -> None:
    """Tag a run with the sums of its figures and its files, so that damage is found; a server looks after its own."""
    from mlflow.entities import RunTag

    database, artifacts = tracker.place.database, tracker.place.artifacts
    if database is None or artifacts is None:
        return
    run = tracker.client.get_run(run_id)
    places = [run_id, *(f"models/{model.model_id}" for model in run.outputs.model_outputs)]
    files = [file for place in places for file in sorted((artifacts / place).rglob("*")) if file.is_file()]
    sums = json.dumps({str(file.relative_to(artifacts)): digest(file) for file in files})
    prefix = "" if "figures" in run.data.tags else HIDDEN  # a run of an earlier version keeps its tags where they are
    sealed = {"figures": figures_of(database)[run_id], "files": sums, "files_sum": sha256(sums.encode()).hexdigest()}
    tags = {f"{prefix}{name}": value for name, value in sealed.items()}
    tracker.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])  # all of them or none


def log_sweep(tracker: Tracker, target: Target, found: Mapping[str, Any], tags: Mapping[str, str], trials: pd.DataFrame) -> str:
    """One run for a whole sweep: the winner's parameters, what it scored, every trial in a table; its id."""
    about = f"{found['tried']} configurations searched before {found['first_test']}, the winner judged after it."
    numbers = {name: found[name] for name in ("search_skill", "search_p", "best_of_n_p")} | {"brier": found["test"]["brier"]}
    own = for_target(tracker, target)
    number = next_number(own)
    with running(own, f"sweep {found['target']} {found['snapshot'][:6]} #{number}", {**tags, NUMBER: str(number)}, about) as run_id:
        log_values(tracker, run_id, {**found["winner"], "tried": found["tried"], "trials": found["trials"]}, numbers)
        log_files(tracker, run_id, {"trials.parquet": trials})
        tracker.client.log_dict(run_id, dict(found), "sweep.json")
    return run_id


def log_page(tracker: Tracker, run_id: str, as_of: str, html: str) -> None:
    """Keep the page of a day with the training the champion came from; with its own run where that training was deleted."""
    training = tracker.client.get_run(run_id).data.tags.get("mlflow.parentRunId", run_id)
    kept = training if unless_deleted(tracker.client.get_run, training) else run_id
    tracker.client.log_text(kept, html, f"reports/{as_of}.html")


def write_table(table: pd.DataFrame, file: Path) -> None:
    """One table, in the format its name ends with."""
    if file.suffix == ".parquet":
        table.to_parquet(file, index=False)
    else:
        table.to_csv(file, index=False)


def write_figures(record: ModelRecord, folder: Path) -> Path:
    """The folder, with the forecast over time and its reliability; where asked for, all there is."""
    folder.mkdir()
    from training.figures import draw_history
    from training.panel_figures import draw_nulls, draw_panel, draw_reliability

    model, about = record.card.model, f"{record.card.model} · {record.card.market} market"
    draw_history(record.forecasts, f"{about}: forecasts out of sample", folder / "forecasts.png")
    draw_reliability(record.judged, model, about, folder, seed=SEED)
    if record.every_picture:
        draw_panel(record.judged, model, about, folder, seed=SEED)
        draw_nulls(record.rotations, record.independent, about, folder)
    return folder
