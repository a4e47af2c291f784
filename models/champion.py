"""Reads MLflow: the champion, its card, and the runs to compare. Nothing here writes or creates a database."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from core.errors import Lost, NoChampion, OtherVersion, Refused, StoreUnusable, UnknownName, redacted
from core.home import EXPERIMENT, HIDDEN, folder_at, hidden_tag, read_only, sqlite_file
from core.target import ALTCOINS, Target, name_suffix
from models.card import Card, read_card
from models.metric_names import current_name
from models.saving import digest, load, load_models, read_saved
from sources.reach import require_reachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from models.base import HorizonModel
    from models.forecaster import Forecaster

CHAMPION = "champion"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Environment variables for MLflow, used unless the user sets them."""

MODEL_FILE = "model.skops"
CARD_FILE = "card.json"
FORECASTS_FILE = "forecasts.parquet"
VERIFICATION_FILE = "verification.json"
SHADOW_MODELS_FILE, SHADOWS_FILE = "shadows.skops", "shadows.json"
SQLITE_HEADER = b"SQLite format 3\0"
CHAMPION_ROWS = """
SELECT versions.version, versions.run_id, tags.value, models.artifact_location, runs.artifact_uri, coalesce(files.value, '')
FROM registered_model_aliases AS aliases
JOIN model_versions AS versions USING (workspace, name, version)
JOIN model_version_tags AS tags USING (workspace, name, version)
JOIN logged_models AS models ON 'models:/' || models.model_id = versions.source
JOIN runs ON runs.run_uuid = versions.run_id
LEFT JOIN tags AS files ON files.run_uuid = versions.run_id AND files.key IN ('files', 'mlflow.altrally.files')
WHERE aliases.workspace = 'default' AND aliases.name = ? AND aliases.alias = ? AND tags.key = 'sha256'
"""
NAMES = "SELECT name FROM registered_model_aliases WHERE workspace = 'default' AND alias = ? ORDER BY name"
TELLING = (
    "family",
    "label",
    "market",
    "snapshot",
    "trained_as_of",
    "configuration",
    "model",
    "trial",
    "trials",
    "gates",
    "unproven",
)
FIGURES = (
    f"SELECT run_uuid, key, value FROM tags WHERE key IN {TELLING} ORDER BY run_uuid, key",
    "SELECT run_uuid, key, value FROM params ORDER BY run_uuid, key",
    "SELECT run_uuid, key, value FROM latest_metrics ORDER BY run_uuid, key",
)
"""Queries of the values of a run that must not change after logging."""

TAG = "SELECT run_uuid, value FROM tags WHERE key IN (?, ?)"

OTHER_SCHEMA = re.compile(r"out-of-date database schema \(found version (\w+)")
NEWER_MLFLOW = "Install the newer version of MLflow that left it, or use another --home."

DELETED = "RESOURCE_DOES_NOT_EXIST"
NOT_THERE = (DELETED, "INVALID_PARAMETER_VALUE")
NOT_TRAINED = "Nothing has been trained in this home yet. Run `altrally train` first."
NO_SUCH_CHAMPION = "No {name} has been trained in this home yet. Run `altrally train --target FILE` first."
ALTCOINS_TOO = f" of {ALTCOINS.name!r}"
TRAIN = "run `altrally train` (with --target FILE for a target of your own)"
ANEW = f"{TRAIN}; if that doesn't refresh the champion, `altrally promote RUN --force --why TEXT`."


@dataclass(frozen=True)
class Champion:
    """The model that scores: what was saved, its card, and where it is registered."""

    forecaster: "Forecaster"
    card: Card
    name: str
    version: str
    run_id: str


def load_champion(tracking_uri: str, home: Path, target: Target = ALTCOINS) -> Champion:
    """The registered model of a target with the alias `champion`.

    Files are looked for under `home` first, because MLflow stores absolute paths and a home can move. Raises NoChampion where there
    is none, Refused where its file isn't the one registered, holds types that aren't ours or answers another question than `target`
    asks (any outcome and threshold will do for the default one), StoreUnusable where the database can't be read.
    """
    location = champion_place(tracking_uri, target.registered_model)
    with stored_file(location.model_folder, MODEL_FILE, home, tracking_uri) as file:
        forecaster = load(file, location.sha256)
    card = card_at(location, tracking_uri, home, target)
    return Champion(forecaster, card, target.registered_model, location.version, location.run_id)


