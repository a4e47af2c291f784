"""What a training learnt, kept on the disk until MLflow has it all: a database that is locked or full costs no training.

Plain tables, JSON and skops, each file with its SHA-256; nothing here could run code when it is read.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import pandas as pd
from filelock import FileLock, Timeout

from core.errors import StoreUnusable
from core.target import Target
from evaluation.sample import EvaluationSample
from models.card import read_card
from models.metric_names import renamed
from models.saving import digest, load
from training.records import ModelRecord, TrainingRecord

WORK, SUMS = "work.json", "sums.json"
PLAIN = ("params", "metrics", "tags", "independent", "every_picture", "description", "texts")
FRAMES = ("inputs", "forecasts", "rotations")
RESERVE = 32 * 2**20
"""Bytes kept free while a training learns; of the largest one known here half is needed."""


@dataclass(frozen=True)
class PendingTraining:
    """A training that has learnt and isn't logged yet; `default` is the model an empty home makes champion."""

    training: TrainingRecord
    models: Mapping[str, ModelRecord]
    default: str

    @property
    def target(self) -> Target:
        """The question that all its models answer."""
        return next(iter(self.models.values())).card.target


def outbox_folder(home: Path) -> Path:
    """Where a home keeps what isn't logged yet."""
    return home / "spool"


@contextmanager
def reserved_disk(home: Path) -> Iterator[None]:
    """Hold on to enough of the disk to keep what will be learnt. Raises StoreUnusable where there isn't as much."""
    with TemporaryFile(dir=home) as room:
        try:
            room.write(bytes(RESERVE))
            room.flush()
        except OSError as error:
            raise StoreUnusable(
                f"{home} has no {RESERVE >> 20} MB to keep what a training learns ({error.strerror}): make room, then train."
            ) from error
        yield


@contextmanager
def kept_until_logged(home: Path, work: PendingTraining) -> Iterator[None]:
    """Keep `work` until what is done meanwhile has succeeded, and for the next run if it hasn't. Raises StoreUnusable."""
    folder = outbox_folder(home) / uuid4().hex
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        try:
            write(work, folder)
        except OSError as error:
            rmtree(unfinished(folder), ignore_errors=True)
            raise StoreUnusable(f"What was learnt can't be kept in {folder.parent}: {error.strerror or error}.") from error
        yield
        forget(folder)


def pending_folders(home: Path) -> Iterator[Path]:
    """What earlier runs learnt and didn't log, oldest first, each locked for as long as it is looked at."""
    locks = {entry.with_suffix(".lock"): entry.stat().st_mtime for entry in outbox_folder(home).glob("*")}
    for lock in sorted(locks, key=lambda one: locks[one]):
        folder = lock.with_suffix("")
        try:
            with FileLock(lock, timeout=0):
                rmtree(unfinished(folder), ignore_errors=True)
                if folder.exists():
                    yield folder
                else:
                    lock.unlink(missing_ok=True)
        except Timeout:
            continue


def damaged_pending(home: Path) -> Iterator[tuple[Path, str]]:
    """What is kept and can't be read, with why."""
    for folder in pending_folders(home):
        try:
            read(folder)
        except StoreUnusable as error:
            yield folder, str(error)


def forget(folder: Path) -> None:
    """It is logged."""
    rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def unfinished(folder: Path) -> Path:
    """Where a folder is written before it is whole."""
    return folder.with_suffix(".new")


def write(work: PendingTraining, folder: Path) -> None:
    """Write all of it beside its place, then move it there."""
    import skops.io

    place = unfinished(folder)
    place.mkdir()
    (place / WORK).write_text(json.dumps(summary(work)), encoding="utf-8")
    work.training.inputs.to_parquet(place / "inputs.parquet")
    sample_table(next(iter(work.models.values())).judged).to_parquet(place / "judged.parquet")
    for number, record in enumerate(work.models.values()):
        skops.io.dump(record.forecaster, place / f"{number}.skops")
        for name in FRAMES:
            getattr(record, name).to_parquet(place / f"{number}.{name}.parquet")
    sums = {file.name: digest(file) for file in sorted(place.iterdir())}
    (place / SUMS).write_text(json.dumps(sums), encoding="utf-8")
    place.rename(folder)


