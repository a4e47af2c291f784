"""File safety: a second copy of a SQLite file, a text mirror that only grows, and folders that are only for a while."""

import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copyfile, rmtree
from uuid import uuid4

from filelock import FileLock, Timeout

from core.errors import InUse

LOG = logging.getLogger(__name__)
SOUND = "PRAGMA integrity_check(1)"
NOT_NOW = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_FULL", "SQLITE_NOMEM")
"""What SQLite says where a file can't be had for the moment, and nothing is wrong with it."""


def unfinished_path(file: Path) -> Path:
    """Where a file is made before it is moved to its place whole; what a kill left there is removed."""
    path = file.with_suffix(".new")
    for leftover in file.parent.glob(f"{path.name}*"):
        leftover.unlink()
    return path


def copy_path(file: Path) -> Path:
    """Where the copy of a file is kept."""
    return file.with_suffix(".copy")


def damaged_path(file: Path) -> Path:
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
    beside = copy_path(file).with_suffix(".copy.new")
    beside.unlink(missing_ok=True)
    try:
        overwrite(beside, file)
        beside.replace(copy_path(file))
    except (sqlite3.Error, OSError) as error:
        beside.unlink(missing_ok=True)
        LOG.warning("%s holds everything, but there is no room for its second copy (%s). The last one stays.", file, error)


def restore_copy(file: Path) -> Path | None:
    """Put the copy in the place of the file, which is kept beside it; where. None where there is no sound copy.

    It is written into the same file where SQLite can open that, so that whoever has it open reads the copy from now on.
    """
    copy, aside = copy_path(file), damaged_path(file)
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
    aside = damaged_path(file)
    if file.exists():
        file.replace(aside)
    discard(file)
    return aside


def discard(file: Path) -> None:
    """Remove a database and what it keeps beside it."""
    for ending in ("", "-wal", "-shm", "-journal", ".wal"):
        file.with_name(file.name + ending).unlink(missing_ok=True)


def is_temporary_error(error: BaseException | None) -> bool:
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
        if is_temporary_error(error):
            raise InUse(f"{file} is in use, or can't be opened now: {error}.") from error
        return str(error)
    return f"failed: {failed[0]}" if failed else None if verdict == "ok" else str(verdict).splitlines()[0]


LONGEST = 2**20


def text_copy(ledger: Path) -> Path:
    """Where it is kept: one line of JSON each, as written."""
    return ledger.with_suffix(".jsonl")


def append_missing_lines(ledger: Path, after: Callable[[int], Iterable[str]]) -> None:
    """Add the lines that aren't there yet; `after(n)` hands out those after the n-th. On the disk when this returns."""
    with text_copy(ledger).open("a+b") as file:
        last = last_whole_line(file.fileno())
        file.write(b"".join(text.encode() + b"\n" for text in after(last)))
        file.flush()
        os.fsync(file.fileno())


def last_whole_line(descriptor: int) -> int:
    """Number of the last whole line; what a kill left of another is cut off. Damaged, it begins anew."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, LONGEST, max(0, size - LONGEST))
    whole = tail[: tail.rfind(b"\n") + 1]
    os.ftruncate(descriptor, size - len(tail) + len(whole))
    try:
        return int(json.loads(whole.splitlines()[-1])["line"]) if whole else 0
    except (ValueError, KeyError, TypeError):
        os.ftruncate(descriptor, 0)
        return 0


def text_copy_lines(ledger: Path) -> Iterator[str]:
    """Every line as written, up to the first that isn't whole."""
    if not text_copy(ledger).exists():
        return
    with text_copy(ledger).open("rb") as file:
        for line in file:
            try:
                text = line.decode()
                json.loads(text)
            except ValueError:
                return
            yield text.removesuffix("\n")


def temporary_folder(home: Path) -> Path:
    """The folder of all rooms of a home."""
    return home / "scratch"


@contextmanager
def temporary_root(home: Path) -> Iterator[str]:
    """A folder for all that is temporary, other libraries' files included, while a lock says that its owner lives; its name.

    A kill leaves it to `remove_abandoned_folders`: in the system's own folder nobody would know whose it was.
    """
    name = uuid4().hex
    temporary_folder(home).mkdir(parents=True, exist_ok=True)
    with FileLock(lock_path(home, name)):
        folder = temporary_folder(home) / name
        folder.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield name
        finally:
            tempfile.tempdir = before
            rmtree(folder, ignore_errors=True)
            lock_path(home, name).unlink(missing_ok=True)


def is_abandoned(home: Path, name: str) -> bool:
    """Whether a room is there and nobody lives in it any more."""
    if not lock_path(home, name).exists():
        return False
    try:
        with FileLock(lock_path(home, name), timeout=0):
            return True
    except Timeout:
        return False


def is_any_in_use(home: Path) -> bool:
    """Whether any room has an owner that lives."""
    return any(not is_abandoned(home, lock.stem) for lock in temporary_folder(home).glob("*.lock"))


def remove_abandoned_folders(home: Path) -> int:
    """Remove the rooms of dead owners; how many."""
    abandoned = [lock.stem for lock in temporary_folder(home).glob("*.lock") if is_abandoned(home, lock.stem)]
    for name in abandoned:
        rmtree(temporary_folder(home) / name, ignore_errors=True)
        lock_path(home, name).unlink(missing_ok=True)
    return len(abandoned)


def lock_path(home: Path, name: str) -> Path:
    """Held for as long as the owner of a room lives."""
    return temporary_folder(home) / f"{name}.lock"