def champion_card(tracking_uri: str, home: Path, target: Target = ALTCOINS) -> Card:
    """The card of what `load_champion` returns. Raises as that does, but of the model's file it only asks whether it is there."""
    return registered_card(tracking_uri, home, target).card


class RegisteredCard(NamedTuple):
    """A champion's card, and where it is registered."""

    card: Card
    version: str
    run_id: str


def registered_card(tracking_uri: str, home: Path, target: Target = ALTCOINS) -> RegisteredCard:
    """What `champion_card` returns, with its version and its run. A model's file in this home must be the one that was saved."""
    location = champion_place(tracking_uri, target.registered_model)
    require_available(location.model_folder, MODEL_FILE, home)
    file = local_file(location.model_folder, MODEL_FILE, home)
    if file is not None:
        read_saved(file, location.sha256)
    return RegisteredCard(card_at(location, tracking_uri, home, target), location.version, location.run_id)


def card_at(location: "ChampionPlace", tracking_uri: str, home: Path, target: Target) -> Card:
    """The card of a champion, which must answer what `target` asks."""
    with stored_file(location.run_folder, CARD_FILE, home, tracking_uri) as file:
        require_logged_digest(file, location.files)
        card = read_card(file.read_text(encoding="utf-8"))
    if target != ALTCOINS and card.target.label != target.label:
        raise Refused(
            f"The champion of {target.name!r} answers {card.label}, not {target.label}. "
            "Run `altrally train` with this file, or bring the former file back."
        )
    return card


def require_logged_digest(file: Path, files: str) -> None:
    """Raise Refused where a file isn't the one its run logged."""
    logged = [sha for name, sha in json.loads(files or "{}").items() if Path(name).name == file.name]
    if logged and digest(file) not in logged:
        raise Refused(f"{file} isn't the file that was logged: its SHA-256 differs. Run `altrally repair`.")


class ChampionPlace(NamedTuple):
    """Where the champion is kept, the hash its file must have, and the sums of all its run's files as JSON ('' where not known)."""

    version: str
    run_id: str
    sha256: str
    model_folder: str
    run_folder: str
    files: str


def champion_place(tracking_uri: str, name: str = ALTCOINS.registered_model) -> ChampionPlace:
    """Location of the champion. A local database is read directly, because importing MLflow takes half the time of a score."""
    require_database(tracking_uri)
    database = sqlite_file(tracking_uri)
    rows = [] if database is None else champion_rows(database, name)
    return ChampionPlace(*map(str, rows[0])) if len(rows) == 1 else champion_by_client(tracking_uri, name)


def champion_rows(database: Path, name: str = ALTCOINS.registered_model) -> list[tuple[Any, ...]]:
    """The champion's rows joined; nothing where there is none or the tables aren't those of the MLflow we know."""
    try:
        return rows_of(database, CHAMPION_ROWS, name, CHAMPION)
    except StoreUnusable:
        return []


def champion_names(database: Path) -> list[str]:
    """The registered models that have a champion; none where the tables aren't those of the MLflow we know."""
    try:
        return [name for (name,) in rows_of(database, NAMES, CHAMPION)]
    except StoreUnusable:
        return []


def champion_by_client(tracking_uri: str, name: str = ALTCOINS.registered_model) -> ChampionPlace:
    """Location of the champion, read through the MLflow client."""
    with mlflow_client(tracking_uri) as client:
        version = champion_version(client, name)
        run = existing_run(client, version.run_id)
        model = unless_deleted(client.get_logged_model, version.source.removeprefix("models:/"))
        if model is None:
            raise Lost(f"The model of {name} v{version.version} was deleted from MLflow for good. To have a champion again, {ANEW}")
        return ChampionPlace(
            version=str(version.version),
            run_id=version.run_id,
            sha256=version.tags.get("sha256", ""),
            model_folder=model.artifact_location,
            run_folder=run.info.artifact_uri,
            files=hidden_tag(run.data.tags, "files"),
        )


def unless_deleted(ask: Callable[[str], Any], name: str) -> Any:
    """What MLflow holds under a name; None where it was deleted for good."""
    from mlflow.exceptions import MlflowException

    try:
        return ask(name)
    except MlflowException as error:
        if error.error_code != DELETED:
            raise
        return None


