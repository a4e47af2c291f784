"""Where the runs of a home say that its files lie: MLflow keeps absolute addresses, and a home may be moved or copied."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sources.addresses import folder_at, read_only

EXPERIMENT = "altrally"
STORED = "SELECT artifact_location FROM experiments WHERE name = ?"


def stored_elsewhere(database: Path, artifacts: Path) -> str | None:
    """The address below which runs keep their files, where that isn't `artifacts`; None where it is, or nothing is known."""
    try:
        with closing(sqlite3.connect(read_only(database), uri=True)) as connection:
            found = connection.execute(STORED, (EXPERIMENT,)).fetchone()
    except sqlite3.Error:
        return None
    here = found is None or folder_at(found[0]) in (None, artifacts.resolve())
    return None if here else str(found[0])
