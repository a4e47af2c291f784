"""Go through a home file by file: what is damaged is named, what can be brought back is, and for the rest the command is said."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from filelock import FileLock, Timeout

from altrally import api
from altrally.api import place_of
from altrally.ledger import Ledger, head_file, rebuild
from altrally.watch import state_in
from core.errors import AltrallyError, Damaged, InUse, MissingData, OtherVersion, StoreUnusable
from core.files import copy_path, damage, damaged_path, discard, remove_abandoned_folders, restore_copy, set_aside, text_copy
from core.home import Home, command
from core.target import ALTCOINS
from models.champion import champion_names, champion_place, damaged_figures, damaged_files, rows_of
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
"""What a kill can leave half written, by the lock that whoever writes it holds."""


@dataclass(frozen=True)
class Finding:
    """A file that isn't what was written: why, what was done, and the command that is left to run (None: nothing)."""

    file: str
    why: str
    done: str
    next: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain."""
        return asdict(self)


def repair(home: Home) -> list[Finding]:
    """Check every file of a home, and mend what can be mended; what another process is at work in is left to it."""
    checks = (stale_files, store, clock_of_store, tries, runs, works, ledger, state)
    return list(dict.fromkeys(finding for check in checks for finding in findings_of(check, home)))


def findings_of(check: Callable[[Home], Iterator[Finding]], home: Home) -> list[Finding]:
    """What a check found; what another process is at work in isn't damaged, and is left to it."""
    try:
        return list(check(home))
    except InUse as error:
        return [Finding(str(home.folder), str(error).rstrip("."), "left as it is", command(home.folder, "repair"))]


def findings_text(findings: Sequence[Finding]) -> str:
    """A line a file, for people."""
    return (
        "\n".join(f"{finding.file}: {finding.why}. {finding.done}." for finding in findings) or "Every file is as it was written."
    )


def fetch_again(home: Home, market: str) -> str:
    """What fills a store anew."""
    return command(home.folder, f"fetch --provider {market}{' --path DIR' if market == 'files' else ''}")


def train_again(home: Home, name: str) -> str:
    """What gives the target registered under a name a champion whose files are whole."""
    words = "train" if name == ALTCOINS.registered_model else f"train --target FILE (that of {name})"
    return (
        command(home.folder, words)
        + "; if that doesn't refresh the champion, "
        + command(home.folder, "promote RUN --force --why TEXT")
    )


def stale_files(home: Home) -> Iterator[Finding]:
    """What a kill left half written, and not what another process is writing."""
    remove_abandoned_folders(home.folder)
    for lock, pattern in UNFINISHED:
        for file in sorted(home.folder.glob(pattern)):
            try:
                with FileLock(home.folder / lock, timeout=0):
                    file.unlink(missing_ok=True)
                yield Finding(str(file), "it was never finished", "removed", None)
            except Timeout:
                yield Finding(str(file), "another process is writing it", "left as it is", command(home.folder, "repair"))


def store(home: Home) -> Iterator[Finding]:
    """Every row says what was stored."""
    if not home.store.exists():
        return
    market = "PROVIDER"
    try:
        with Store.open(home.store, read_only=True) as opened:
            market = opened.market or market
            why = opened.damage()
    except MissingData:
        return
    except InUse:
        raise
    except AltrallyError as error:
        why = str(error)
    if why:
        aside = set_aside(home.store)
        yield Finding(str(home.store), why, f"moved to {aside.name}", fetch_again(home, market))


def clock_of_store(home: Home) -> Iterator[Finding]:
    """No row says that it was fetched after this moment."""
    if not home.store.exists():
        return
    moment = api.now()
    with Store.open(home.store) as opened:
        count = opened.redate(moment)
    if count:
        done = f"dated as fetched on {moment:%Y-%m-%d}: known by then, and no later"
        yield Finding(str(home.store), f"{count} rows were stored under a clock that was ahead", done, None)


def runs(home: Home) -> Iterator[Finding]:
    """The database of runs is sound, every run says what was logged, and so do its files."""
    if home.tracking_server or not home.artifacts.parent.exists():
        return
    try:
        require_runs(home)
    except InUse:
        raise
    except OtherVersion as error:
        if schema_of(home.database) == schema_of(copy_path(home.database)):
            yield Finding(str(home.database), OLD_SCHEMA, "left as it is", f"mlflow db upgrade {quote(home.tracking_uri)}")
            return
        yield brought_back(home, str(error))
    except Damaged as error:
        yield brought_back(home, str(error))
    except AltrallyError as error:
        yield Finding(str(home.database), str(error).rstrip("."), "left as it is: it is sound", command(home.folder, "repair"))
        return
    yield from lost_champions(home)
    yield from artifacts(home)