def existing_run(client: "MlflowClient", run_id: str) -> "Run":
    """A run. Raises Lost where it was deleted for good."""
    run = unless_deleted(client.get_run, run_id)
    if run is None:
        raise Lost(
            f"Run {run_id} was deleted from MLflow for good. To have a champion again, {TRAIN}. What was tried stays counted."
        )
    return run


def aliases(tracking_uri: str, target: Target = ALTCOINS) -> dict[str, str]:
    """Alias -> version of the registered model of a target; empty where nothing is registered."""
    with mlflow_client(tracking_uri) as client:
        from mlflow.exceptions import MlflowException

        try:
            versions = client.get_registered_model(target.registered_model).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
    return {alias: str(version) for alias, version in versions.items()}


def list_runs(tracking_uri: str) -> pd.DataFrame:
    """Every run, newest first: run_id, name, model and parent_id (None for a training itself), status, started, and the run's own
    `params.…`, `metrics.…` and `tags.…` columns (MLflow's own tags left out; metrics of earlier versions by today's names)."""
    with mlflow_client(tracking_uri) as client:
        runs = [run_row(run) for run in all_runs(client, experiments_of(client))]
    return pd.DataFrame(runs, columns=None if runs else ["run_id", "name", "model", "parent_id", "status", "started"])


def experiments_of(client: "MlflowClient") -> list[str]:
    """Ids of our experiments: the one every home has, and one for each further target."""
    found = client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT}%'")
    return [one.experiment_id for one in found if one.name == EXPERIMENT or f"{HIDDEN}target" in one.tags]


def run_table(tracking_uri: str, home: Path, run_id: str, name: str = FORECASTS_FILE) -> pd.DataFrame:
    """A Parquet file kept with a run: by default its out-of-sample forecasts. NoChampion where it is gone."""
    with mlflow_client(tracking_uri) as client:
        return table_of(client, home, tracking_uri, run_id, name)


def table_of(client: "MlflowClient", home: Path, tracking_uri: str, run_id: str, name: str) -> pd.DataFrame:
    """A Parquet file kept with a run, asked for by a client that is open. NoChampion where it is gone."""
    with stored_file(existing_run(client, run_id).info.artifact_uri, name, home, tracking_uri) as file:
        return read_table(file)


def verification_beside(tracking_uri: str, home: Path, run_id: str) -> list[dict[str, Any]]:
    """Verification rows of every model of the training a run belongs to, as `altrally verify --json` prints them.

    Raises Lost where that training was deleted.
    """
    with mlflow_client(tracking_uri) as client:
        run = existing_run(client, run_id)
        parent = existing_run(client, run.data.tags.get("mlflow.parentRunId", run_id))
        with stored_file(parent.info.artifact_uri, VERIFICATION_FILE, home, tracking_uri) as file:
            rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
            return rows


@dataclass(frozen=True)
class Shadow:
    """A model that forecasts beside the champion: its final fit, the columns it reads, and where it is registered."""

    name: str
    version: str
    configuration: str
    columns: list[str]
    model: "HorizonModel"


def load_shadows(tracking_uri: str, home: Path, family: str, label: str) -> list[Shadow]:
    """Every model of the newest finished training of a family's question; none where it kept none.

    Raises Refused where a file isn't the one that was logged, StoreUnusable where the runs can't be read.
    """
    with mlflow_client(tracking_uri) as client:
        run = newest_with_shadows(client, family, label)
        if run is None:
            return []
        folder, sha = run.info.artifact_uri, hidden_tag(run.data.tags, "shadows")
        with stored_file(folder, SHADOW_MODELS_FILE, home, tracking_uri) as file:
            models = load_models(file, sha)
        with stored_file(folder, SHADOWS_FILE, home, tracking_uri) as file:
            summaries = json.loads(file.read_text(encoding="utf-8"))
    return [Shadow(**summary, model=models[summary["name"]]) for summary in summaries]


def newest_with_shadows(client: "MlflowClient", family: str, label: str) -> "Run | None":
    """The newest finished training of a family's question that kept its models; None where there is none."""
    wanted = f"tags.family = '{family}' and tags.label = '{label}' and attributes.status = 'FINISHED'"
    experiments, newest = experiments_of(client), ["attributes.start_time DESC"]
    found = [
        run
        for tag in ("shadows", f"`{HIDDEN}shadows`")
        for run in client.search_runs(experiments, f"{wanted} and tags.{tag} != ''", max_results=1, order_by=newest)
    ]
    return max(found, key=lambda run: run.info.start_time, default=None)


