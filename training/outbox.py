"""The outbox: results of a training, stored in the home until MLflow has logged them all.

So no training is lost to a locked database or a full disk. Files are Parquet, JSON and skops, each with its SHA-256; reading them
can't run code.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
"""Bytes reserved during a training; the largest training seen so far needs half of them."""


@dataclass(frozen=True)
class PendingTraining:
    """Results of a training that aren't logged yet; `default` is the model that becomes champion of an empty home."""

    training: TrainingRecord
    models: Mapping[str, ModelRecord]
    default: str

    @property
    def target(self) -> Target:
        """The target that all its models forecast."""
        return next(iter(self.models.values())).card.target


def outbox_folder(home: Path) -> Path:
    """The folder of a home that holds the trainings not logged yet."""
    return home / "spool"


@contextmanager
def reserved_disk(home: Path) -> Iterator[None]:
    """Reserve the disk space that the results of a training need. Raises StoreUnusable where there is too little."""
    with TemporaryFile(dir=home) as reserve:
        try:
            reserve.write(bytes(RESERVE))
            reserve.flush()
        except OSError as error:
            raise StoreUnusable(
                f"{home} has no {RESERVE >> 20} MB to keep what a training learns ({error.strerror}): make room, then train."
            ) from error
        yield


@contextmanager
def stored_until_logged(home: Path, pending: PendingTraining) -> Iterator[None]:
    """Store a training until the body of the `with` succeeds; after a failure it stays for the next run. Raises StoreUnusable."""
    folder = outbox_folder(home) / uuid4().hex
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        try:
            write_pending(pending, folder)
        except OSError as error:
            rmtree(unfinished_folder(folder), ignore_errors=True)
            raise StoreUnusable(f"What was learnt can't be kept in {folder.parent}: {error.strerror or error}.") from error
        yield
        remove_pending(folder)


def pending_folders(home: Path) -> Iterator[Path]:
    """Folders of the trainings that earlier runs didn't log, oldest first; each is locked while the caller uses it."""
    locks = {entry.with_suffix(".lock"): entry.stat().st_mtime for entry in outbox_folder(home).glob("*")}
    for lock in sorted(locks, key=lambda path: locks[path]):
        folder = lock.with_suffix("")
        with suppress(Timeout), FileLock(lock, timeout=0):
            rmtree(unfinished_folder(folder), ignore_errors=True)
            if folder.exists():
                yield folder
            else:
                lock.unlink(missing_ok=True)


def damaged_pending(home: Path) -> Iterator[tuple[Path, str]]:
    """Folders that can't be read, each with the reason."""
    for folder in pending_folders(home):
        try:
            read_pending(folder)
        except StoreUnusable as error:
            yield folder, str(error)


def remove_pending(folder: Path) -> None:
    """Remove the folder and the lock of a training that is logged, or damaged."""
    rmtree(folder)
    folder.with_suffix(".lock").unlink(missing_ok=True)


def unfinished_folder(folder: Path) -> Path:
    """The temporary name of a folder while it is written."""
    return folder.with_suffix(".new")


def write_pending(pending: PendingTraining, folder: Path) -> None:
    """Write a training to a temporary folder, then rename it to `folder`."""
    import skops.io

    unfinished = unfinished_folder(folder)
    unfinished.mkdir()
    (unfinished / WORK).write_text(json.dumps(summary(pending)), encoding="utf-8")
    pending.training.inputs.to_parquet(unfinished / "inputs.parquet")
    sample_table(next(iter(pending.models.values())).judged).to_parquet(unfinished / "judged.parquet")
    for number, record in enumerate(pending.models.values()):
        skops.io.dump(record.forecaster, unfinished / f"{number}.skops")
        for name in FRAMES:
            getattr(record, name).to_parquet(unfinished / f"{number}.{name}.parquet")
    sums = {file.name: digest(file) for file in sorted(unfinished.iterdir())}
    (unfinished / SUMS).write_text(json.dumps(sums), encoding="utf-8")
    unfinished.rename(folder)


def summary(pending: PendingTraining) -> dict[str, Any]:
    """Everything of a training that isn't a table or a model, as plain values."""
    training = pending.training
    return {
        "default": pending.default,
        "name": training.name,
        "params": values_as_text(training.params),
        "tags": dict(training.tags),
        "tables": {name: table.to_csv(index=False) for name, table in training.tables.items()},
        "description": training.description,
        "verification": list(training.verification),
        "models": {
            name: {field: getattr(record, field) for field in PLAIN}
            | {"params": values_as_text(record.params), "card": record.card.to_dict()}
            for name, record in pending.models.items()
        },
    }


def values_as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as text, as MLflow stores them."""
    return {name: str(value) for name, value in values.items()}


def read_pending(folder: Path) -> PendingTraining:
    """The training stored in a folder. Raises StoreUnusable, naming the first file whose content changed."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        changed = [name for name, sha in sums.items() if not (folder / name).is_file() or digest(folder / name) != sha]
        if changed:
            raise damage_error(folder / changed[0])
        return parse_pending(folder, sums)
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise damage_error(folder / SUMS) from error


def parse_pending(folder: Path, sums: Mapping[str, str]) -> PendingTraining:
    """The training stored in a folder whose files have the expected SHA-256 (`sums`, by file name)."""
    plain = json.loads((folder / WORK).read_text(encoding="utf-8"))
    judged = read_samples(pd.read_parquet(folder / "judged.parquet"))
    models = {
        name: ModelRecord(
            **{field: fields[field] for field in PLAIN if field != "metrics"},
            metrics=renamed(fields["metrics"]),
            inputs=pd.read_parquet(folder / f"{number}.inputs.parquet"),
            forecasts=pd.read_parquet(folder / f"{number}.forecasts.parquet"),
            rotations=pd.read_parquet(folder / f"{number}.rotations.parquet"),
            card=read_card(json.dumps(fields["card"])),
            forecaster=load(folder / f"{number}.skops", sums[f"{number}.skops"]),
            judged=judged,
        )
        for number, (name, fields) in enumerate(plain["models"].items())
    }
    tables = {name: pd.read_csv(StringIO(text), dtype="str", keep_default_na=False) for name, text in plain["tables"].items()}
    fields_of_training = {field: plain[field] for field in ("name", "params", "tags", "description", "verification")}
    return PendingTraining(
        TrainingRecord(**fields_of_training, tables=tables, inputs=pd.read_parquet(folder / "inputs.parquet")),
        models,
        plain["default"],
    )


def sample_table(samples: Mapping[int, EvaluationSample]) -> pd.DataFrame:
    """Samples as one table: a row per horizon and day, columns with the probability of each model and the outcome."""
    tables = [
        pd.DataFrame({**sample.probabilities, "outcome": sample.outcome}, sample.days).assign(horizon=days)
        for days, sample in samples.items()
    ]
    return pd.concat(tables).rename_axis("day").reset_index()


def read_samples(table: pd.DataFrame) -> dict[int, EvaluationSample]:
    """Samples by horizon (days) from the table of `sample_table`."""
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


def damage_error(file: Path) -> StoreUnusable:
    """The error for a file whose content changed after it was written."""
    return StoreUnusable(f"{file} is damaged: remove {file.parent.name} and its lock from {file.parent.parent} and train again.")
