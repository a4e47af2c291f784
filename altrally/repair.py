"""Check a home file by file: damaged files are named and repaired if possible; for the rest, the command to run is given."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock, Timeout

from altrally import api
from altrally.api import tracking_place
from altrally.ledger import Ledger, rebuild
from altrally.ledger_chain import head_file
from altrally.watch import state_in
from core.errors import AltrallyError, Damaged, InUse, MissingData, OtherVersion, StoreUnusable
from core.files import copy_path, damage, damaged_path, discard, remove_abandoned_folders, restore_copy, set_aside, text_copy
from core.home import Home, command
from core.target import ALTCOINS
from models.champion import (
    NEWER_MLFLOW,
    champion_names,
    champion_place,
    damaged_figures,
    damaged_files,
    is_known_schema,
    rows_of,
)
from sources.store import Store
from training import trials
from training.outbox import damaged_pending, remove_pending
from training.tracking import MIGRATED, database_lock, tracking

OLD_SCHEMA = "another version of MLflow left it"
UNFINISHED = (
    ("store.lock", "store.new*"),
    ("mlruns/mlflow.lock", "mlruns/*.new*"),
    ("mlruns/mlflow.lock", "tries.new"),
    ("ledger.lock", "ledger*.new*"),
    ("watch.lock", "watch*.new"),
)
"""Lock that a writer holds, and pattern of the file that a killed writer can leave unfinished."""


@dataclass(frozen=True)
class Finding:
    """A damaged file: why it counts as damaged, what was done, and the command that is left to run (None: nothing)."""

    file: str
    why: str
    done: str
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """The finding as a dict of its fields."""
        return asdict(self)


def repair(home: Home) -> list[Finding]:
    """Check every file of a home and repair what can be repaired. Files in use by another process are left as they are."""
    checks = (
        stale_files,
        check_store,
        clock_of_store,
        check_trial_record,
        check_runs,
        check_pending_trainings,
        check_ledger,
        check_watch_state,
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += list(check(home))
        except InUse as error:
            again = command(home.folder, "repair")
            findings.append(Finding(str(home.folder), str(error).rstrip("."), "left as it is", again))
    return list(dict.fromkeys(findings))


def findings_text(findings: Sequence[Finding]) -> str:
    """The findings as text, one line per file."""
    return (
        "\n".join(f"{finding.file}: {finding.why}. {finding.done}." for finding in findings) or "Every file is as it was written."
    )


def train_again(home: Home, name: str) -> str:
    """The commands that give the target registered as `name` a champion with whole files."""
    words = "train" if name == ALTCOINS.registered_model else f"train --target FILE (that of {name})"
    return (
        command(home.folder, words)
        + "; if that doesn't refresh the champion, "
        + command(home.folder, "promote RUN --force --why TEXT")
    )


def stale_files(home: Home) -> Iterator[Finding]:
    """Remove unfinished files that a killed process left; those that another process is writing stay."""
    remove_abandoned_folders(home.folder)
    unfinished = ((home.folder / lock, file) for lock, pattern in UNFINISHED for file in sorted(home.folder.glob(pattern)))
    for lock, file in unfinished:
        try:
            with FileLock(lock, timeout=0):
                file.unlink(missing_ok=True)
            yield Finding(str(file), "it was never finished", "removed", None)
        except Timeout:
            yield Finding(str(file), "another process is writing it", "left as it is", command(home.folder, "repair"))


def check_store(home: Home) -> Iterator[Finding]:
    """Check that every row of the store is as it was written; a damaged store is moved aside."""
    if not home.store.exists():
        return
    market = "PROVIDER"
    try:
        with Store.open(home.store, read_only=True) as store:
            market = store.market or market
            why = store.damage()
    except MissingData:
        return
    except InUse:
        raise
    except Damaged as error:
        why = str(error).rstrip(".")
    except AltrallyError as error:
        yield Finding(str(home.store), str(error).rstrip("."), "left as it is: that is no damage", command(home.folder, "repair"))
        return
    if why:
        aside = set_aside(home.store)
        fetch_again = command(home.folder, f"fetch --provider {market}{' --path DIR' if market == 'files' else ''}")
        yield Finding(str(home.store), why, f"moved to {aside.name}", fetch_again)


def clock_of_store(home: Home) -> Iterator[Finding]:
    """Date rows that were stored under a clock that was ahead as fetched now."""
    if not home.store.exists():
        return
    moment = api.now()
    try:
        with Store.open(home.store) as store:
            count = store.redate(moment)
    except InUse:
        raise
    except StoreUnusable:
        return  # `check_store` reports it
    if count:
        done = f"dated as fetched on {moment:%Y-%m-%d}: known by then, and no later"
        yield Finding(str(home.store), f"{count} rows were stored under a clock that was ahead", done, None)


def check_runs(home: Home) -> Iterator[Finding]:
    """Check the database of runs, every run in it, and the files of every run; a damaged database is restored from its copy."""
    if home.tracking_server or not home.artifacts.parent.exists():
        return
    try:
        require_runs(home)
    except InUse:
        raise
    except OtherVersion as error:
        if (schema := schema_of(home.database)) == schema_of(copy_path(home.database)):
            known = all(is_known_schema(version) for (version,) in schema)
            way = f"mlflow db upgrade {quote(home.tracking_uri)}" if known else NEWER_MLFLOW
            yield Finding(str(home.database), OLD_SCHEMA, "left as it is", way)
            return
        yield restore_runs(home, str(error))
    except Damaged as error:
        yield restore_runs(home, str(error))
    except AltrallyError as error:
        yield Finding(str(home.database), str(error).rstrip("."), "left as it is: it is sound", command(home.folder, "repair"))
        return
    yield from check_champions(home)
    yield from check_artifacts(home)


def restore_runs(home: Home, why: str) -> Finding:
    """Restore the database of runs from its copy if that is whole, else move it aside. The damaged file is kept beside it."""
    aside = restore_copy(home.database)
    if aside is not None and failure(partial(require_runs, home)) is None:
        return Finding(str(home.database), why, f"its copy was brought back, the damaged one is {aside.name}", None)
    if aside is None:
        aside = set_aside(home.database)
    else:
        discard(home.database)  # it is the copy by now
    return Finding(str(home.database), why, f"moved to {aside.name}: its copy is no better", command(home.folder, "train"))


def require_runs(home: Home) -> None:
    """Raise Damaged where SQLite or a hash finds the database of runs damaged; may raise InUse, OtherVersion or StoreUnusable."""
    if not home.database.exists() and not any(home.artifacts.glob("*")):
        return
    why = damage(home.database, MIGRATED)
    if why:
        raise Damaged(why)
    changed = damaged_figures(home.database)
    with tracking(tracking_place(home)):
        pass
    if changed:
        raise Damaged(f"run {changed[0]} doesn't say what was logged")


def schema_of(database: Path) -> list[tuple[Any, ...]]:
    """The version of MLflow's tables in a database; empty where it can't be read."""
    try:
        return rows_of(database, "SELECT version_num FROM alembic_version")
    except StoreUnusable:
        return []


def check_champions(home: Home) -> Iterator[Finding]:
    """Check that each target's champion can be looked up: its run may have been deleted from a sound database."""
    for name in champion_names(home.database) if home.database.exists() else ():
        why = failure(partial(champion_place, home.tracking_uri, name))
        if why is not None:
            yield Finding(
                str(home.database), f"champion of {name}: {why.rstrip('.')}", "the database is sound", train_again(home, name)
            )


