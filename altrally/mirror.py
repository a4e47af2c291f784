"""The lines of a ledger once more, as plain text that only grows: damage to the database never reaches what stands here."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LONGEST = 2**20


def mirror(ledger: Path) -> Path:
    """Where it is kept: one line of JSON each, as written."""
    return ledger.with_suffix(".jsonl")


def follow(ledger: Path, after: Callable[[int], Iterable[str]]) -> None:
    """Add the lines that aren't there yet; `after(n)` hands out those after the n-th. On the disk when this returns."""
    with mirror(ledger).open("a+b") as file:
        last = settled(file.fileno())
        file.write(b"".join(text.encode() + b"\n" for text in after(last)))
        file.flush()
        os.fsync(file.fileno())


def settled(descriptor: int) -> int:
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


def mirrored(ledger: Path) -> Iterator[str]:
    """Every line as written, up to the first that isn't whole."""
    if not mirror(ledger).exists():
        return
    with mirror(ledger).open("rb") as file:
        for line in file:
            try:
                text = line.decode()
                json.loads(text)
            except ValueError:
                return
            yield text.removesuffix("\n")
