"""What MLflow holds, written: runs, models, aliases, the count of trials. The only module that writes there."""

import json
import logging
import os
import platform
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from joblib import Parallel, delayed

from core.errors import Damaged, InUse, NoChampion, OtherVersion, StoreUnusable, redacted
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
from core.home import EXPERIMENT, folder_address, sqlite_address, sqlite_file, stored_elsewhere
from core.progress import Progress
from core.target import ALTCOINS, Target
from evaluation.multiple_testing import PRIOR_TRIALS, TrialHistory
from evaluation.sample import EvaluationSample
from models.card import Card
from models.catalog import MODELS
from models.champion import (
    CARD_FILE,
    ENVIRONMENT,
    FORECASTS_FILE,
    MODEL_FILE,
    SHADOW_MODELS_FILE,
    SHADOWS_FILE,
    VERIFICATION_FILE,
    champion_version,
    damaged_figures,
    figures_of,
    require_database,
    stored_file,
    table_of,
    unless_deleted,
)
from models.forecaster import QUESTION_COLUMNS, Forecaster
from models.law_model import LawModel
from models.parallel import shielded_from_interrupts
from models.saving import TRUSTED_TYPES, digest, save_models
from sources.reach import require_reachable
from training import trials
from training.settings import SEARCHED

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEAD_AFTER = pd.Timedelta(days=1)
LOCK_SECONDS = 120
WORTH_TWO_PROCESSES = 3
LOG = logging.getLogger(__name__)
MIGRATED = "SELECT count(*) = 1 FROM alembic_version"
TOGETHER, CONFIGURATION_DIGITS = 200, 16
MANY = "many-"
COUNTED = ("trial.", "sweep.")
"""How the tags begin by which tries are counted."""

ABOUT = (
    "The probability of this event: {name}, within {days} days. `champion` scores; `challenger` is the best other model of the "
    "last training. A version tagged `unproven` has shown no skill."
)
SEED = 7
REQUIREMENTS = ("numpy", "scipy", "pandas", "scikit-learn", "joblib", "skops")
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
class ModelRecord:
    """One model of a training, to be logged as a child run and registered as a version.

    `inputs` are rows it can read; `rotations` what it scored on every rotation, about `independent` of which are; `judged` the
    forecasts of all models by horizon; `every_picture` asks for more than the forecasts and their reliability; `texts` go to files
    of their names.
    """

    card: Card
    forecaster: Forecaster
    inputs: pd.DataFrame
    forecasts: pd.DataFrame
    params: Mapping[str, Any]
    metrics: Mapping[str, float | None]
    tags: Mapping[str, str]
    rotations: pd.DataFrame
    independent: int
    judged: Mapping[int, EvaluationSample]
    every_picture: bool = False
    description: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRecord:
    """What all models of a training share: `tables` go to files of their names, `inputs` name the data set that was read.

    `verification` are the rows of every model, kept with the parent run.
    """

    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    inputs: pd.DataFrame
    description: str = ""
    verification: Sequence[Mapping[str, Any]] = ()


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
        if "out-of-date database schema" in first_line:
            way = f"Copy them, then run `mlflow db upgrade {quote(place.uri)}`."
            raise OtherVersion(f"The runs at {place.uri} can't be written: another version of MLflow left them. {way}") from None
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


def open_experiment(client: "MlflowClient", place: TrackingPlace) -> str:
    """The id of our experiment, whose files are this home's."""
    location = None if place.artifacts is None else folder_address(place.artifacts)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return str(client.create_experiment(EXPERIMENT, artifact_location=location))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if location is not None and place.database is not None and experiment.artifact_location != location:
        relocate(place.database, experiment.artifact_location, location)
    return str(experiment.experiment_id)


def remember_trials(tracker: Tracker) -> None:
    """Make the experiment and the record in the home each hold every try that the other does.

    So none is forgotten when the experiment is deleted, its database moved away, or an older copy of it brought back.
    """
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    held = [{tag: value for tag, value in tags.items() if tag.startswith(COUNTED)}, trials.read(tracker.place.home)]
    furthest = {
        tag: max((known[tag] for known in held if tag in known), key=lambda value: (SEARCHED not in value, value))
        for tag in {**held[0], **held[1]}
    }
    trials.add(tracker.place.home, furthest)
    count(tracker, {tag: value for tag, value in furthest.items() if held[0].get(tag) != value})