def check_artifacts(home: Home) -> Iterator[Finding]:
    """Check that every file of a run is the one that was logged; only those of champions need a new training."""
    if not home.database.exists():
        return
    names = [name for name in champion_names(home.database) if failure(partial(champion_place, home.tracking_uri, name)) is None]
    champions = {champion_place(home.tracking_uri, name).run_id: name for name in names}
    for run, file in damaged_files(home.database, home.artifacts):
        train = train_again(home, champions[run]) if run in champions else None
        yield Finding(str(file), f"it isn't what run {run} logged", "there is no other copy", train)


def check_trial_record(home: Home) -> Iterator[Finding]:
    """Check every line of the record of trials; damaged lines are replaced from the experiment in MLflow."""
    lines = trials.damaged_lines(home.folder)
    if lines:
        with database_lock(tracking_place(home)):
            trials.write(home.folder, trials.read(home.folder))
        file = trials.record_of(home.folder)
        yield Finding(str(file), f"line {lines[0]} isn't as it was written", "written anew from its whole lines and the runs", None)


def check_pending_trainings(home: Home) -> Iterator[Finding]:
    """Remove trainings that wait to be logged and can't be read."""
    for folder, why in damaged_pending(home.folder):
        remove_pending(folder)
        yield Finding(str(folder), why, "removed", command(home.folder, "train"))


def check_ledger(home: Home) -> Iterator[Finding]:
    """Check the chain of the ledger, and its text copy; each is written again from the other where it is damaged."""
    copy = text_copy(home.ledger)
    if not any(file.exists() for file in (home.ledger, head_file(home.ledger), copy)):
        return
    why = failure(partial(with_ledger, home, Ledger.verify))
    if why is not None:
        unrepaired = failure(lambda: rebuild(home.ledger))
        if unrepaired is None:
            yield Finding(str(home.ledger), why, "written anew from its mirror", None)
        else:
            done = "nothing: its mirror doesn't hold all of it either"
            yield Finding(str(home.ledger), why, done, "bring back a copy that is whole")
        return
    why = failure(partial(with_ledger, home, Ledger.verify_mirror))
    if why is not None:
        with_ledger(home, Ledger.write_mirror)
        done = f"written anew from the ledger, whose chain is whole; the former one is {damaged_path(copy).name}"
        yield Finding(str(copy), why, done, None)


def with_ledger(home: Home, step: Callable[[Ledger], object]) -> None:
    """Open the ledger of a home and call `step` with it."""
    with Ledger.open(home.ledger) as ledger:
        step(ledger)


def check_watch_state(home: Home) -> Iterator[Finding]:
    """Remove state files of `watch` that can't be read."""
    for file in sorted(home.folder.glob("watch*.json")):
        why = failure(partial(state_in, file))
        if why is not None:
            file.unlink()
            yield Finding(str(file), why, "removed: the next watch begins anew from the ledger", None)


def failure(step: Callable[[], object]) -> str | None:
    """The message with which `step` fails, None if it succeeds. Raises InUse."""
    try:
        step()
    except InUse:
        raise
    except AltrallyError as error:
        return str(error)
    return None
