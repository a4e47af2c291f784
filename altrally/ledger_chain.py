"""The hash chain of the ledger: how a line is written and hashed, the file that holds its head, its lock and its errors."""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from core.errors import InUse, LedgerBroken, StoreUnusable

BEGINNING = "0" * 64
"""Stands for the hash of the line before the first."""

LOCK_SECONDS = 30


class Head(NamedTuple):
    """The number of lines and the hash of the last one. Whoever keeps it can tell whether any line was changed."""

    lines: int
    hash: str


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, the one form of a line. Raises ValueError where a number isn't finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def chained(previous: str, body: bytes) -> str:
    """SHA-256 over the hash of the line before, a line feed, and the line."""
    return hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()


def head_file(path: Path) -> Path:
    """The file that holds the head of the ledger at `path`."""
    return path.with_suffix(".head")


def read_head(path: Path) -> Head:
    """The head as last written. Raises LedgerBroken where its file is missing or damaged."""
    try:
        fields = json.loads(head_file(path).read_text(encoding="utf-8"))
        return Head(int(fields["lines"]), str(fields["hash"]))
    except FileNotFoundError:
        raise broken(path, f"its head record {head_file(path).name} is gone") from None
    except (ValueError, KeyError, TypeError):
        raise broken(path, f"its head record {head_file(path).name} is damaged") from None


def write_head(path: Path, head: Head) -> None:
    """Write the head of the ledger at `path`."""
    write_whole(head_file(path), canonical(head._asdict()) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a small file in one step: after a kill it holds the former text or the new one."""
    unfinished = path.with_name(path.name + ".new")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def require_continued(path: Path, head: Head, last: Head, hash_at_head: str | None) -> None:
    """Raise LedgerBroken where the lines don't reach the head. A kill may leave the head behind the lines, never ahead of them."""
    if last.lines < head.lines:
        raise broken(path, f"line {last.lines + 1} is missing, as is all to line {head.lines}")
    if hash_at_head != head.hash:
        raise broken(path, f"line {head.lines} isn't the one its head record names")


def broken(path: Path, why: str) -> LedgerBroken:
    """The error of a ledger that isn't what was written."""
    return LedgerBroken(
        f"{path} is broken: {why}. Run `altrally repair`; if that can't help, bring back a copy that is whole, or move "
        f"{path.name} and {head_file(path).name} away together to begin a new record."
    )


@contextmanager
def ledger_lock(path: Path) -> Iterator[None]:
    """Hold the lock of writers, so that one process at a time appends lines and writes the head. Raises InUse."""
    try:
        with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise InUse(f"{path} has been in use by another altrally process for {LOCK_SECONDS} seconds; try again.") from None


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the disk into StoreUnusable or LedgerBroken, of one line each."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        why = str(error).splitlines()[0]
        raise StoreUnusable(f"{path} can't be read or written ({why}), and what isn't recorded isn't issued.") from error
    except ValueError as error:
        raise broken(path, f"a line isn't JSON ({error})") from error
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise broken(path, str(error).splitlines()[0]) from error
