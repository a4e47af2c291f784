"""Where a user's things live: one folder, the paths in it, and paths as the addresses that SQLite, MLflow or a shell reads."""

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from unicodedata import category
from urllib.parse import unquote, urlsplit

from core.errors import BadInput
from core.target import Target

SQLITE = "sqlite:///"
SQLITE_ESCAPED = "sqlite+pysqlite:///"
"""MLflow makes a folder for an address that begins with plain `sqlite:///`, and would name it by the escapes in it."""

PARSED = re.compile(r"[%?#\\]")


def sqlite_address(file: Path) -> str:
    """What SQLAlchemy and MLflow are given for an SQLite file: a path that holds signs they parse is escaped."""
    escaped = PARSED.sub(lambda sign: f"%{ord(sign[0]):02X}", str(file))
    return (SQLITE if escaped == str(file) else SQLITE_ESCAPED) + escaped


def sqlite_file(address: str) -> Path | None:
    """The file that such an address names; None where it names something else, as a server."""
    for beginning in (SQLITE, SQLITE_ESCAPED):
        if address.startswith(beginning):
            return Path(unquote(address.removeprefix(beginning).partition("?")[0]))
    return None


def read_only(file: Path) -> str:
    """What `sqlite3.connect(…, uri=True)` is given to read a file and never write or create it."""
    return f"{file.resolve().as_uri()}?mode=ro"


def folder_address(folder: Path) -> str:
    """What MLflow is given for a folder of artifacts."""
    return folder.resolve().as_uri()


def folder_at(address: str) -> Path | None:
    """The folder on this machine that MLflow takes an address for; None where it is on a server.

    Homes from before addresses were escaped hold plain paths.
    """
    if address.startswith("file:"):
        return Path(unquote(urlsplit(address).path))
    return Path(unquote(address)) if address.startswith("/") else None


def expanded(named: str | Path) -> Path:
    """A path as typed, with `~` followed. Raises BadInput where there is no such user."""
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{named} leads nowhere ({str(error).rstrip('.')}). Name another folder.") from None


def command(home: Path, words: str) -> str:
    """What to type into a shell for a home; `words` are what follows."""
    return f"altrally --home {quote(str(home))} {words}"


EXPERIMENT = "altrally"
HIDDEN = "mlflow.altrally."
"""How tags begin that are for programs only: MLflow's pages leave out what begins with `mlflow.`."""

STORED = "SELECT artifact_location FROM experiments WHERE name = ?"


def stored_elsewhere(database: Path, artifacts: Path) -> str | None:
    """The address below which runs keep their files, where that isn't `artifacts`; None where it is, or nothing is known."""
    try:
        with closing(sqlite3.connect(read_only(database), uri=True)) as connection:
            row = connection.execute(STORED, (EXPERIMENT,)).fetchone()
    except sqlite3.Error:
        return None
    here = row is None or folder_at(row[0]) in (None, artifacts.resolve())
    return None if here else str(row[0])


def hidden_tag(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """A tag for programs, which earlier versions kept without the prefix."""
    return tags.get(f"{HIDDEN}{name}", tags.get(name, default))


DEFAULT_HOME = Path("~/.altrally")
DEMO_HOME = Path("~/.altrally-demo")
PASSWORD_IN_ADDRESS = re.compile(r"://[^/@]*:[^/]*@")
CONTROL, UNDECODABLE = "Cc", "Cs"
NOT_FOR_DUCKDB = "?\\"
"""DuckDB reads what follows `?` as options, and a backslash as `/`, through links and relative paths too."""


@dataclass(frozen=True)
class Home:
    """One folder, one market: the store, the runs with their artifacts, the ledger, the reports, the sweeps.

    `tracking_server` is the address of an MLflow server; None means a database in this home.
    """

    folder: Path
    tracking_server: str | None = None

    @property
    def store(self) -> Path:
        """The DuckDB file of everything fetched."""
        return self.folder / "store.duckdb"

    @property
    def cache(self) -> Path:
        """What took long to compute and can be computed again."""
        return self.folder / "cache"

    @property
    def sweeps(self) -> Path:
        """Journals of what was searched."""
        return self.folder / "sweeps"

    @property
    def ledger(self) -> Path:
        """The SQLite file of every forecast issued."""
        return self.folder / "ledger.db"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps models, forecasts and figures of runs tracked in this home."""
        return self.folder / "mlruns" / "artifacts"

    @property
    def database(self) -> Path:
        """Where MLflow keeps runs tracked in this home."""
        return self.folder / "mlruns" / "mlflow.db"

    def reports(self, target: Target) -> Path:
        """Where pages for people are written; those of the default target are not below a folder of its name."""
        pages = self.folder / "reports"
        return pages if target.is_default else pages / target.slug

    @property
    def tracking_uri(self) -> str:
        """What MLflow is pointed at."""
        return self.tracking_server or sqlite_address(self.database)


def open_home(folder: Path | str | None = None, tracking_server: str | None = None, *, fallback: Path = DEFAULT_HOME) -> Home:
    """The home a user named, else `fallback`; nothing is created. With an MLflow `tracking_server` runs are kept there.

    Raises BadInput where the folder can't be one, or the server's address holds a password: addresses are shown in messages.
    """
    if tracking_server and PASSWORD_IN_ADDRESS.search(tracking_server):
        raise BadInput(
            "The address of the tracking server holds a password. Put it into MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD (of a database: PGUSER and PGPASSWORD) and leave it out of the address."
        )
    return Home(home_folder(fallback if folder is None else folder), tracking_server or None)


def home_folder(named: Path | str) -> Path:
    """A folder named as a home, absolute, with `~` and links followed.

    Raises BadInput where the name is empty or leads nowhere, or where the path holds what can't be shown or what DuckDB can't take.
    """
    if not str(named):
        raise BadInput("--home '' names no folder. Leave it out for the usual home, or name a folder.")
    if any(category(sign) in (CONTROL, UNDECODABLE) for sign in str(named)):
        raise BadInput(
            f"--home {str(named)!r} holds what this terminal's encoding can't show. Name another folder, or set PYTHONUTF8=1."
        )
    try:
        folder = expanded(named).resolve()
    except (RuntimeError, OSError) as error:
        raise BadInput(f"--home {named} leads nowhere ({error}). Name another folder.") from None
    refused = [sign for sign in NOT_FOR_DUCKDB if sign in str(folder)]
    if refused:
        raise BadInput(f"--home {folder} holds a {refused[0]}: DuckDB, which keeps the store, can't open it. Name another folder.")
    return folder