def count(tracker: Tracker, tags: Mapping[str, str]) -> None:
    """Count tries: in the record of the home first, then in the experiment."""
    trials.add(tracker.place.home, tags)
    for tag, value in tags.items():
        tracker.client.set_experiment_tag(tracker.experiment_id, tag, value)


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
    running = tracker.client.search_runs([tracker.experiment_id], "attributes.status = 'RUNNING'", max_results=1000)
    dead = [run.info.run_id for run in running if is_dead(home, run.data.tags, pd.Timestamp(run.info.start_time, unit="ms"))]
    if dead:
        fail_models(tracker, dead)
    for run_id in dead:
        tracker.client.set_terminated(run_id, "KILLED")
    remove_abandoned_folders(home)
    return len(dead)


def fail_models(tracker: Tracker, runs: Sequence[str]) -> None:
    """Models that runs were saving when they died."""
    for model in tracker.client.search_logged_models([tracker.experiment_id], max_results=50):
        if model.source_run_id in runs and model.status == "PENDING":
            tracker.client.finalize_logged_model(model.model_id, "FAILED")


def is_dead(home: Path, tags: Mapping[str, str], started: pd.Timestamp) -> bool:
    """Its process is gone from this machine, or it has been running for longer than any training does.

    A number may have been given to another process since, but nobody else keeps its room.
    """
    if pd.Timestamp.now("UTC").tz_localize(None) - started > DEAD_AFTER:
        return True
    if tags.get("host") != platform.node():
        return False
    return not is_alive(int(tags.get("pid", 0))) or is_abandoned(home, tags.get("room", ""))


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


def count_trials(tracker: Tracker, family: str, label: str, configurations: Sequence[str]) -> dict[str, int]:
    """The number each configuration was tried as, those of now included; the largest is how many were tried so far.

    Kept as tags of the experiment and in the home, so that deleting runs doesn't reset it. What was only searched and is judged
    now keeps its number and is counted among the judged.
    """
    with database_lock(tracker.place):
        counted = trials_of(tracker, family)
        tried = {name: number for name, (number, _) in counted.items()}
        judged_now = {} if SEARCHED in label else only_searched(counted, configurations, label)
        new = [one for one in dict.fromkeys(configurations) if one not in tried]
        first = PRIOR_TRIALS + len(tried) + 1
        tried |= {one: first + place for place, one in enumerate(new)}
        tags = trial_tags(new, first, label) | judged_now
        count(tracker, {f"trial.{family}.{one}": value for one, value in tags.items()})
    return tried


def only_searched(counted: Mapping[str, tuple[int, str]], configurations: Sequence[str], label: str) -> dict[str, str]:
    """Tags by which configurations that a sweep had counted answer the question of a label from now on."""
    return {one: f"{counted[one][0]} {label}" for one in configurations if one in counted and SEARCHED in counted[one][1]}


def count_sweeps(tracker: Tracker, family: str, name: str, first_test: pd.Timestamp, last: pd.Timestamp) -> int:
    """How many sweeps of a family, the one of that name included, judged a winner on days of this test, `first_test` to `last`.

    Kept as tags of the experiment and in the home: the last day that each has judged on.
    """
    prefix = f"sweep.{family}."
    with database_lock(tracker.place):
        count(tracker, {f"{prefix}{name}": f"{last:%Y-%m-%d}"})
        tags = tracker.client.get_experiment(tracker.experiment_id).tags
    return sum(key.startswith(prefix) and pd.Timestamp(value) >= first_test for key, value in tags.items())


def trial_tags(configurations: Sequence[str], first: int, label: str) -> dict[str, str]:
    """Tags that count new configurations from the number `first` on: one each, or of many one for every `TOGETHER`."""
    if len(configurations) <= TOGETHER:
        return {one: f"{first + place} {label}" for place, one in enumerate(configurations)}
    parts = [configurations[at : at + TOGETHER] for at in range(0, len(configurations), TOGETHER)]
    return {f"{MANY}{first + at * TOGETHER}": f"{' '.join(part)} {label}" for at, part in enumerate(parts)}


