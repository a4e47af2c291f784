"""Real child processes to do harm to: forked from one that has imported everything, so that a hundred kills are cheap."""

import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.home import Home
from core.progress import silent
from models.champion import EXPERIMENT, load_champion
from sources.fetch import fetch
from sources.simulated import simulate
from sources.store import Store
from training.figures import draw_history
from training.records import ModelRecord
from training.settings import TrainSettings
from training.tracking import TrackingPlace, tracking
from training.training_job import TrainedModel, TrainingJob

ROUNDS = {
    "kill fetch": (4, 100),
    "kill feature build": (2, 100),
    "kill train": (2, 100),
    "kill register": (4, 100),
    "kill before the alias": (3, 50),
    "kill score": (3, 100),
    "first starts at once": (1, 20),
    "trainings at once": (1, 20),
    "damage": (27, 200),
    "disk full": (2, 12),
    "disk full while logging": (2, 12),
    "soak": (3, 3_653),
}
"""How often each fault is put upon it: quick, and under `-m long`; of the soak, how many rounds are lived."""

LAST = pd.Timestamp("2018-06-30")
SETTINGS = TrainSettings(models=("pool",), draws=2, rotations=5)
PARTS = {
    "store.duckdb",
    "store.lock",
    "ledger.db",
    "ledger.head",
    "ledger.jsonl",
    "ledger.lock",
    "store.duckdb.damaged",
    "ledger.db.damaged",
    "watch.json",
    "watch.lock",
    "tries.jsonl",
    "mlruns/mlflow.copy",
    "mlruns/mlflow.db",
    "mlruns/mlflow.db.damaged",
    "mlruns/mlflow.lock",
}
FOREVER = pd.Timestamp("2100-01-01")
Work = Callable[..., None]


def rounds(fault: str) -> pytest.MarkDecorator:
    """Run a test with the quick number of rounds, and marked long with the full one."""
    quick, full = ROUNDS[fault]
    return pytest.mark.parametrize("count", [quick, pytest.param(full, marks=pytest.mark.long)])


