"""Logs trainings, sweeps and comparisons to MLflow, as runs with values, files, figures and models."""

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
from training.model_versions import ModelVersion, SavedModel, champion, register_all, save_model
from training.records import ModelRecord, TrainingRecord
from training.tracking import LOG, Tracker, database_lock, describe_experiment, for_target

WORTH_TWO_PROCESSES = 3
TRAINING, NUMBER = "train", f"{HIDDEN}number"
SEED = 7


def log_training(
    tracker: Tracker, training: TrainingRecord, models: Mapping[str, ModelRecord], progress: Progress
) -> tuple[str, dict[str, ModelVersion]]:
    """Log a parent run, and a child run and a registered version per model; return the parent's id and the versions by model.

    After a failure the parent is FAILED; versions registered before it stay without an alias.
    """
    target = next(iter(models.values())).card.target
    lead, own, saved = leading_model(tracker, models), for_target(tracker, target), {}
    number = next_number(own)
    suffix = f"{training.tags['trained_as_of']} {training.tags['snapshot'][:6]} #{number}"
    names = {name: f"{name} {suffix}" for name in (TRAINING, *models)}
    skill = {name: value for name, value in models[lead].tags.items() if name == "grade" or " skill vs " in name}
    shown = {"standing": f"shows {lead}", **skill, NUMBER: str(number)}
    with running(own, names[TRAINING], {**training.tags, **shown}, training.description) as parent:
        beginning = metric_name(judged_horizon(models[lead].card.horizons), "")
        headline = {name: value for name, value in models[lead].metrics.items() if name.startswith(beginning)}
        log_values(tracker, parent, training.params, headline)
        log_input(tracker, parent, training)
        log_files(tracker, parent, training.tables)
        tracker.client.log_dict(parent, [dict(row) for row in training.verification], VERIFICATION_FILE)
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # after a failure a process may still write into it
            progress("drawing", 0, 0)
            figures = draw_all(models, Path(folder))
            forest = Path(folder) / FOREST_FILE
            about = f"{names[TRAINING]} · {training.tags['label']} · {training.tags['market']} market"
            draw_forest(training.verification, about, forest)
            if forest.exists():
                tracker.client.log_artifact(parent, str(forest))
            for done, (name, record) in enumerate(models.items()):
                progress(f"tracking: {name}", done, len(models))
                figure_folder = None if MODELS[name].baseline else next(figures)
                saved[name] = log_model_run(own, parent, names, training, record, figure_folder)
        versions = register_all(tracker, models, saved, lead)
        log_shadows(tracker, parent, models, versions)
        seal(tracker, parent)
    return parent, versions


def leading_model(tracker: Tracker, models: Mapping[str, ModelRecord]) -> str:
    """Name of the model whose skill the parent run shows: the champion's, else the default, else that of the lowest Brier score."""
    target = next(iter(models.values())).card.target
    current = champion(tracker, target)
    for name in (current.tags.get("model", "") if current else "", default_model(target.outcome)):
        if name in models:
            return name
    key = metric_name(judged_horizon(target.horizons), "brier")
    return min(models, key=lambda name: np.inf if (brier := models[name].metrics.get(key)) is None else brier)


def next_number(tracker: Tracker) -> int:
    """The number of the next training or sweep of an experiment; numbers of deleted runs aren't reused."""
    from mlflow.entities import ViewType

    numbered = tracker.client.search_runs([tracker.experiment_id], f"tags.`{NUMBER}` != ''", ViewType.ALL, max_results=1)
    return int(numbered[0].data.tags[NUMBER]) + 1 if numbered else 1


