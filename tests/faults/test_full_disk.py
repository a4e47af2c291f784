"""A disk that is full or read-only, a database that is locked or half migrated: one clear line, and what was learnt isn't lost."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulting import (
    LAST,
    World,
    begun,
    champions,
    content,
    orphans,
    place_of,
    rounds,
    said_by,
    spoken,
    statuses,
    train_on_the_command_line,
    warm,
)
from filelock import FileLock
from invoking import Invoke

from altrally.ledger import Ledger
from altrally.repair import repair, stale_files, train_again
from core.errors import StoreUnusable
from core.files import copy_path, damaged_path
from core.home import Home
from training.outbox import pending_folders
from training.tracking import tracking

SIZES = (1, 2, 3, 5, 6, 7, 8, 10, 14, 30, 40, 46)
"""Megabytes, from too few for an empty store to almost enough for a training."""

ROOMS = (0, 16, 32, 64, 128, 200, 256, 400, 512, 700, 900, 1100)
"""Kilobytes left once all is learnt: logging takes about 1200."""

LOCKED_SECONDS = 60


@contextmanager
def disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A disk of that size; skips where this process may not mount one."""
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def remount(place: Path, options: str) -> None:
    """The same disk, larger or read-only."""
    subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)


def fails_clearly(text: str) -> bool:
    """One line for the user."""
    return text.startswith("altrally: ") and text.count("\n") == 1


def job(world: World, home: Home) -> list[tuple[Any, ...]]:
    """Fetch, train, score, each as typed."""
    at = ("--home", home.folder)
    return [
        (*at, "fetch", "--provider", "files", "--path", world.drop),
        (*at, "train"),
        (*at, "score", "--json", "--as-of", f"{LAST:%Y-%m-%d}"),
    ]