def read_table(file: Path) -> pd.DataFrame:
    """A Parquet file; StoreUnusable where it is damaged."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise StoreUnusable(f"{file} is damaged ({str(error).splitlines()[0]}). Run `altrally repair`.") from error


def find_run(runs: pd.DataFrame, wanted: str, target: Target = ALTCOINS) -> pd.Series:
    """The run of that id or beginning of an id, of whatever target; or of that name, the newest of it within `target`.

    Raises UnknownName where there is none or several begin so, Refused where only another target has one of that name.
    """
    run_targets = targets_of(runs)
    own_runs = runs[run_targets.isna() | (run_targets == target.name_suffix)]
    exact = pd.concat([runs[runs["run_id"] == wanted], own_runs[is_called(own_runs, wanted)]])
    matching = exact.iloc[:1] if len(exact) else runs[runs["run_id"].str.startswith(wanted)]
    if len(matching) == 1:
        return matching.iloc[0]
    other_targets = sorted({name or ALTCOINS_TOO for name in run_targets[is_called(runs, wanted)].dropna()})
    if other_targets:
        raise Refused(
            f"No run{target.name_suffix or ALTCOINS_TOO} is called {wanted!r}; one{' and one'.join(other_targets)} is. "
            "Say which target with --target FILE (without: the altcoin rally), or give the run's id."
        )
    raise UnknownName(
        "run", wanted, [*own_runs.get("model", own_runs["name"]).dropna(), *own_runs["name"], *own_runs["run_id"].str[:8]]
    )


def is_called(runs: pd.DataFrame, wanted: str) -> pd.Series:
    """Which runs have that name, or are of the model of that name."""
    return (runs["name"] == wanted) | (runs["model"] == wanted if "model" in runs else False)


def targets_of(runs: pd.DataFrame) -> pd.Series:
    """`Target.name_suffix` of each run; missing where it belongs to no target."""
    labels = runs["tags.label"] if "tags.label" in runs else pd.Series(None, runs.index, dtype="object")
    return labels.map(name_suffix, na_action="ignore")


@contextmanager
def mlflow_client(tracking_uri: str) -> Iterator["MlflowClient"]:
    """A client of an existing database or server; its failures become StoreUnusable."""
    require_database(tracking_uri)
    require_reachable(tracking_uri)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    except MlflowException as error:
        first_line = str(error).strip().splitlines()[0]
        raise_other_version(tracking_uri, first_line, "read")
        raise StoreUnusable(redacted(f"The runs at {tracking_uri} can't be read: {first_line}")) from None


def raise_other_version(tracking_uri: str, said: str, done: str) -> None:
    """Raise OtherVersion where MLflow said that another version of it left a database, with what helps; `done`: read or written."""
    found = OTHER_SCHEMA.search(said)
    if found is None:
        return
    if is_known_schema(found[1]):
        which, way = "an older", f"Copy them, then run `mlflow db upgrade {quote(tracking_uri)}`."
    else:
        which, way = "a newer", "Install that version, or use another --home."
    raise OtherVersion(redacted(f"The runs at {tracking_uri} can't be {done}: {which} version of MLflow left them. {way}"))


def is_known_schema(revision: str) -> bool:
    """Whether the MLflow that is here knows a version of its tables, which it then can bring up to date."""
    import mlflow

    return any((Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob(f"{revision}_*.py"))


def require_database(tracking_uri: str) -> None:
    """NoChampion where the database isn't there (a client would create it), StoreUnusable where the file is something else."""
    file = sqlite_file(tracking_uri)
    if file is None:
        return
    if not file.exists() or file.stat().st_size == 0:
        raise NoChampion(NOT_TRAINED)
    with file.open("rb") as database:
        if database.read(len(SQLITE_HEADER)) != SQLITE_HEADER:
            raise StoreUnusable(f"{file} isn't a database of runs. Move it away and run `altrally train`.")


def champion_version(client: "MlflowClient", name: str) -> Any:
    """Registered version with the champion alias. Raises NoChampion where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in NOT_THERE and not is_hidden(client, name, error.error_code):
            raise
        raise NoChampion(NOT_TRAINED if name == ALTCOINS.registered_model else NO_SUCH_CHAMPION.format(name=name)) from None


def is_hidden(client: "MlflowClient", name: str, error_code: str) -> bool:
    """Whether a server with accounts answered "denied" for a model that doesn't exist."""
    return error_code == "PERMISSION_DENIED" and not client.search_registered_models(f"name = '{name}'")


