"""The connection to MLflow: its database and files, locks, errors, experiments and trial counts. Runs: `training.run_log`."""

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from core.errors import Damaged, InUse, NoChampion, StoreUnusable, redacted
from core.files import (
    damage,
    is_any_in_use,
    is_temporary_error,
    keep_copy,
    temporary_root,
    unfinished_path,
)
from core.home import EXPERIMENT, HIDDEN, folder_address, sqlite_address, sqlite_file, stored_elsewhere
from core.target import Target
from models.champion import (
    ENVIRONMENT,
    damaged_figures,
    raise_other_version,
    require_database,
)
from sources.reach import require_reachable
from training import trials
from training.dead_runs import close_dead_runs
from training.mlflow_view import experiment_tags
from training.settings import SEARCHED

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120
LOG = logging.getLogger(__name__)
MIGRATED = "SELECT count(*) = 1 FROM alembic_version"
COUNTED = ("trial.", "sweep.")
"""Prefixes of the tags that count trials."""
URI_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
OVERRULED = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_RUN_ID": None,
    "MLFLOW_ACTIVE_MODEL_ID": None,
    "MLFLOW_EXPERIMENT_ID": None,
    "MLFLOW_EXPERIMENT_NAME": None,
}
"""MLflow settings of the caller that would change our runs or need another package; they are replaced while we write."""


@dataclass(frozen=True)
class TrackingPlace:
    """The address where runs are tracked: an SQLite database with a folder of `artifacts`, or a server (then `artifacts` is
    None)."""

    uri: str
    artifacts: Path | None
    home: Path

    @property
    def database(self) -> Path | None:
        """The SQLite file; None for a server."""
        return sqlite_file(self.uri)


@dataclass(frozen=True)
class Tracker:
    """An open connection: the client, the experiment of new runs, and the temporary folder (`room`) of this process."""

    client: "MlflowClient"
    experiment_id: str
    place: TrackingPlace
    room: str = ""


@contextmanager
def tracking(place: TrackingPlace) -> Iterator[Tracker]:
    """Open the tracking place; create what is missing and close the runs of dead processes. Failures become StoreUnusable."""
    require_reachable(place.uri)
    quieten_mlflow()
    with clear_errors(place), pointed_at(place.uri), temporary_root(place.home) as name:
        with database_lock(place):
            create_database(place)
            require_whole(place)
            tracker = replace(connect(place), room=name)
        close_dead_runs(tracker.client, place.home)
        yield tracker
        with database_lock(place):
            keep_whole_copy(place)


def keep_whole_copy(place: TrackingPlace) -> None:
    """Copy the database, unless a run in it is damaged: then the previous copy stays."""
    if place.database is None:
        return
    changed = damaged_figures(place.database)
    if changed:
        LOG.warning("Run %s doesn't say what was logged; no second copy of the runs is kept. Run `altrally repair`.", changed[0])
        return
    keep_copy(place.database)


@contextmanager
def clear_errors(place: TrackingPlace, consolation: str = "") -> Iterator[None]:
    """Turn errors of MLflow, its database and the disk into one sentence, followed by the `consolation`."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Timeout:
        raise InUse(f"Another process has been writing {place.database} for {LOCK_SECONDS} seconds.") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        cause = getattr(error.__cause__ or error, "orig", error)
        first_line = str(cause).strip().splitlines()[0].rstrip(".")
        raise_other_version(place.uri, first_line, "written")
        kind = Damaged if isinstance(cause, sqlite3.Error) and not is_temporary_error(cause) else StoreUnusable
        raise kind(redacted(f"The runs at {place.uri} can't be written: {first_line}. {consolation}".strip())) from None


@contextmanager
def pointed_at(uri: str) -> Iterator[None]:
    """Point MLflow's global settings at `uri` during the `with`, then restore the caller's experiment, run and settings.

    Without that, the next home would write into this one.
    """
    import mlflow

    before = {name: os.environ.get(name) for name in (*URI_VARIABLES, *OVERRULED)}
    experiment, mlflow.tracking.fluent._active_experiment_id = mlflow.tracking.fluent._active_experiment_id, None
    set_environment(OVERRULED)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before["MLFLOW_TRACKING_URI"])
        mlflow.set_registry_uri(before["MLFLOW_REGISTRY_URI"] or "")
        mlflow.tracking.fluent._active_experiment_id = experiment
        set_environment(before)


def set_environment(variables: Mapping[str, str | None]) -> None:
    """Set environment variables; remove those whose value is None."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def quieten_mlflow() -> None:
    """Import MLflow without telemetry, job runner or log messages."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401  (its import sets its loggers up)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def database_lock(place: TrackingPlace) -> Iterator[None]:
    """Lock the database: processes that open a new one at the same time would break it. A server needs no lock."""
    if place.database is None:
        yield
        return
    place.database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.database.with_suffix(".lock"), timeout=LOCK_SECONDS):
        yield


def create_database(place: TrackingPlace) -> None:
    """Create the database under a temporary name and rename it, so that a kill leaves either none or a complete one."""
    file = place.database
    if file is None:
        return
    if file.exists() and file.stat().st_size:
        require_database(place.uri)
        return
    from mlflow import MlflowClient

    beside = unfinished_path(file)
    MlflowClient(tracking_uri=sqlite_address(beside)).search_experiments(max_results=1)
    beside.replace(file)


def require_whole(place: TrackingPlace) -> None:
    """Raise Damaged for a database that is damaged or half migrated."""
    if place.database is None:
        return
    problem = damage(place.database, MIGRATED)
    if problem:
        raise Damaged(f"{place.database} is damaged or half migrated ({problem}). Run `altrally repair`.")


def connect(place: TrackingPlace) -> Tracker:
    """A tracker with its client and the home's experiment, created or restored if needed."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    tracker = Tracker(client, open_experiment(client, place), place)
    remember_trials(tracker)
    return tracker