@rounds("disk full")
def test_a_disk_too_small_is_said_and_a_larger_one_goes_on(world: World, tmp_path: Path, count: int) -> None:
    refused = 0
    for size in SIZES[:: len(SIZES) // count]:
        with disk(tmp_path / f"{size}", size) as place:
            home = Home(place / "home")
            for words in job(world, home):
                code, said = said_by(tmp_path / "out", world, *words)
                assert code == 0 or fails_clearly(said), (size, words, said)
                refused += code
            remount(place, "size=150m")
            for words in job(world, home):
                code, said = said_by(tmp_path / "out", world, *words)
                assert code == 0, (size, words, said)
            is_as_ever(world, home)
    assert refused >= count


@rounds("disk full while logging")
def test_what_was_learnt_outlives_a_disk_that_fills_up_while_it_is_logged(world: World, tmp_path: Path, count: int) -> None:
    kept = 0
    for room in ROOMS[:: len(ROOMS) // count]:
        with disk(tmp_path / f"{room}", 100) as place:
            home = Home(place / "home")
            shutil.copytree(world.fetched.folder, home.folder)
            code, said = said_by(tmp_path / "out", world, "--home", home.folder, "train", filled=(place / "ballast", room))
            assert code == 0 or (fails_clearly(said) and "What was learnt is kept" in said), (room, said)
            kept += len(list(pending_folders(home.folder)))
            assert bool(list(pending_folders(home.folder))) == bool(code)
            (place / "ballast").unlink()
            code, said = said_by(tmp_path / "out", world, "--home", home.folder, "train")
            assert code == 0, said
            is_as_ever(world, home)
    assert kept


def is_as_ever(world: World, home: Home) -> None:
    """The store and the scores of an undisturbed home, and nothing left over."""
    assert content(home) == content(world.fetched)
    np.testing.assert_allclose(spoken(home), spoken(world.trained), rtol=0, atol=1e-12)
    assert "RUNNING" not in statuses(home)
    assert champions(home) == 1
    assert orphans(home) == []
    with Ledger.open(home.ledger) as ledger:
        ledger.verify()


def test_a_folder_that_cannot_be_written_is_said(world: World, tmp_path: Path) -> None:
    with disk(tmp_path / "disk", 100) as place:
        home = Home(place / "home")
        shutil.copytree(world.trained.folder, home.folder)
        remount(place, "ro")
        for words in [*job(world, home), ("--home", home.folder, "watch", "--path", world.drop), ("--home", home.folder, "repair")]:
            code, said = said_by(tmp_path / "out", world, *words)
            assert code == 1, (words, said)
            assert fails_clearly(said.splitlines(keepends=True)[-1] if "repair" in words else said), (words, said)
        remount(place, "rw")
        is_as_ever(world, home)


@pytest.mark.long
def test_what_was_learnt_outlives_a_database_locked_for_a_minute(world: World, tmp_path: Path) -> None:
    home, reached = Home(tmp_path / "home"), warm().Event()
    shutil.copytree(world.trained.folder, home.folder)
    child = begun(train_on_the_command_line, tmp_path / "out", world.learnt, home, reached)
    assert reached.wait(300)
    with closing(sqlite3.connect(home.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        child.join(LOCKED_SECONDS)
        other.execute("ROLLBACK")
    child.join()
    said = (tmp_path / "out").read_text()
    assert child.exitcode == 1, said
    assert fails_clearly(said)
    assert "What was learnt is kept" in said
    code, said = said_by(tmp_path / "out", world, "--home", home.folder, "train")
    assert code == 0, said
    assert "kept since it couldn't be logged" in said
    is_as_ever(world, home)


@pytest.fixture
def home(world: World, tmp_path: Path) -> Home:
    """A trained home to do harm to."""
    return Home(shutil.copytree(world.trained.folder, tmp_path / "home"))


def test_runs_that_another_version_of_mlflow_left_are_left_alone(home: Home) -> None:
    for file in (home.database, copy_path(home.database)):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = '0584bdc529eb'")
    before = home.database.read_bytes()
    (finding,) = repair(home)
    assert finding.next == f"mlflow db upgrade {home.tracking_uri}"
    assert home.database.read_bytes() == before


def test_runs_that_a_newer_mlflow_left_are_left_alone_and_no_upgrade_is_advised(home: Home, altrally: Invoke) -> None:
    for file in (home.database, copy_path(home.database)):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    for command in ("train", "compare", "promote"):
        ran = altrally("--home", home.folder, command, *(["pool"] if command == "promote" else []))
        assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
        assert "a newer version of MLflow left them. Install that version, or use another --home." in ran.err
    before = home.database.read_bytes()
    (finding,) = repair(home)
    assert finding.next is not None
    assert finding.next.startswith("Install the newer version of MLflow")
    assert home.database.read_bytes() == before


def test_runs_that_are_in_use_are_left_alone(home: Home) -> None:
    with closing(sqlite3.connect(home.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        (finding,) = repair(home)
    assert "in use" in finding.why
    assert finding.next == f"altrally --home {home.folder} repair"
    assert repair(home) == []


def test_a_store_that_is_in_use_is_left_alone(home: Home) -> None:
    words = [sys.executable, "-c", FETCHING, str(home.store)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        findings = repair(home)
        other.communicate("")
    assert [finding.next for finding in findings] == [f"altrally --home {home.folder} repair"]
    assert repair(home) == []


@pytest.mark.parametrize(
    ("lock", "name"),
    [
        ("store.lock", "store.new.wal"),
        ("mlruns/mlflow.lock", "mlruns/mlflow.copy.new"),
        ("mlruns/mlflow.lock", "tries.new"),
        ("ledger.lock", "ledger.head.new"),
        ("watch.lock", "watch-eth-rally.json.new"),
    ],
)
def test_a_file_that_is_being_written_is_left_alone_and_one_a_kill_left_is_not(tmp_path: Path, lock: str, name: str) -> None:
    file = tmp_path / name
    (tmp_path / lock).parent.mkdir(exist_ok=True)
    file.touch()
    with FileLock(tmp_path / lock):
        (finding,) = stale_files(Home(tmp_path))
    assert (finding.done, finding.next) == ("left as it is", f"altrally --home {tmp_path} repair")
    assert file.exists()
    (finding,) = stale_files(Home(tmp_path))
    assert (finding.file, finding.done, finding.next) == (str(file), "removed", None)
    assert not file.exists()


def test_the_champion_of_a_target_is_trained_again_by_its_file(tmp_path: Path) -> None:
    assert "train; " in train_again(Home(tmp_path), "altrally")
    assert "train --target FILE (that of altrally-eth-rally); " in train_again(Home(tmp_path), "altrally-eth-rally")


def test_what_is_moved_away_is_the_damaged_file_and_not_its_copy(home: Home) -> None:
    for file, statement in ((home.database, "CREATE TABLE ours (one)"), (copy_path(home.database), "CREATE TABLE older (one)")):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(statement)
            database.execute("DELETE FROM alembic_version")
    (finding,) = repair(home)
    assert finding.next == f"altrally --home {home.folder} train"
    with closing(sqlite3.connect(damaged_path(home.database))) as database:
        assert database.execute("SELECT count(*) FROM ours").fetchone() == (0,)


FETCHING = """
import sys
from pathlib import Path
from sources.store import Store
with Store.open(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
HALVES = {
    "amid its first migration": "DELETE FROM alembic_version",
    "before the last one was noted": "UPDATE alembic_version SET version_num = '0584bdc529eb'",
    "with its version gone": "DROP TABLE alembic_version",
}


@pytest.mark.parametrize("statement", HALVES.values(), ids=HALVES)
def test_a_half_migrated_database_is_said_and_its_copy_brought_back(world: World, home: Home, statement: str) -> None:
    with closing(sqlite3.connect(home.database)) as database, database:
        database.execute(statement)
    with pytest.raises(StoreUnusable, match=r"altrally repair|mlflow db upgrade"), tracking(place_of(home)):
        pass
    assert [finding.file for finding in repair(home)] == [str(home.database)]
    is_as_ever(world, home)
