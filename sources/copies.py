"""A second copy of a small SQLite file, kept beside it as of the last change, and brought back when the file is damaged."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

from sources.errors import InUse

LOG = logging.getLogger(__name__)
SOUND = "PRAGMA integrity_check(1)"
NOT_NOW = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_NOMEM")
"""What SQLite says where a file can't be had for the moment, and nothing is wrong with it."""


def unfinished(file: Path) -> Path:
    """Where a file is made before it is moved to its place whole; what a kill left there is removed."""
    place = file.with_suffix(".new")
    for left in file.parent.glob(f"{place.name}*"):
        left.unlink()
    return place


def copy_of(file: Path) -> Path:
    """Where the copy of a file is kept."""
    return file.with_suffix(".copy")


def aside_of(file: Path) -> Path:
    """Where a damaged file is kept."""
    return file.with_name(f"{file.name}.damaged")


def keep_copy(file: Path) -> None:
    """Make the copy what the file is now, all at once; a damaged file leaves the last copy.

    So does a disk without room, which is no reason to fail: what was done is in the file. It is told as a warning.
    """
    try:
        if damage(file):
            return
    except InUse:
        return
    beside = copy_of(file).with_suffix(".copy.new")
    beside.unlink(missing_ok=True)
    try:
        overwrite(beside, file)
        beside.replace(copy_of(file))
    except (sqlite3.Error, OSError) as error:
        beside.unlink(missing_ok=True)
        LOG.warning("%s holds everything, but there is no room for its second copy (%s). The last one stays.", file, error)


def bring_back(file: Path) -> Path | None:
    """Put the copy in the place of the file, which is kept beside it; where. None where there is no sound copy.

    It is written into the same file where SQLite can open that, so that whoever has it open reads the copy from now on.
    """
    copy, aside = copy_of(file), aside_of(file)
    if damage(copy):
        return None
    if file.exists():
        copyfile(file, aside)
    try:
        overwrite(file, copy)
    except sqlite3.Error:
        set_aside(file)
        overwrite(file, copy)
    return aside


def overwrite(file: Path, copy: Path) -> None:
    """Make a database what its copy is."""
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)


def set_aside(file: Path) -> Path:
    """Move a damaged file away; what its database keeps beside it is removed."""
    aside = aside_of(file)
    if file.exists():
        file.replace(aside)
    discard(file)
    return aside


def discard(file: Path) -> None:
    """Remove a database and what it keeps beside it."""
    for ending in ("", "-wal", "-shm", "-journal", ".wal"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def is_passing(error: BaseException | None) -> bool:
    """Whether an error of SQLite says nothing of the file itself: it is locked, protected, or the disk is full."""
    return str(getattr(error, "sqlite_errorname", "")).startswith(NOT_NOW)


def damage(file: Path, *checks: str) -> str | None:
    """What is wrong with an SQLite file, None if nothing is; each of `checks` must find 1.

    Raises InUse where it can't be opened now: that is no damage.
    """
    if not file.exists() or not file.stat().st_size:
        return "it is empty" if file.exists() else "it is gone"
    try:
        with closing(sqlite3.connect(file)) as database:
            verdict = database.execute(SOUND).fetchone()[0]
            failed = [check for check in checks if database.execute(check).fetchone() != (1,)]
    except sqlite3.Error as error:
        if is_passing(error):
            raise InUse(f"{file} is in use, or can't be opened now: {error}.") from error
        return str(error)
    return f"failed: {failed[0]}" if failed else None if verdict == "ok" else str(verdict).splitlines()[0]
