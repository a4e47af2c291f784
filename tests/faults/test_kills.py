"""Killed at any moment: what was acknowledged is there, and the next start makes good what wasn't."""

import json
import shutil
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from faulting import (
    LAST,
    Killer,
    World,
    begun,
    champions,
    command,
    content,
    log,
    orphans,
    rounds,
    seconds,
    spoken,
    statuses,
    train,
    warm,
)

from altrally.ledger import Ledger
from core.home import Home

EVERY = 10
"""Kills in a row before the work is let through and compared."""


@pytest.fixture
def home(world: World, tmp_path: Path) -> Home:
    """A trained home to be harmed."""
    shutil.copytree(world.trained.folder, tmp_path / "home")
    return Home(tmp_path / "home")


def is_whole(home: Home) -> None:
    """What holds at any time after the next start."""
    assert "RUNNING" not in statuses(home)
    assert champions(home) == 1
    assert orphans(home) == []


@rounds("kill fetch")
def test_a_killed_fetch_is_made_good_by_the_next(world: World, tmp_path: Path, count: int) -> None:
    home, out = Home(tmp_path / "home"), tmp_path / "out"
    words = ("--home", home.folder, "fetch", "--provider", "files", "--path", world.drop)
    killer = Killer(1, seconds(command, out, *words))
    while killer.hits < count:
        shutil.rmtree(home.folder)
        for _ in range(EVERY):
            killer.strike(command, out, *words)
        seconds(command, out, *words)
        assert content(home) == content(world.fetched)
        assert sorted(file.name for file in home.folder.iterdir()) == ["cache", "store.duckdb", "store.lock"]


@rounds("kill feature build")
def test_a_killed_feature_build_changes_nothing(world: World, home: Home, tmp_path: Path, count: int) -> None:
    words = ("--home", home.folder, "features", "--json")
    killer = Killer(2, seconds(command, tmp_path / "undisturbed", *words))
    while killer.hits < count:
        killer.strike(command, tmp_path / "out", *words)
    seconds(command, tmp_path / "out", *words)
    assert (tmp_path / "out").read_text() == (tmp_path / "undisturbed").read_text()
    assert content(home) == content(world.fetched)
    is_whole(home)


@rounds("kill train")
def test_the_champion_answers_after_every_killed_training(world: World, home: Home, count: int) -> None:
    before = spoken(home)
    killer = Killer(3, seconds(train, home))
    while killer.hits < count:
        killer.strike(train, home)
        np.testing.assert_allclose(spoken(home), before, rtol=0, atol=1e-12)
    seconds(train, home)
    np.testing.assert_allclose(spoken(home), before, rtol=0, atol=1e-12)
    is_whole(home)


@rounds("kill register")
def test_a_training_killed_while_it_is_logged_leaves_nothing_half_made(world: World, home: Home, count: int) -> None:
    killed_while_logging(world, home, "log_training", count)


@rounds("kill before the alias")
def test_a_training_killed_before_the_alias_moved_keeps_the_champion(world: World, home: Home, count: int) -> None:
    killed_while_logging(world, home, "update_aliases", count)


def killed_while_logging(world: World, home: Home, step: str, count: int) -> None:
    """Kill the logging of a training once it has come to `step`."""
    before = spoken(home)
    killer = Killer(5, log_seconds(world, home, step))
    while killer.hits < count:
        killer.strike(log, home, world.learnt, step, reached := warm().Event(), after=reached)
        np.testing.assert_allclose(spoken(home), before, rtol=0, atol=1e-12)
    log_seconds(world, home, step)
    np.testing.assert_allclose(spoken(home), before, rtol=0, atol=1e-12)
    is_whole(home)


def log_seconds(world: World, home: Home, step: str) -> float:
    """How long it takes from `step` to the end, undisturbed."""
    reached = warm().Event()
    child = begun(log, home, world.learnt, step, reached)
    assert reached.wait(60)
    start = perf_counter()
    child.join()
    assert child.exitcode == 0
    return perf_counter() - start


@rounds("kill score")
def test_a_score_that_was_told_is_in_the_ledger(world: World, home: Home, tmp_path: Path, count: int) -> None:
    days = [f"{day:%Y-%m-%d}" for day in pd.date_range(end=LAST, periods=60)]
    out = tmp_path / "out"

    def words(day: str) -> tuple[object, ...]:
        return ("--home", home.folder, "score", "--json", "--as-of", day)

    killer, told = Killer(4, seconds(command, out, *words(days[-1]))), {days[-1]}
    while killer.hits < count:
        day = days[killer.hits % len(days)]
        killer.strike(command, out, *words(day))
        if out.read_text().endswith("}\n"):
            told.add(json.loads(out.read_text())["as_of"])
        with Ledger.open(home.ledger) as ledger:
            ledger.verify()
            assert told <= {line.body["as_of"] for line in ledger.lines()}
    is_whole(home)
    for day in days[:2]:
        seconds(command, out, *words(day))
        again = json.loads(out.read_text())
        seconds(command, out, "--home", world.trained.folder, *words(day)[2:])
        assert [row["probability"] for row in again["horizons"]] == pytest.approx(
            [row["probability"] for row in json.loads(out.read_text())["horizons"]], rel=0, abs=1e-12
        )