def trials_of(tracker: Tracker, family: str) -> dict[str, tuple[int, str]]:
    """Number and label of every configuration of a family ever tried here."""
    prefix = f"trial.{family}."
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    told = {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
    told = dict(sorted(told.items(), key=lambda tag: not tag[0].startswith(MANY)))  # one by one counts over together
    return {name: counted for key, value in told.items() for name, counted in read_trials(key, value)}


def read_trials(key: str, value: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Configurations of one tag of `trial_tags`, each with its number and label."""
    if not key.startswith(MANY):
        number, _, label = value.partition(" ")
        yield key, (int(number), label)
        return
    words = value.split(" ")
    names = list(takewhile(is_configuration, words))
    label = " ".join(words[len(names) :])
    yield from ((name, (int(key.removeprefix(MANY)) + place, label)) for place, name in enumerate(names))


def is_configuration(word: str) -> bool:
    """16 hex digits."""
    return len(word) == CONFIGURATION_DIGITS and all(digit in "0123456789abcdef" for digit in word)


def trial_history(tracker: Tracker, family: str, label: str) -> TrialHistory:
    """How much was tried in a family, and what of it asked the question of this label.

    Two who count on a server at once may give two configurations one number: both count.
    """
    counted = trials_of(tracker, family)
    return TrialHistory(
        trials=max([PRIOR_TRIALS + len(counted), *(number for number, _ in counted.values())]),
        configurations=frozenset(name for name, (_, asked) in counted.items() if asked == label),
    )


def log_training(
    tracker: Tracker, training: TrainingRecord, models: Mapping[str, ModelRecord], progress: Progress
) -> tuple[str, dict[str, Registered]]:
    """One parent run, one child run and one registered version a model; the parent's id and the versions by model name.

    A failure leaves the parent FAILED; versions that were made stay without an alias.
    """
    made = {}
    with running(tracker, training.name, training.tags, training.description) as parent:
        log_values(tracker, parent, training.params, {})
        log_input(tracker, parent, training)
        log_files(tracker, parent, training.tables)
        tracker.client.log_dict(parent, [dict(row) for row in training.verification], VERIFICATION_FILE)
        with TemporaryDirectory() as folder:
            progress("drawing", 0, 0)
            pictures = draw_all(models, Path(folder))
            for done, (name, record) in enumerate(models.items()):
                progress(f"tracking: {name}", done, len(models))
                made[name] = log_model_run(tracker, parent, name, training, record, pictures.get(name))
        log_shadows(tracker, parent, models, made)
        seal(tracker, parent)
    return parent, made


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
    tracker.client.set_tag(parent, "shadows", sha)


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
    process = {"pid": str(os.getpid()), "host": platform.node(), "room": tracker.room}
    told = {"mlflow.note.content": description, "mlflow.source.name": "altrally train"}
    family = {} if parent is None else {"mlflow.parentRunId": parent}
    all_tags = {**tags, **process, **told, **family}
    return str(tracker.client.create_run(tracker.experiment_id, tags=all_tags, run_name=name).info.run_id)


def draw_all(models: Mapping[str, ModelRecord], folder: Path) -> dict[str, Path]:
    """The pictures of every model but the baselines, each in a folder of its own; many are drawn by two processes."""
    drawn = [name for name in models if not MODELS[name].baseline]
    places = {name: folder / str(number) for number, name in enumerate(drawn)}
    jobs = [delayed(write_figures)(replace(models[name], forecaster=Forecaster()), places[name]) for name in drawn]
    with shielded_from_interrupts():
        Parallel(n_jobs=2 if len(drawn) > WORTH_TWO_PROCESSES else 1, backend="loky")(jobs)
    return places


def log_model_run(
    tracker: Tracker, parent: str, name: str, training: TrainingRecord, record: ModelRecord, pictures: Path | None
) -> Registered:
    """The child run of one model."""
    with running(tracker, name, {**training.tags, **record.tags}, record.description, parent) as run_id:
        log_values(tracker, run_id, record.params, {})
        log_input(tracker, run_id, training)
        log_files(tracker, run_id, {**training.tables, FORECASTS_FILE: record.forecasts}, record)
        if pictures is not None:
            tracker.client.log_artifacts(run_id, str(pictures))
        registered = register(tracker, run_id, record)
        seal(tracker, run_id)
    return registered


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
) -> None:
    """What a run gained over another: metrics, a tag that names the other, a picture drawn by `draw`.

    The picture takes longest and comes first: killed between its figures and their seal, a run doesn't say what was logged.
    """
    with TemporaryDirectory() as folder:
        draw(Path(folder) / f"against {re.sub(r'[^0-9A-Za-z_.-]+', ' ', against)[:80]}.png")
        tracker.client.log_artifacts(run_id, folder, "comparisons")
    log_values(tracker, run_id, {}, metrics)
    tracker.client.set_tag(run_id, "compared_with", against)
    seal(tracker, run_id)


def seal(tracker: Tracker, run_id: str) -> None:
    """Tag a run with the sums of its figures and its files, so that damage is found; a server looks after its own."""
    from mlflow.entities import RunTag

    database, artifacts = tracker.place.database, tracker.place.artifacts
    if database is None or artifacts is None:
        return
    outputs = tracker.client.get_run(run_id).outputs.model_outputs
    places = [run_id, *(f"models/{model.model_id}" for model in outputs)]
    files = [file for place in places for file in sorted((artifacts / place).rglob("*")) if file.is_file()]
    sums = json.dumps({str(file.relative_to(artifacts)): digest(file) for file in files})
    tags = {"figures": figures_of(database)[run_id], "files": sums, "files_sum": sha256(sums.encode()).hexdigest()}
    tracker.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])  # all of them or none


def log_sweep(tracker: Tracker, found: Mapping[str, Any], tags: Mapping[str, str], trials: pd.DataFrame) -> str:
    """One run for a whole sweep: the winner's parameters, what it scored, every trial in a table; its id."""
    about = f"{found['tried']} configurations searched before {found['first_test']}, the winner judged after it."
    numbers = {name: found[name] for name in ("search_skill", "search_p", "best_of_n_p")} | {"brier": found["test"]["brier"]}
    with running(tracker, f"sweep {found['target']}", tags, about) as run_id:
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


def write_figures(record: ModelRecord, folder: Path) -> None:
    """The forecast over time and its reliability; where asked for, all there is."""
    folder.mkdir()
    from training.figures import draw_history
    from training.panel_figures import draw_nulls, draw_panel, draw_reliability

    model, about = record.card.model, f"{record.card.model} · {record.card.market} market"
    draw_history(record.forecasts, f"{about}: forecasts out of sample", folder / "forecasts.png")
    draw_reliability(record.judged, model, about, folder, seed=SEED)
    if record.every_picture:
        draw_panel(record.judged, model, about, folder, seed=SEED)
        draw_nulls(record.rotations, record.independent, about, folder)


def register(tracker: Tracker, run_id: str, record: ModelRecord) -> Registered:
    """Save the model, log its metrics, and make it a version whose SHA-256 is known.

    Metrics come after the model: of those that stand there before, MLflow asks for each in a request of its own.
    """
    import mlflow

    with mlflow.start_run(run_id=run_id, nested=True, log_system_metrics=False):
        info = mlflow.sklearn.log_model(
            record.forecaster,
            name="model",
            serialization_format="skops",
            skops_trusted_types=TRUSTED_TYPES,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            signature=signature_of(record),
            input_example=record.inputs.head(2),
        )
    log_values(tracker, run_id, {}, record.metrics, info.model_id)
    card = record.card
    named = {"label": card.label, "market": card.market, "snapshot": card.snapshot, "trained_as_of": card.trained_as_of}
    with stored_file(info.artifact_path, MODEL_FILE, tracker.place.home, tracker.place.uri) as file:
        tags = {**record.tags, **named, "sha256": digest(file)}
    require_registered_model(tracker, card.target)
    made = tracker.client.create_model_version(
        card.target.registered_model,
        info.model_uri,
        run_id=run_id,
        tags=tags,
        description=record.description,
        model_id=info.model_id,
    )
    return Registered(str(made.version), run_id, tags, made.name)


def signature_of(record: ModelRecord) -> Any:
    """What a served model takes and gives; one with a law also takes another `rise` or number of `days`, row by row."""
    from mlflow.models import infer_signature
    from mlflow.types import ColSpec, Schema

    signature = infer_signature(record.inputs, record.forecaster.predict(record.inputs))
    if isinstance(record.forecaster.model_, LawModel):
        asked = [ColSpec("double", name, required=False) for name in QUESTION_COLUMNS]
        signature.inputs = Schema([*signature.inputs.inputs, *asked])
    return signature


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
    """Move an alias to a version."""
    tracker.client.set_registered_model_alias(version.name, alias, version.version)


def tag_version(tracker: Tracker, version: Registered, tags: Mapping[str, str]) -> None:
    """Leave tags on a version."""
    for name, value in tags.items():
        tracker.client.set_model_version_tag(version.name, version.version, name, value)


def forecasts_of(tracker: Tracker, run_id: str) -> pd.DataFrame:
    """Out-of-sample forecasts of a run: as_of, horizon, model, probability, climatology, outcome."""
    return table_of(tracker.client, tracker.place.home, tracker.place.uri, run_id, FORECASTS_FILE)


def metrics_of(tracker: Tracker, run_id: str) -> dict[str, float]:
    """Metrics of a run."""
    return dict(tracker.client.get_run(run_id).data.metrics)


def code_version() -> str:
    """The version of altrally that ran."""
    try:
        return version("altrally")
    except PackageNotFoundError:
        return "not installed"
