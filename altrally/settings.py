"""Where a user's things live. Everything altrally writes is under one home."""

import re
from dataclasses import dataclass
from pathlib import Path

from sources.errors import BadInput
from sources.target import Target

DEFAULT_HOME = Path("~/.altrally")
DEMO_HOME = Path("~/.altrally-demo")
PASSWORD_IN_ADDRESS = re.compile(r"://[^/@]*:[^/]*@")


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
        return self.tracking_server or f"sqlite:///{self.database}"


def open_home(folder: Path | str | None = None, tracking_server: str | None = None, *, fallback: Path = DEFAULT_HOME) -> Home:
    """The home a user named, else `fallback`; nothing is created. With an MLflow `tracking_server` runs are kept there.

    Raises BadInput where the server's address holds a password: addresses are shown in messages.
    """
    if tracking_server and PASSWORD_IN_ADDRESS.search(tracking_server):
        raise BadInput(
            "The address of the tracking server holds a password. Put it into MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD (of a database: PGUSER and PGPASSWORD) and leave it out of the address."
        )
    return Home(Path(folder or fallback).expanduser().resolve(), tracking_server or None)
