"""Where MLflow writes: its place, experiments, aliases and versions. What is logged of a run stands in `training.run_log`."""

import logging
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock, Timeout

from core.errors import Damaged, InUse, NoChampion, StoreUnusable, redacted
from core.files import (
    damage,
    is_abandoned,
    is_any_in_use,
    is_temporary_error,
    keep_copy,
    remove_abandoned_folders,
    temporary_root,
    unfinished_path,
)
from core.home import EXPERIMENT, HIDDEN, folder_address, hidden_tag, sqlite_address, sqlite_file, stored_elsewhere
from core.target import ALTCOINS, Target
from models.champion import (
    CHAMPION,
    ENVIRONMENT,
    FORECASTS_FILE,
    champion_version,
    damaged_figures,
    experiments_of,
    raise_other_version,
    require_database,
    table_of,
    unless_deleted,
)
from models.metric_names import current_name
from sources.reach import require_reachable
from training import trials
from training.mlflow_view import experiment_tags
from training.settings import SEARCHED

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEAD_AFTER = pd.Timedelta(days=1)
LOCK_SECONDS = 120
LOG = logging.getLogger(__name__)
MIGRATED = "SELECT count(*) = 1 FROM alembic_version"
COUNTED = ("trial.", "sweep.")
"""How the tags begin by which tries are counted."""
ABOUT = (
    "The probability of this event: {name}, within {days} days. `champion` scores; `challenger` is the best other model of the "
    "last training. A version tagged `unproven` has shown no skill."
)
URI_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
OVERRULED = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_RUN_ID": None,
    "MLFLOW_ACTIVE_MODEL_ID": None,
    "MLFLOW_EXPERIMENT_ID": None,
    "MLFLOW_EXPERIMENT_NAME": None,
}
"""What would change what our runs say, or need a package we don't: left aside for as long as they are written."""


@dataclass(frozen=True)
class TrackingPlace:
    """Where runs are tracked: an SQLite database and a folder of `artifacts`, or a server (`artifacts` None: it keeps its own)."""

    uri: str
    artifacts: Path | None
    home: Path

    @property
    def database(self) -> Path | None:
        """The database file, None on a server."""
        return sqlite_file(self.uri)


@dataclass(frozen=True)
class Tracker:
    """An open place: its client, the experiment all runs belong to, and the room this process works in."""

    client: "MlflowClient"
    experiment_id: str
    place: TrackingPlace
    room: str = ""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, one a target, and the run that made it."""

    version: str
    run_id: str
    tags: Mapping[str, str]
    name: str = ALTCOINS.registered_model


@contextmanager
def tracking(place: TrackingPlace) -> Iterator[Tracker]:
    """Open a place, creating what isn't there and clearing up after trainings that died. Its failures become StoreUnusable."""
    require_reachable(place.uri)
    quieten_mlflow()
    with clear_errors(place), pointed_at(place.uri), temporary_root(place.home) as name:
        with database_lock(place):
            create_database(place)
            require_whole(place)
            tracker = replace(connect(place), room=name)
        sweep(tracker)
        yield tracker
        with database_lock(place):
            keep_whole_copy(place)


def keep_whole_copy(place: TrackingPlace) -> None:
    """Keep a second copy of the database, unless a run in it doesn't say what was logged: then the last one stays."""
    if place.database is None:
        return
    changed = damaged_figures(place.database)
    if changed:
        LOG.warning("Run %s doesn't say what was logged; no second copy of the runs is kept. Run `altrally repair`.", changed[0])
        return
    keep_copy(place.database)


@contextmanager
def clear_errors(place: TrackingPlace, consolation: str = "") -> Iterator[None]:
    """Turn what MLflow, its database and the disk say into one line, ending in what isn't lost."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Timeout:
        raise InUse(f"Another process has been writing {place.database} for {LOCK_SECONDS} seconds.") from None
    except (MlflowException, SQLAlchemyError, OSError) as error:
        said = getattr(error.__cause__ or error, "orig", error)
        first_line = str(said).strip().splitlines()[0].rstrip(".")
        raise_other_version(place.uri, first_line, "written")
        kind = Damaged if isinstance(said, sqlite3.Error) and not is_temporary_error(said) else StoreUnusable
        raise kind(redacted(f"The runs at {place.uri} can't be written: {first_line}. {consolation}".strip())) from None


@contextmanager
def pointed_at(uri: str) -> Iterator[None]:
    """MLflow's own globals name `uri` only for as long as needed: left behind, they would send the next home to this one.

    What the caller has told MLflow meanwhile counts again afterwards: its experiment, its run, its settings.
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
    """Set variables of the environment, and take away those without a value."""
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def quieten_mlflow() -> None:
    """No telemetry, no job runner, no chatter: what matters is printed by us."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401  (its import sets its loggers up)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def database_lock(place: TrackingPlace) -> Iterator[None]:
    """One process at a time: several that open a new database at once break it for good. A server looks after itself."""
    if place.database is None:
        yield
        return
    place.database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.database.with_suffix(".lock"), timeout=LOCK_SECONDS):
        yield


def create_database(place: TrackingPlace) -> None:
    """Build the database beside its place and move it there whole, so that a kill leaves none or a sound one."""
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
    """Refuse a database that is damaged, or was left amid a migration."""
    if place.database is None:
        return
    found = damage(place.database, MIGRATED)
    if found:
        raise Damaged(f"{place.database} is damaged or half migrated ({found}). Run `altrally repair`.")


def connect(place: TrackingPlace) -> Tracker:
    """A client and our experiment, created or brought back where it must be."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=place.uri, registry_uri=place.uri)
    tracker = Tracker(client, open_experiment(client, place), place)
    remember_trials(tracker)
    return tracker