def summary(work: PendingTraining) -> dict[str, Any]:
    """All of it that isn't a table or a model."""
    training = work.training
    return {
        "default": work.default,
        "name": training.name,
        "params": values_as_text(training.params),
        "tags": dict(training.tags),
        "tables": {name: table.to_csv(index=False) for name, table in training.tables.items()},
        "description": training.description,
        "verification": list(training.verification),
        "models": {name: record_summary(record) for name, record in work.models.items()},
    }


def record_summary(record: ModelRecord) -> dict[str, Any]:
    """The same of one model."""
    fields = {field: getattr(record, field) for field in PLAIN}
    return fields | {"params": values_as_text(record.params), "card": record.card.to_dict()}


def values_as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them."""
    return {name: str(value) for name, value in values.items()}


def read(folder: Path) -> PendingTraining:
    """What was kept. Raises StoreUnusable, naming the file that isn't what was written."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        wrong = [name for name, sha in sums.items() if not (folder / name).is_file() or digest(folder / name) != sha]
        if wrong:
            raise damaged(folder / wrong[0])
        return read_sound(folder, sums)
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise damaged(folder / SUMS) from error


def read_sound(folder: Path, sums: Mapping[str, str]) -> PendingTraining:
    """What was kept in files that are as they were written."""
    plain = json.loads((folder / WORK).read_text(encoding="utf-8"))
    judged = read_samples(pd.read_parquet(folder / "judged.parquet"))
    models = {
        name: ModelRecord(
            **{field: fields[field] for field in PLAIN if field != "metrics"},
            metrics=renamed(fields["metrics"]),
            **read_frames(folder, number),
            card=read_card(json.dumps(fields["card"])),
            forecaster=load(folder / f"{number}.skops", sums[f"{number}.skops"]),
            judged=judged,
        )
        for number, (name, fields) in enumerate(plain["models"].items())
    }
    tables = {name: pd.read_csv(StringIO(text), dtype="str", keep_default_na=False) for name, text in plain["tables"].items()}
    same = {field: plain[field] for field in ("name", "params", "tags", "description", "verification")}
    return PendingTraining(
        TrainingRecord(**same, tables=tables, inputs=pd.read_parquet(folder / "inputs.parquet")), models, plain["default"]
    )


def read_frames(folder: Path, number: int) -> dict[str, Any]:
    """The tables of one model."""
    return {frame: pd.read_parquet(folder / f"{number}.{frame}.parquet") for frame in FRAMES}


def sample_table(judged: Mapping[int, EvaluationSample]) -> pd.DataFrame:
    """One row a horizon and day: probabilities by model, outcome."""
    tables = [
        pd.DataFrame({**one.probabilities, "outcome": one.outcome}, one.days).assign(horizon=days) for days, one in judged.items()
    ]
    return pd.concat(tables).rename_axis("day").reset_index()


def read_samples(table: pd.DataFrame) -> dict[int, EvaluationSample]:
    """Back from the table."""
    parts = {int(str(days)): rows.drop(columns="horizon").set_index("day") for days, rows in table.groupby("horizon")}
    return {
        days: EvaluationSample(
            days,
            pd.DatetimeIndex(rows.index),
            {str(name): rows[name].to_numpy() for name in rows.columns.drop("outcome")},
            rows["outcome"].to_numpy(),
        )
        for days, rows in parts.items()
    }


def damaged(file: Path) -> StoreUnusable:
    """The error of every file that isn't what was written."""
    return StoreUnusable(f"{file} is damaged: remove {file.parent.name} and its lock from {file.parent.parent} and train again.")