def brought_back(home: Home, why: str) -> Finding:
    """A database for which its copy was taken, where that is whole. What was there is kept beside it."""
    aside = restore_copy(home.database)
    if aside is not None and failure(partial(require_runs, home)) is None:
        return Finding(str(home.database), why, f"its copy was brought back, the damaged one is {aside.name}", None)
    if aside is None:
        aside = set_aside(home.database)
    else:
        discard(home.database)  # it is the copy by now
    return Finding(str(home.database), why, f"moved to {aside.name}: its copy is no better", command(home.folder, "train"))


def require_runs(home: Home) -> None:
    """Raises Damaged where SQLite or a hash says that a database isn't whole, else InUse, OtherVersion or StoreUnusable."""
    if not home.database.exists() and not any(home.artifacts.glob("*")):
        return
    why = damage(home.database, MIGRATED)
    if why:
        raise Damaged(why)
    changed = damaged_figures(home.database)
    with tracking(place_of(home)):
        pass
    if changed:
        raise Damaged(f"run {changed[0]} doesn't say what was logged")


def schema_of(database: Path) -> list[tuple[Any, ...]]:
    """The version of MLflow's tables in a database; nothing where it can't be told."""
    try:
        return rows_of(database, "SELECT version_num FROM alembic_version")
    except StoreUnusable:
        return []


def lost_champions(home: Home) -> Iterator[Finding]:
    """Each target's champion can be looked up: its run may have been deleted from a database that is sound."""
    for name in champion_names(home.database) if home.database.exists() else ():
        why = failure(partial(champion_place, home.tracking_uri, name))
        if why is not None:
            yield Finding(
                str(home.database), f"champion of {name}: {why.rstrip('.')}", "the database is sound", train_again(home, name)
            )


def artifacts(home: Home) -> Iterator[Finding]:
    """Every file of a run is the one that was logged. One that isn't matters for champions alone."""
    if not home.database.exists():
        return
    names = [name for name in champion_names(home.database) if failure(partial(champion_place, home.tracking_uri, name)) is None]
    champions = {champion_place(home.tracking_uri, name).run_id: name for name in names}
    for run, file in damaged_files(home.database, home.artifacts):
        left = train_again(home, champions[run]) if run in champions else None
        yield Finding(str(file), f"it isn't what run {run} logged", "there is no other copy", left)


def tries(home: Home) -> Iterator[Finding]:
    """Every line of the record of tries is as it was written. What is lost there stands in the experiment, and is added again."""
    lines = trials.damaged_lines(home.folder)
    if lines:
        with database_lock(place_of(home)):
            trials.write(home.folder, trials.read(home.folder))
        file = trials.record_of(home.folder)
        yield Finding(str(file), f"line {lines[0]} isn't as it was written", "written anew from its whole lines and the runs", None)


def works(home: Home) -> Iterator[Finding]:
    """What was learnt and isn't logged can be read."""
    for folder, why in damaged_pending(home.folder):
        remove_pending(folder)
        yield Finding(str(folder), why, "removed", command(home.folder, "train"))


def ledger(home: Home) -> Iterator[Finding]:
    """The chain is whole; else it is written anew from its mirror. From a whole chain the mirror is, where it isn't the same."""
    if not any(file.exists() for file in (home.ledger, head_file(home.ledger), text_copy(home.ledger))):
        return
    why = failure(partial(with_ledger, home, Ledger.verify))
    if why is None:
        yield from mirrored_again(home)
        return
    rebuilt = failure(lambda: rebuild(home.ledger))
    done = "written anew from its mirror" if rebuilt is None else "nothing: its mirror doesn't hold all of it either"
    yield Finding(str(home.ledger), why, done, None if rebuilt is None else "bring back a copy that is whole")


def mirrored_again(home: Home) -> Iterator[Finding]:
    """The mirror holds what the ledger does."""
    why = failure(partial(with_ledger, home, Ledger.verify_mirror))
    if why is not None:
        with_ledger(home, Ledger.write_mirror)
        done = f"written anew from the ledger, whose chain is whole; the former one is {damaged_path(text_copy(home.ledger)).name}"
        yield Finding(str(text_copy(home.ledger)), why, done, None)


def with_ledger(home: Home, step: Callable[[Ledger], object]) -> None:
    """Something done with the ledger of a home."""
    with Ledger.open(home.ledger) as opened:
        step(opened)


def state(home: Home) -> Iterator[Finding]:
    """What the last watch left can be read."""
    for file in sorted(home.folder.glob("watch*.json")):
        why = failure(partial(state_in, file))
        if why is not None:
            file.unlink()
            yield Finding(str(file), why, "removed: the next watch begins anew from the ledger", None)


def failure(step: Callable[[], object]) -> str | None:
    """Why a step fails; None if it doesn't. Raises InUse."""
    try:
        step()
    except InUse:
        raise
    except AltrallyError as error:
        return str(error)
    return None