def open_experiment(client: "MlflowClient", place: TrackingPlace, name: str = EXPERIMENT) -> str:
    """The id of an experiment of ours, whose files are this home's; it is created or brought back where it must be."""
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
    """The tracker that keeps new runs in the experiment of a target: each target has one, and the default one has the home's."""
    name = EXPERIMENT if target.is_default else target.registered_model
    with database_lock(tracker.place):
        experiment_id = open_experiment(tracker.client, tracker.place, name)
    return replace(tracker, experiment_id=experiment_id)


def describe_experiment(tracker: Tracker, target: Target, training: str | None = None) -> str:
    """Describe a target's experiment and prepare its views, for the last `training` (None: as MLflow knows it); its id."""
    own = for_target(tracker, target)
    if training is None:
        newest = tracker.client.search_runs([own.experiment_id], "tags.training != ''", max_results=1)
        training = newest[0].data.tags["training"] if newest else ""
    told = tracker.client.get_experiment(own.experiment_id).tags
    for tag, value in experiment_tags(target, training).items():
        if told.get(tag) != value:
            tracker.client.set_experiment_tag(own.experiment_id, tag, value)
    return own.experiment_id


def prepared_experiment(place: TrackingPlace, target: Target) -> str:
    """The id of a target's experiment, whose views are prepared. Raises NoChampion where it holds no run."""
    with tracking(place) as tracker:
        name = EXPERIMENT if target.is_default else target.registered_model
        found = tracker.client.get_experiment_by_name(name)
        if found is None or not tracker.client.search_runs([found.experiment_id], max_results=1):
            raise NoChampion(f"No run{target.name_suffix} is tracked in this home yet. Run `altrally train` first.")
        return describe_experiment(tracker, target)


def remember_trials(tracker: Tracker) -> None:
    """Make the experiment and the record in the home each hold every try that the other does.

    So none is forgotten when the experiment is deleted, its database moved away, or an older copy of it brought back.
    """
    known = counted_tags(tracker)
    everything = furthest(known, trials.read(tracker.place.home))
    trials.add(tracker.place.home, everything)
    count(tracker, {tag: value for tag, value in everything.items() if known.get(tag) != value})


def counted_tags(tracker: Tracker) -> dict[str, str]:
    """The tags of the experiment that count tries; earlier versions kept them where MLflow's pages show them."""
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    shown = {tag: value for tag, value in tags.items() if tag.startswith(COUNTED)}
    hidden = {tag.removeprefix(HIDDEN): value for tag, value in tags.items() if tag.startswith(HIDDEN)}
    return furthest(shown, {tag: value for tag, value in hidden.items() if tag.startswith(COUNTED)})


