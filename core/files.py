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
    """Path of the temporary file that is written first and then renamed to `file`. What a killed process left there is removed."""
    path = file.with_suffix(".new")
    for leftover in file.parent.glob(f"{path.name}*"):
        leftover.unlink()
    return path


def copy_path(file: Path) -> Path:
    """Path of the copy of a file."""
    return file.with_suffix(".copy")


def damaged_path(file: Path) -> Path:
    """Path to which a damaged file is moved."""
    return file.with_name(f"{file.name}.damaged")


def keep_copy(file: Path) -> None:
    """Replace the copy of a file by what the file is now, in one step. The last copy stays if the file is damaged.

    The last copy stays on a full disk too, with a warning and no error: the file itself holds everything.
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
    """Restore a file from its copy. Returns the path to which the damaged file was moved, None if there is no sound copy.

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
    """Write the content of a copy into a database."""
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)


def set_aside(file: Path) -> Path:
    """Move a damaged database away and remove the files SQLite keeps beside it. Returns the new path."""
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
    """Whether an SQLite error says nothing about the file: it is locked or protected, or the disk is full."""
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
    """Path of the text copy of a ledger: one line of JSON per entry."""
    return ledger.with_suffix(".jsonl")


def append_missing_lines(ledger: Path, after: Callable[[int], Iterable[str]]) -> None:
    """Append to the text copy the lines it doesn't hold yet. `after(n)` returns those after line n. They are on disk on return."""
    with text_copy(ledger).open("a+b") as file:
        last = last_whole_line(file.fileno())
        file.write(b"".join(text.encode() + b"\n" for text in after(last)))
        file.flush()
        os.fsync(file.fileno())


def last_whole_line(descriptor: int) -> int:
    """Number of the last whole line. A line cut off by a kill is removed; a damaged file is emptied (0)."""
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
    """Lines of the text copy of a ledger, up to the first that isn't whole."""
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
    """The folder that holds the temporary folders of a home."""
    return home / "scratch"


@contextmanager
def temporary_root(home: Path) -> Iterator[str]:
    """Name of a new temporary folder, used by other libraries too, for as long as the context lasts. A lock marks it as in use.

    A kill leaves it to `remove_abandoned_folders`: in the folder of the system its owner would be unknown.
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
    """Whether a temporary folder has a lock that no process holds."""
    if not lock_path(home, name).exists():
        return False
    try:
        with FileLock(lock_path(home, name), timeout=0):
            return True
    except Timeout:
        return False


def is_any_in_use(home: Path) -> bool:
    """Whether any temporary folder is in use by a process."""
    return any(not is_abandoned(home, lock.stem) for lock in temporary_folder(home).glob("*.lock"))


def remove_abandoned_folders(home: Path) -> int:
    """Remove the temporary folders whose process has ended. Returns how many."""
    abandoned = [lock.stem for lock in temporary_folder(home).glob("*.lock") if is_abandoned(home, lock.stem)]
    for name in abandoned:
        rmtree(temporary_folder(home) / name, ignore_errors=True)
        lock_path(home, name).unlink(missing_ok=True)
    return len(abandoned)


def lock_path(home: Path, name: str) -> Path:
    """Path of the lock that a process holds while it uses a temporary folder."""
    return temporary_folder(home) / f"{name}.lock"