def open_experiment(client: "MlflowClient", place: TrackingPlace, name: str = EXPERIMENT) -> str:
    """Id of the experiment with this name, created, restored or moved to this home's files if needed."""
    location = None if place.artifacts is None else folder_address(place.artifacts)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location=location))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if location is not None and place.database is not None and experiment.artifact_location != location:
        relocate(place.database, experiment.artifact_location, location)
    return str(experiment.experiment_id)


def for_target(tracker: Tracker, target: Target) -> Tracker:
    """A tracker that logs new runs to the experiment of a target. The default target uses the experiment of the home."""
    name = EXPERIMENT if target.is_default else target.registered_model
    with database_lock(tracker.place):
        experiment_id = open_experiment(tracker.client, tracker.place, name)
    return replace(tracker, experiment_id=experiment_id)


def describe_experiment(tracker: Tracker, target: Target, training: str | None = None) -> str:
    """Update the description and views of a target's experiment for the last `training` (None: look it up); return its id."""
    own = for_target(tracker, target)
    if training is None:
        newest = tracker.client.search_runs([own.experiment_id], "tags.training != ''", max_results=1)
        training = newest[0].data.tags["training"] if newest else ""
    current_tags = tracker.client.get_experiment(own.experiment_id).tags
    for tag, value in experiment_tags(target, training).items():
        if current_tags.get(tag) != value:
            tracker.client.set_experiment_tag(own.experiment_id, tag, value)
    return own.experiment_id


def prepared_experiment(place: TrackingPlace, target: Target) -> str:
    """Id of a target's experiment, after its views are updated. Raises NoChampion where it holds no run."""
    with tracking(place) as tracker:
        name = EXPERIMENT if target.is_default else target.registered_model
        experiment = tracker.client.get_experiment_by_name(name)
        if experiment is None or not tracker.client.search_runs([experiment.experiment_id], max_results=1):
            raise NoChampion(f"No run{target.name_suffix} is tracked in this home yet. Run `altrally train` first.")
        return describe_experiment(tracker, target)


def remember_trials(tracker: Tracker) -> None:
    """Merge the trial counts of the experiment and of the home, so that both hold all of them.

    So no trial is lost when the experiment is deleted, its database moved away, or an older copy of it restored.
    """
    known = counted_tags(tracker)
    merged = merged_counts(known, trials.read(tracker.place.home))
    trials.add(tracker.place.home, merged)
    count(tracker, {tag: value for tag, value in merged.items() if known.get(tag) != value})


def counted_tags(tracker: Tracker) -> dict[str, str]:
    """Tags of the experiment that count trials. Earlier versions used tags that MLflow's pages show; both are read."""
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    shown = {tag: value for tag, value in tags.items() if tag.startswith(COUNTED)}
    hidden = {tag.removeprefix(HIDDEN): value for tag, value in tags.items() if tag.startswith(HIDDEN)}
    return merged_counts(shown, {tag: value for tag, value in hidden.items() if tag.startswith(COUNTED)})


def merged_counts(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Trial counts of two records merged; for a common tag the later stage counts: judged before searched, the later day."""
    return {
        tag: max((record[tag] for record in (first, second) if tag in record), key=lambda value: (SEARCHED not in value, value))
        for tag in {**first, **second}
    }


def count(tracker: Tracker, tags: Mapping[str, str]) -> None:
    """Store trial counts: in the file of the home first, then as tags of the experiment."""
    trials.add(tracker.place.home, tags)
    for tag, value in tags.items():
        tracker.client.set_experiment_tag(tracker.experiment_id, f"{HIDDEN}{tag}", value)


def move_in(place: TrackingPlace) -> None:
    """Update the file addresses of the runs in a home that was moved or copied.

    Raises InUse where another process works in the home, StoreUnusable where its runs can't be written.
    """
    if place.database is None or place.artifacts is None:
        return
    with clear_errors(place), database_lock(place):
        old = stored_elsewhere(place.database, place.artifacts)
        if old is not None and is_any_in_use(place.home):
            raise InUse(f"Another process is at work in {place.home}.")
        if old is not None:
            relocate(place.database, old, folder_address(place.artifacts))


def relocate(database: Path, old: str, new: str) -> None:
    """Replace `old` by `new` in the absolute addresses that MLflow stored. Raises StoreUnusable where that isn't possible."""
    columns = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in (*columns, ("model_versions", "storage_location")):
                below = f"{column} = ? OR substr({column}, 1, ?) = ?"
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {below}"
                connection.execute(moved, (new, len(old) + 1, old, len(old) + 1, f"{old}/"))
    except sqlite3.Error as error:
        raise StoreUnusable(f"{database} can't be written ({error}).") from error


def code_version() -> str:
    """The installed version of altrally."""
    try:
        return version("altrally")
    except PackageNotFoundError:
        return "not installed"