def furthest(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Tries that two records count; of one that both hold, the value that says more: judged rather than searched, the later day."""
    return {
        tag: max((known[tag] for known in (first, second) if tag in known), key=lambda value: (SEARCHED not in value, value))
        for tag in {**first, **second}
    }


def count(tracker: Tracker, tags: Mapping[str, str]) -> None:
    """Count tries: in the record of the home first, then in the experiment."""
    trials.add(tracker.place.home, tags)
    for tag, value in tags.items():
        tracker.client.set_experiment_tag(tracker.experiment_id, f"{HIDDEN}{tag}", value)


def move_in(place: TrackingPlace) -> None:
    """Make the runs of a home that was moved or copied name its own files.

    Raises InUse where another process is at work in the home, StoreUnusable where its runs can't be written.
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
    """Rewrite the absolute addresses MLflow stored below `old`. Raises StoreUnusable where that can't be done."""
    columns = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in (*columns, ("model_versions", "storage_location")):
                below = f"{column} = ? OR substr({column}, 1, ?) = ?"
                moved = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {below}"
                connection.execute(moved, (new, len(old) + 1, old, len(old) + 1, f"{old}/"))
    except sqlite3.Error as error:
        raise StoreUnusable(f"{database} can't be written ({error}).") from error


def sweep(tracker: Tracker) -> int:
    """Clear up after dead processes: mark KILLED their runs still RUNNING and FAILED their half-saved models; how many runs."""
    home = tracker.place.home
    running = tracker.client.search_runs(experiments_of(tracker.client), "attributes.status = 'RUNNING'", max_results=1000)
    dead = [run.info.run_id for run in running if is_dead(home, run.data.tags, pd.Timestamp(run.info.start_time, unit="ms"))]
    if dead:
        fail_models(tracker, dead)
    for run_id in dead:
        tracker.client.set_terminated(run_id, "KILLED")
    remove_abandoned_folders(home)
    return len(dead)


def fail_models(tracker: Tracker, runs: Sequence[str]) -> None:
    """Models that runs were saving when they died."""
    for model in tracker.client.search_logged_models(experiments_of(tracker.client), max_results=50):
        if model.source_run_id in runs and model.status == "PENDING":
            tracker.client.finalize_logged_model(model.model_id, "FAILED")


def is_dead(home: Path, tags: Mapping[str, str], started: pd.Timestamp) -> bool:
    """Its process is gone from this machine, or it has been running for longer than any training does.

    A number may have been given to another process since, but nobody else keeps its room.
    """
    if pd.Timestamp.now("UTC").tz_localize(None) - started > DEAD_AFTER:
        return True
    if hidden_tag(tags, "host") != platform.node():
        return False
    return not is_alive(int(hidden_tag(tags, "pid", "0"))) or is_abandoned(home, hidden_tag(tags, "room"))


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs here; where that can't be asked without harm, it is taken to."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def require_registered_model(tracker: Tracker, target: Target) -> None:
    """Create the registered model of a target where it isn't there yet."""
    from mlflow.exceptions import MlflowException

    try:
        about = ABOUT.format(name=target.name, days=", ".join(map(str, target.horizons)))
        tracker.client.create_registered_model(target.registered_model, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def champion(tracker: Tracker, target: Target) -> Registered | None:
    """The version that scores a target, None where it has none."""
    return champion_named(tracker, target.registered_model)


def champion_named(tracker: Tracker, name: str) -> Registered | None:
    """The version of a registered model that has the alias; None where there is none, or its run was deleted for good."""
    current = aliased(tracker, name)
    return current if current is None or unless_deleted(tracker.client.get_run, current.run_id) else None


def aliased(tracker: Tracker, name: str) -> Registered | None:
    """The version of a registered model that has the alias, whatever became of its run; None where there is none."""
    try:
        return registered(champion_version(tracker.client, name))
    except NoChampion:
        return None


def registered(version: Any) -> Registered:
    """A version as MLflow hands it out."""
    return Registered(str(version.version), version.run_id, dict(version.tags), version.name)


def version_of(tracker: Tracker, run_id: str) -> Registered | None:
    """The version a run registered."""
    found = tracker.client.search_model_versions(f"run_id = '{run_id}'")
    return registered(found[0]) if found else None


def set_alias(tracker: Tracker, alias: str, version: Registered) -> None:
    """Move an alias to a version, and say so where MLflow's pages show it: on versions, their runs, and the registered model."""
    before = {name: str(number) for name, number in tracker.client.get_registered_model(version.name).aliases.items()}
    tracker.client.set_registered_model_alias(version.name, alias, version.version)
    former = before.get(alias)
    if former is not None and former not in [version.version, *(before[name] for name in before if name != alias)]:
        mark(tracker, registered(tracker.client.get_model_version(version.name, former)), f"former {alias}")
    mark(tracker, version, alias)
    if alias == CHAMPION:
        tell_champion(tracker, version)


def mark(tracker: Tracker, version: Registered, standing: str) -> None:
    """Tag a version and its run with what they are now; a run that was deleted stays as it is."""
    tag_version(tracker, version, {"standing": standing})
    run = unless_deleted(tracker.client.get_run, version.run_id)
    if run is not None and run.info.lifecycle_stage == "active":
        tracker.client.set_tag(version.run_id, "standing", standing)


def tell_champion(tracker: Tracker, version: Registered) -> None:
    """Write into the description of a registered model which version is champion."""
    model, day = (version.tags.get(name, "unknown") for name in ("model", "trained_as_of"))
    said = f"**Champion: version {version.version}, {model}**, trained on what was known by {day}."
    about = tracker.client.get_registered_model(version.name).description or ""
    rest = about.partition("\n\n")[2] if about.startswith("**Champion: ") else about
    tracker.client.update_registered_model(version.name, f"{said}\n\n{rest}")


def tag_version(tracker: Tracker, version: Registered, tags: Mapping[str, str]) -> None:
    """Leave tags on a version."""
    for name, value in tags.items():
        tracker.client.set_model_version_tag(version.name, version.version, name, value)


def forecasts_of(tracker: Tracker, run_id: str) -> pd.DataFrame:
    """Out-of-sample forecasts of a run: as_of, horizon, model, probability, climatology, outcome."""
    return table_of(tracker.client, tracker.place.home, tracker.place.uri, run_id, FORECASTS_FILE)


def metrics_of(tracker: Tracker, run_id: str) -> dict[str, float]:
    """Metrics of a run, by the names of today whichever version logged it."""
    return {current_name(name): value for name, value in tracker.client.get_run(run_id).data.metrics.items()}


def code_version() -> str:
    """The version of altrally that ran."""
    try:
        return version("altrally")
    except PackageNotFoundError:
        return "not installed"