def show_training(
    tracker: Tracker,
    run_id: str,
    training: TrainingRecord,
    versions: Mapping[str, ModelVersion],
    target: Target,
    decisions: Sequence[str],
) -> None:
    """Log a page that compares the models of a training, and update the prepared run tables of MLflow.

    A failure is logged only as a warning, because nothing depends on the page.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        numbers = {name: version.version for name, version in versions.items()}
        roles = {name: tracker.client.get_run(version.run_id).data.tags["standing"] for name, version in versions.items()}
        name, tags = tracker.client.get_run(run_id).info.run_name, training.tags
        about = {
            "label": f"{target.name}: {tags['label']}" if target.is_default else tags["label"],
            "market": tags["market"],
            "snapshot": tags["snapshot"],
        }
        board = Leaderboard(name, **about, rows=training.verification, versions=numbers, roles=roles, decisions=decisions)
        tracker.client.log_text(run_id, leaderboard_html(board), LEADERBOARD_FILE)
        describe_experiment(tracker, target, name)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        LOG.warning("The page that compares the models of %s couldn't be kept: %s", training.name, error)


def log_shadows(tracker: Tracker, parent: str, models: Mapping[str, ModelRecord], versions: Mapping[str, ModelVersion]) -> None:
    """Log the final fits of all models in one small file, so that each can forecast beside the champion every day."""
    entries = [
        {
            "name": name,
            "version": versions[name].version,
            "configuration": record.card.configuration,
            "columns": record.card.columns,
        }
        for name, record in models.items()
    ]
    with TemporaryDirectory() as folder:
        file = Path(folder) / SHADOW_MODELS_FILE
        save_models({name: record.forecaster.model_.without_draws() for name, record in models.items()}, file)
        sha = digest(file)
        tracker.client.log_artifact(parent, str(file))
    tracker.client.log_dict(parent, entries, SHADOWS_FILE)
    tracker.client.set_tag(parent, f"{HIDDEN}shadows", sha)


@contextmanager
def running(tracker: Tracker, name: str, tags: Mapping[str, str], description: str, parent: str | None = None) -> Iterator[str]:
    """Start a run and yield its id; at the end it is FINISHED, or FAILED after an exception."""
    run_id = start_run(tracker, name, tags, description, parent)
    outcome = "FAILED"
    try:
        yield run_id
        outcome = "FINISHED"
    finally:
        tracker.client.set_terminated(run_id, outcome)


def start_run(tracker: Tracker, name: str, tags: Mapping[str, str], description: str, parent: str | None = None) -> str:
    """Start a run with tags that identify its process; return its id."""
    process = {f"{HIDDEN}pid": str(os.getpid()), f"{HIDDEN}host": platform.node(), f"{HIDDEN}room": tracker.room}
    about = {"mlflow.note.content": description, "mlflow.source.name": "altrally train"}
    family = {} if parent is None else {"mlflow.parentRunId": parent}
    all_tags = {**tags, **process, **about, **family}
    return str(tracker.client.create_run(tracker.experiment_id, tags=all_tags, run_name=name).info.run_id)


def draw_all(models: Mapping[str, ModelRecord], folder: Path) -> Iterator[Path]:
    """Draw the figures of each model except baselines; yield a folder per model, in order.

    Many are drawn by two processes that start at once; a few are drawn here, each when the caller takes it.
    """
    drawn = [replace(record, forecaster=Forecaster()) for name, record in models.items() if not MODELS[name].baseline]
    parts = [(record, folder / str(number)) for number, record in enumerate(drawn)]
    if len(parts) <= WORTH_TWO_PROCESSES:
        return starmap(write_figures, parts)
    with shielded_from_interrupts():
        return iter(Parallel(n_jobs=2, backend="loky", return_as="generator")(starmap(delayed(write_figures), parts)))


def log_model_run(
    tracker: Tracker, parent: str, names: Mapping[str, str], training: TrainingRecord, record: ModelRecord, figures: Path | None
) -> SavedModel:
    """Log the child run of one model, with the figures in a folder; return the saved model. names: run names by model."""
    model = record.card.model
    tags = {**training.tags, **record.tags, "training": names[TRAINING], "standing": role_of(model)}
    with running(tracker, names[model], tags, record.description, parent) as run_id:
        log_values(tracker, run_id, record.params, {})
        log_input(tracker, run_id, training)
        log_files(tracker, run_id, {**training.tables, FORECASTS_FILE: record.forecasts}, record)
        if figures is not None:
            tracker.client.log_artifacts(run_id, str(figures))
        saved = save_model(tracker, run_id, record)
        # Metrics logged before the model would cost MLflow a request each.
        log_values(tracker, run_id, {}, record.metrics, saved.model_id)
        seal(tracker, run_id)
    return saved


def log_values(
    tracker: Tracker, run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float | None], model_id: str | None = None
) -> None:
    """Log parameters and metrics in one request, metrics also with a model; missing values are left out."""
    from mlflow.entities import Metric, Param

    now = int(pd.Timestamp.now("UTC").timestamp() * 1000)
    known = {name: value for name, value in metrics.items() if value is not None and np.isfinite(value)}
    tracker.client.log_batch(
        run_id,
        metrics=[Metric(name, float(value), now, 0, model_id=model_id) for name, value in known.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )


def log_input(tracker: Tracker, run_id: str, training: TrainingRecord) -> None:
    """Log the data set of a training, named by its snapshot."""
    import mlflow.data
    from mlflow.entities import DatasetInput, InputTag

    name = f"{training.tags['market']} market"
    data = mlflow.data.from_pandas(training.inputs, name=name, digest=training.tags["snapshot"])
    entity = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
    with database_lock(tracker.place):  # two at once would both add the same dataset
        tracker.client.log_inputs(run_id, [entity])


def log_files(tracker: Tracker, run_id: str, tables: Mapping[str, pd.DataFrame], record: ModelRecord | None = None) -> None:
    """Log tables by file name (Parquet or CSV), and the card and texts of a model."""
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
    """Log the gain of a run over another: metrics, a tag naming the other, and a figure by `draw`; return the figure's address.

    The figure takes longest and comes first: a kill between metrics and seal would leave the run damaged.
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
    """Tag a run with checksums of its values and files, so that damage is detected; a server's runs get none."""
    from mlflow.entities import RunTag

    database, artifacts = tracker.place.database, tracker.place.artifacts
    if database is None or artifacts is None:
        return
    run = tracker.client.get_run(run_id)
    folders = [run_id, *(f"models/{model.model_id}" for model in run.outputs.model_outputs)]
    files = [file for folder in folders for file in sorted((artifacts / folder).rglob("*")) if file.is_file()]
    sums = json.dumps({str(file.relative_to(artifacts)): digest(file) for file in files})
    prefix = "" if "figures" in run.data.tags else HIDDEN  # runs of earlier versions have tags without the prefix
    sealed = {"figures": figures_of(database)[run_id], "files": sums, "files_sum": sha256(sums.encode()).hexdigest()}
    tags = {f"{prefix}{name}": value for name, value in sealed.items()}
    tracker.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])  # all of them or none