@cache
def warm() -> ForkServerContext:
    """What children are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warmed"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


def begun(work: Work, *words: Any) -> ForkServerProcess:
    """A child that has begun to work."""
    child = warm().Process(target=work, args=words)
    child.start()
    return child


def seconds(work: Work, *words: Any) -> float:
    """How long undisturbed work takes; it must succeed."""
    start, child = perf_counter(), begun(work, *words)
    child.join()
    assert child.exitcode == 0
    return perf_counter() - start


@dataclass
class Killer:
    """Kills children at moments drawn evenly over the time their work takes; `hits` counts those that were still at it."""

    seed: int
    span: float
    hits: int = 0

    def __post_init__(self) -> None:
        """Draw moments from the seed."""
        self.moments = np.random.default_rng(self.seed)

    def strike(self, work: Work, *words: Any, after: Any = None) -> bool:
        """One kill; False where the work was done before. `after` is an event the span begins with."""
        child = begun(work, *words)
        if after is not None:
            assert after.wait(60)
        child.join(self.moments.uniform(0, self.span))
        child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        self.hits += child.exitcode != 0
        return child.exitcode != 0


def command(out: Path, *words: object) -> None:
    """The command line, as a user types it; what it prints goes to the file `out`."""
    from altrally.cli import run

    sys.argv = ["altrally", *map(str, words)]
    with out.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        run()


@dataclass(frozen=True)
class World:
    """A small market in drop-in files, a home it was fetched into, and one it was trained in besides, each made once."""

    folder: Path

    @property
    def drop(self) -> Path:
        return self.folder / "drop"

    @property
    def fetched(self) -> Home:
        return Home(self.folder / "fetched")

    @property
    def trained(self) -> Home:
        return Home(self.folder / "trained")

    @property
    def learnt(self) -> Path:
        """What the training had learnt before it was logged."""
        return self.folder / "learnt.pickle"


def place_of(home: Home) -> TrackingPlace:
    """Where its runs are."""
    return TrackingPlace(home.tracking_uri, home.artifacts, home.folder)


def market() -> dict[str, pd.DataFrame]:
    """Four and a half years of eight coins, with no more of the rest than their features read."""
    whole = simulate(start="2014-01-01", end=f"{LAST:%Y-%m-%d}", stocks=2, coins=8)
    return {stem: frame[frame["date"] >= "2013-01-01"] for stem, frame in whole.items()}


def make_world(folder: Path) -> None:
    """The world every fault is put upon a copy of."""
    world = World(folder)
    world.drop.mkdir()
    for stem, frame in market().items():
        frame.to_parquet(world.drop / f"{stem}.parquet")
    with Store.open(world.fetched.store) as store:
        fetch(store, "files", path=world.drop, today=LAST + pd.Timedelta(days=1), progress=silent)
    shutil.copytree(world.fetched.folder, world.trained.folder)
    child = begun(train, world.trained, world.learnt)
    child.join()
    assert child.exitcode == 0


def train(home: Home, learnt: Path | None = None) -> None:
    """A small training through what `altrally train` calls; what it learns is left in the file `learnt`, if there is to be one."""
    import training.train
    from altrally.jobs import train_home

    cheapen()
    if learnt is not None:
        training.train.fit_and_judge = partial(learn_and_keep, learnt, training.train.fit_and_judge)
    train_home(home, SETTINGS, None)


def cheapen() -> None:
    """One picture a model instead of twelve, and few resamples: together they take most of a small training."""
    import evaluation.multiple_testing
    import training.run_log

    training.run_log.write_figures = one_picture
    evaluation.multiple_testing.RESAMPLES = 20


def learn_and_keep(learnt: Path, learn: Callable[..., list[TrainedModel]], job: TrainingJob, *words: Any) -> list[TrainedModel]:
    """What was learnt, left in a file too."""
    trained = learn(job, *words)
    learnt.write_bytes(pickle.dumps((job, trained)))
    return trained


def log(home: Home, learnt: Path, step: str = "update_aliases", reached: Any = None) -> None:
    """The part of a training after all was learnt; the event `reached` is set as the function `step` of it begins."""
    import training.train

    cheapen()
    job, trained = pickle.loads(learnt.read_bytes())
    training.train.fit_and_judge = lambda *words: trained
    setattr(training.train, step, partial(tell_and_do, reached, getattr(training.train, step)))
    training.train.train_on(job, place_of(home), silent)


def train_on_the_command_line(out: Path, learnt: Path, home: Home, reached: Any) -> None:
    """`altrally train`, with what is learnt taken from a file; `reached` is set once it is about to be logged."""
    import training.train

    training.train.log_training = partial(tell_and_do, reached, training.train.log_training)
    typed(out, learnt, "--home", home.folder, "train")


def typed(out: Path, learnt: Path, *words: object, filled: tuple[Path, int] | None = None) -> None:
    """The command line, with a training's settings small and what it learns taken from a file.

    `filled` names a file that takes all of its disk but so many KB as soon as logging begins.
    """
    import altrally.jobs
    import training.train

    cheapen()
    altrally.jobs.checked_settings = lambda *words: SETTINGS
    training.train.fit_and_judge = lambda *words: pickle.loads(learnt.read_bytes())[1]
    if filled is not None:
        training.train.log_training = partial(fill_and_do, *filled, training.train.log_training)
    command(out, *words)


def said_by(out: Path, world: World, *words: object, filled: tuple[Path, int] | None = None) -> tuple[int, str]:
    """Exit code and output of a command in a child of its own."""
    child = warm().Process(target=typed, args=(out, world.learnt, *words), kwargs={"filled": filled})
    child.start()
    child.join()
    return int(child.exitcode or 0), out.read_text(encoding="utf-8")


def fill_and_do(ballast: Path, kilobytes: int, step: Callable[..., Any], *words: Any) -> Any:
    """Do a step with hardly any room left on the disk."""
    free = shutil.disk_usage(ballast.parent).free
    ballast.write_bytes(bytes(max(0, free - kilobytes * 1024)))
    return step(*words)


def tell_and_do(reached: Any, step: Callable[..., Any], *words: Any) -> Any:
    """Do a step after saying that it begins."""
    if reached is not None:
        reached.set()
    return step(*words)


def one_picture(record: ModelRecord, folder: Path) -> None:
    """The forecast over time."""
    folder.mkdir()
    draw_history(record.forecasts, record.card.model, folder / "forecasts.png")


def spoken(home: Home) -> np.ndarray:
    """What the champion makes of two rows of inputs, with its interval."""
    champion = load_champion(home.tracking_uri, home.folder)
    X = pd.DataFrame(np.tile([[0.3], [-0.5]], len(champion.card.columns)), columns=champion.card.columns)
    model = champion.forecaster.model_
    return np.concatenate([model.predict(X).ravel(), *(limit.ravel() for limit in model.interval(X))])


def content(home: Home) -> str:
    """Names every row of the store with what it says and when it was known."""
    with Store.open(home.store, read_only=True) as store:
        return store.snapshot(FOREVER)


def statuses(home: Home) -> list[str]:
    """Of all runs, once the next start has cleared up."""
    with tracking(place_of(home)) as tracker:
        return [run.info.status for run in tracker.client.search_runs([tracker.experiment_id])]


def champions(home: Home) -> int:
    """How many versions are called champion, as the database has it; and the database is sound."""
    with closing(sqlite3.connect(home.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM experiments WHERE name = ?", (EXPERIMENT,)).fetchone() == (1,)
        found = database.execute("SELECT count(*) FROM registered_model_aliases WHERE alias = 'champion'").fetchone()
        return int(found[0])


def orphans(home: Home) -> list[str]:
    """Files that belong to no run, no model and no part of a home."""
    with closing(sqlite3.connect(home.database)) as database:
        owners = {owner for (owner,) in database.execute("SELECT run_uuid FROM runs UNION SELECT model_id FROM logged_models")}
    files = [file.relative_to(home.folder) for file in home.folder.rglob("*") if file.is_file()]
    return [
        str(file)
        for file in files
        if str(file) not in PARTS and not owners & set(file.parts) and not file.match("cache/features-*.bin")
    ]
