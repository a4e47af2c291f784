"""Damaged files: each is found and named, and the stated command brings everything back."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from faulting import LAST, World, begun, champions, content, log, place_of, rounds, spoken
from issued import made_score, put

from altrally.ledger import Ledger
from altrally.repair import repair
from core.home import HIDDEN, Home
from core.progress import silent
from models.champion import FORECASTS_FILE, champion_place, list_runs, rows_of, run_table
from sources.fetch import fetch
from sources.store import Store
from training import trials
from training.promotion import promote
from training.trials import record_of


def truncated(file: Path, rng: np.random.Generator) -> None:
    """Its end is gone."""
    with file.open("r+b") as opened:
        opened.truncate(int(rng.integers(1, file.stat().st_size)))


def flipped(file: Path, rng: np.random.Generator) -> None:
    """Eight bits anywhere in it."""
    content = bytearray(file.read_bytes())
    for place in rng.integers(len(content), size=8):
        content[place] ^= 1 << rng.integers(8)
    file.write_bytes(content)


def emptied(file: Path, rng: np.random.Generator) -> None:
    """Nothing is left in it."""
    file.write_bytes(b"")


def left_unfinished(file: Path, rng: np.random.Generator) -> None:
    """A file a kill left half written beside it."""
    file.with_suffix(".new").write_bytes(rng.bytes(100))


HARMS = (truncated, flipped, emptied, left_unfinished)


def files_of(home: Home) -> list[Path]:
    """One of each kind a home keeps."""
    place = champion_place(home.tracking_uri)
    run, model = (
        home.artifacts / Path(folder).relative_to(Path(folder).parents[depth])
        for folder, depth in ((place.run_folder, 1), (place.model_folder, 2))
    )
    runs = [run / name for name in ("card.json", "forecasts.parquet", "folds.csv")]
    return [
        home.store,
        home.database,
        home.ledger,
        home.ledger.with_suffix(".head"),
        home.folder / "watch.json",
        model / "model.skops",
        *runs,
        record_of(home.folder),
    ]


@dataclass(frozen=True)
class Said:
    """What a home says."""

    content: str
    spoken: np.ndarray
    runs: pd.DataFrame
    forecasts: pd.DataFrame
    lines: list[str]
    tries: dict[str, str]


def said(home: Home) -> Said:
    """Everything a user can read in it."""
    runs = list_runs(home.tracking_uri)
    with Ledger.open(home.ledger) as ledger:
        ledger.verify()
        lines = [line.hash for line in ledger.lines()]
    champion = champion_place(home.tracking_uri).run_id
    assert champions(home) == 1
    counted = "SELECT key, value FROM experiment_tags WHERE key LIKE '%.trial.%' OR key LIKE '%.sweep.%'"
    tries = dict(rows_of(home.database, counted)) | trials.read(home.folder)
    return Said(content(home), spoken(home), runs, run_table(home.tracking_uri, home.folder, champion), lines, tries)


def same(now: Said, then: Said) -> bool:
    """Scores within 1e-12, the rest equal."""
    return (
        (now.content, now.lines, now.tries) == (then.content, then.lines, then.tries)
        and np.abs(now.spoken - then.spoken).max() <= 1e-12
        and now.runs.drop(columns="started").equals(then.runs.drop(columns="started"))
        and now.forecasts.equals(then.forecasts)
    )


@pytest.fixture
def sound(world: World, tmp_path: Path) -> Home:
    """A home with something in every file."""
    home = Home(tmp_path / "sound")
    shutil.copytree(world.trained.folder, home.folder)
    with Ledger.open(home.ledger) as ledger:
        for day in pd.date_range(end=LAST, periods=20):
            put(ledger, made_score(f"{day:%Y-%m-%d}"))
    (home.folder / "watch.json").write_text('{"trained_as_of": "2018-06-30"}')
    return home


@rounds("damage")
def test_damage_is_found_named_and_mended(world: World, sound: Home, tmp_path: Path, count: int) -> None:
    undisturbed, harmless, retrained = said(sound), 0, set()
    for case in range(count):
        rng, home = np.random.default_rng(case), Home(tmp_path / f"case{case}")
        shutil.copytree(sound.folder, home.folder)
        files = files_of(home)
        file, harm = files[case % len(files)], HARMS[case // len(files) % len(HARMS)]
        harm(file, rng)
        findings = repair(home)
        kind = file.name, harm.__name__
        harmless += not findings
        assert findings or same(said(home), undisturbed), kind
        assert not findings or any(file.stem in finding.file for finding in findings), (kind, findings)
        commands = {finding.next for finding in findings} - {None}
        assert all(command.startswith(f"altrally --home {home.folder} ") for command in commands)
        if any(" fetch --provider" in command for command in commands):
            refetch(world, home)
        if any(" train" in command for command in commands):
            if kind in retrained:
                continue
            retrained.add(kind)
            train_again(world, home, file)
            np.testing.assert_allclose(spoken(home), undisturbed.spoken, rtol=0, atol=1e-12)
            assert said(home).tries == undisturbed.tries
        else:
            assert same(said(home), undisturbed), (kind, findings)
        assert [finding for finding in repair(home) if finding.next] == [], kind
        shutil.rmtree(home.folder)
    assert harmless <= count / 4


def test_the_sums_of_files_are_held_by_a_sum_of_their_own(sound: Home) -> None:
    with closing(sqlite3.connect(sound.database)) as database, database:
        database.execute("UPDATE tags SET value = replace(value, 'a', 'b') WHERE key = ?", (f"{HIDDEN}files",))
    (finding,) = repair(sound)
    assert finding.file == str(sound.database)
    assert "its copy was brought back" in finding.done
    assert repair(sound) == []


def refetch(world: World, home: Home) -> None:
    """What `altrally fetch` does."""
    with Store.open(home.store) as store:
        fetch(store, "files", path=world.drop, today=LAST + pd.Timedelta(days=1), progress=silent)


def train_again(world: World, home: Home, file: Path) -> None:
    """What `altrally train` does, and by force where the champion's own forecasts are gone."""
    child = begun(log, home, world.learnt)
    child.join()
    assert child.exitcode == 0
    if file.name == FORECASTS_FILE:
        newest = list_runs(home.tracking_uri).query("model == 'pool'")["run_id"].iloc[0]
        promote(place_of(home), newest, force=True, why="the champion's forecasts are damaged")