@contextmanager
def stored_file(folder: str, name: str, home: Path, tracking_uri: str) -> Iterator[Path]:
    """Path of one file of a stored folder. A file on a server is downloaded to a temporary folder."""
    local = local_file(folder, name, home)
    if local is not None:
        yield local
        return
    require_available(folder, name, home)
    with TemporaryDirectory() as folder_name:
        yield download(f"{folder}/{name}", Path(folder_name), tracking_uri)


def require_available(folder: str, name: str, home: Path) -> None:
    """Raise Lost where a file of a folder on this machine is gone."""
    if folder_at(folder) is not None and local_file(folder, name, home) is None:
        raise Lost(f"{name} is gone from {folder}. Bring the folder back. If that can't be done, {ANEW}")


def download(address: str, destination: Path, tracking_uri: str) -> Path:
    """Path of a file downloaded from a server. Raises StoreUnusable where that fails."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=address, dst_path=str(destination), tracking_uri=tracking_uri))
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StoreUnusable(redacted(f"{address} doesn't come from {tracking_uri}: {reason}")) from None


def local_file(folder: str, name: str, home: Path) -> Path | None:
    """Path of a file of a stored folder: below this home's artifacts, else where it was stored; None if there is none."""
    stored = folder_at(folder)
    if stored is None:
        return None
    below_artifacts = str(stored / name).rpartition("/mlruns/artifacts/")[2]
    return next((file for file in (home / "mlruns" / "artifacts" / below_artifacts, stored / name) if file.is_file()), None)


def all_runs(client: "MlflowClient", experiments: list[str]) -> Iterator["Run"]:
    """Every run of some experiments, newest first, page by page."""
    token: str | None = None
    while experiments:
        page = client.search_runs(experiments, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def figures_of(database: Path) -> dict[str, str]:
    """SHA-256 of the figures of each run (name, params, metrics and identifying tags), by run id."""
    figures: dict[str, list[Any]] = {
        run: [name] for run, name in rows_of(database, "SELECT run_uuid, name FROM runs ORDER BY run_uuid")
    }
    for query in FIGURES:
        for run, *values in rows_of(database, query):
            if run in figures:  # another process may have begun one since
                figures[run].append(values)
    return {run: sha256(json.dumps(values).encode()).hexdigest() for run, values in figures.items()}


def damaged_figures(database: Path) -> list[str]:
    """Ids of the runs whose figures, or the digests of whose files, changed after logging."""
    figures, sums, files = (dict(rows_of(database, TAG, key, HIDDEN + key)) for key in ("figures", "files_sum", "files"))
    now = figures_of(database)
    changed = [run for run, sha in figures.items() if now.get(run) != sha]
    return changed + [run for run, sha in sums.items() if sha256(files.get(run, "").encode()).hexdigest() != sha]


def damaged_files(database: Path, artifacts: Path) -> Iterator[tuple[str, Path]]:
    """Run and path of every file that is gone or isn't the one that was logged."""
    for run, files in rows_of(database, TAG, "files", f"{HIDDEN}files"):
        for name, sha in json.loads(files).items():
            if not (artifacts / name).is_file() or digest(artifacts / name) != sha:
                yield run, artifacts / name


def rows_of(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Rows read straight from a database of ours, whatever a client of this process keeps open. Raises StoreUnusable."""
    from sqlite3 import Error, connect

    try:
        with closing(connect(read_only(database), uri=True)) as connection:
            return connection.execute(query, values).fetchall()
    except Error as error:
        raise StoreUnusable(f"{database} is damaged ({error}). Run `altrally repair`.") from error


def run_row(run: "Run") -> dict[str, Any]:
    """One row of `list_runs`."""
    tags = run.data.tags
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "model": tags.get("model") or (run.info.run_name if "mlflow.parentRunId" in tags else None),
        "parent_id": tags.get("mlflow.parentRunId"),
        "status": run.info.status,
        "started": pd.Timestamp(run.info.start_time, unit="ms"),
        **{f"params.{key}": value for key, value in run.data.params.items()},
        **{f"metrics.{current_name(key)}": value for key, value in run.data.metrics.items()},
        **{f"tags.{key}": value for key, value in tags.items() if not key.startswith("mlflow.")},
    }
