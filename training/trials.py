"""A second copy of the trial counts, in a file of the home: they survive the deletion or replacement of MLflow's database."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

DIGITS = 16


def record_of(home: Path) -> Path:
    """The file of the trial counts: a line of JSON per tag; the last line of a tag counts."""
    return home / "tries.jsonl"


def read(home: Path) -> dict[str, str]:
    """Values by tag, from all undamaged lines; empty without a file."""
    return dict(pair for pair in map(read_line, lines_of(home)) if pair is not None)


def damaged_lines(home: Path) -> list[int]:
    """Numbers of the damaged lines, counted from 1."""
    return [number for number, line in enumerate(lines_of(home), 1) if read_line(line) is None]


def add(home: Path, tags: Mapping[str, str]) -> None:
    """Append new tags and changed values, and flush them to disk. An unfinished last line is ended first."""
    file, known = record_of(home), read(home)
    written = "".join(line_of(tag, value) for tag, value in tags.items() if known.get(tag) != value)
    if not written:
        return
    before = file.read_bytes() if file.exists() else b""
    unclosed = b"" if before.endswith(b"\n") or not before else b"\n"
    with file.open("ab", buffering=0) as out:
        out.write(unclosed + written.encode())
        os.fsync(out.fileno())


def write(home: Path, tags: Mapping[str, str]) -> None:
    """Replace the whole file, completely or not at all."""
    file = record_of(home)
    unfinished = file.with_suffix(".new")
    with unfinished.open("wb") as out:
        out.write("".join(line_of(tag, value) for tag, value in tags.items()).encode())
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)


def lines_of(home: Path) -> list[bytes]:
    """All lines of the file, unparsed."""
    file = record_of(home)
    return file.read_bytes().rstrip(b"\n").split(b"\n") if file.exists() and file.stat().st_size else []


def line_of(tag: str, value: str) -> str:
    """The line that stores a tag."""
    return json.dumps({"tag": tag, "value": value, "sha256": sum_of(tag, value)}) + "\n"


def read_line(line: bytes) -> tuple[str, str] | None:
    """Tag and value of a line; None where it is damaged."""
    try:
        fields = json.loads(line)
        tag, value, checksum = str(fields["tag"]), str(fields["value"]), fields["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return (tag, value) if checksum == sum_of(tag, value) else None


def sum_of(tag: str, value: str) -> str:
    """The first 16 hex digits of the SHA-256 of tag and value."""
    return sha256(f"{tag}\n{value}".encode()).hexdigest()[:DIGITS]