def log_sweep(tracker: Tracker, target: Target, result: Mapping[str, Any], tags: Mapping[str, str], trials: pd.DataFrame) -> str:
    """Log one run for a whole sweep: the winner's parameters and scores, and a table of all trials; return its id."""
    about = f"{result['tried']} configurations searched before {result['first_test']}, the winner judged after it."
    numbers = {name: result[name] for name in ("search_skill", "search_p", "best_of_n_p")} | {"brier": result["test"]["brier"]}
    own = for_target(tracker, target)
    number = next_number(own)
    with running(
        own, f"sweep {result['target']} {result['snapshot'][:6]} #{number}", {**tags, NUMBER: str(number)}, about
    ) as run_id:
        log_values(tracker, run_id, {**result["winner"], "tried": result["tried"], "trials": result["trials"]}, numbers)
        log_files(tracker, run_id, {"trials.parquet": trials})
        tracker.client.log_dict(run_id, dict(result), "sweep.json")
    return run_id


def log_page(tracker: Tracker, run_id: str, as_of: str, html: str) -> None:
    """Log the page of a day with the champion's training, or with the champion's own run if the training was deleted."""
    training = tracker.client.get_run(run_id).data.tags.get("mlflow.parentRunId", run_id)
    owner = training if unless_deleted(tracker.client.get_run, training) else run_id
    tracker.client.log_text(owner, html, f"reports/{as_of}.html")


def write_table(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet or CSV, by the suffix of the file."""
    if file.suffix == ".parquet":
        table.to_parquet(file, index=False)
    else:
        table.to_csv(file, index=False)


def write_figures(record: ModelRecord, folder: Path) -> Path:
    """Write the figures of a model into a new folder and return it: forecasts and reliability, or all with `every_picture`."""
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
