"""The count of tries once more, beside MLflow: whatever is deleted, moved away or brought back there, no try is forgotten."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

DIGITS = 16


def record_of(home: Path) -> Path:
    """Where it is kept: a line of JSON a tag, the last line of a tag counts."""
    return home / "tries.jsonl"


def read(home: Path) -> dict[str, str]:
    """Tags and their values, as far as their lines are what was written; nothing where there is no record."""
    return dict(pair for pair in map(read_line, lines_of(home)) if pair is not None)


def damaged_lines(home: Path) -> list[int]:
    """Numbers of the lines that aren't what was written."""
    return [number for number, line in enumerate(lines_of(home), 1) if read_line(line) is None]


def add(home: Path, tags: Mapping[str, str]) -> None:
    """Add what isn't there yet at the end, on the disk when this returns. What a kill left of a last line is closed first."""
    file, held = record_of(home), read(home)
    written = "".join(line_of(tag, value) for tag, value in tags.items() if held.get(tag) != value)
    if not written:
        return
    before = file.read_bytes() if file.exists() else b""
    unclosed = b"" if before.endswith(b"\n") or not before else b"\n"
    with file.open("ab", buffering=0) as out:
        out.write(unclosed + written.encode())
        os.fsync(out.fileno())


def write(home: Path, tags: Mapping[str, str]) -> None:
    """Write the record anew, whole or not at all."""
    file = record_of(home)
    unfinished = file.with_suffix(".new")
    with unfinished.open("wb") as out:
        out.write("".join(line_of(tag, value) for tag, value in tags.items()).encode())
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)


def lines_of(home: Path) -> list[bytes]:
    """Every line as it stands."""
    file = record_of(home)
    return file.read_bytes().rstrip(b"\n").split(b"\n") if file.exists() and file.stat().st_size else []


def line_of(tag: str, value: str) -> str:
    """One line."""
    return json.dumps({"tag": tag, "value": value, "sha256": sum_of(tag, value)}) + "\n"


def read_line(line: bytes) -> tuple[str, str] | None:
    """Tag and value of a line; None where it isn't what was written."""
    try:
        said = json.loads(line)
        tag, value, found = str(said["tag"]), str(said["value"]), said["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return (tag, value) if found == sum_of(tag, value) else None


def sum_of(tag: str, value: str) -> str:
    """The first digits of a SHA-256 of both."""
    return sha256(f"{tag}\n{value}".encode()).hexdigest()[:DIGITS]
