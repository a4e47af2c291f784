"""Where a process keeps what is only for a while, and how the next one knows that its owner died."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from filelock import FileLock, Timeout


def scratch(home: Path) -> Path:
    """The folder of all rooms of a home."""
    return home / "scratch"


@contextmanager
def room(home: Path) -> Iterator[str]:
    """A folder for all that is temporary, other libraries' files included, while a lock says that its owner lives; its name.

    A kill leaves it to `clear`: in the system's own folder nobody would know whose it was.
    """
    name = uuid4().hex
    scratch(home).mkdir(parents=True, exist_ok=True)
    with FileLock(lock_of(home, name)):
        folder = scratch(home) / name
        folder.mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield name
        finally:
            tempfile.tempdir = before
            rmtree(folder, ignore_errors=True)
            lock_of(home, name).unlink(missing_ok=True)


def is_left(home: Path, name: str) -> bool:
    """Whether a room is there and nobody lives in it any more."""
    if not lock_of(home, name).exists():
        return False
    try:
        with FileLock(lock_of(home, name), timeout=0):
            return True
    except Timeout:
        return False


def is_occupied(home: Path) -> bool:
    """Whether any room has an owner that lives."""
    return any(not is_left(home, lock.stem) for lock in scratch(home).glob("*.lock"))


def clear(home: Path) -> int:
    """Remove the rooms of dead owners; how many."""
    left = [lock.stem for lock in scratch(home).glob("*.lock") if is_left(home, lock.stem)]
    for name in left:
        rmtree(scratch(home) / name, ignore_errors=True)
        lock_of(home, name).unlink(missing_ok=True)
    return len(left)


def lock_of(home: Path, name: str) -> Path:
    """Held for as long as the owner of a room lives."""
    return scratch(home) / f"{name}.lock"
