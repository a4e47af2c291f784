"""A cluster computes what this machine computes, bit for bit, also when one of its workers dies; and what it lacks is said."""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cluster import Cluster, cluster, once_there
from joblib import parallel_config
from small_market import small_market

from altrally.cli import run
from core.errors import BadInput, EngineLost, UnknownName
from core.target import ALTCOINS
from models import parallel as engines
from models.boosted import Boosted
from models.catalog import COMPOSITES
from models.parallel import engine, run_in_parallel, version_differences, versions
from studies.search_space import Sweep
from studies.sweep import PART, prepare_sweep_data, tallies_of
from training.null_tests import ForecastCache, NullTask, ShiftedSkill, complete_rows, fold_mask, shift_null, walk_one_shift
from training.settings import TrainSettings
from training.walk_forward import forecast, quarters, usable

SETTINGS = TrainSettings()
DATA = small_market(SETTINGS, until="2019-12-31")
X = DATA.X[list(COMPOSITES)]
FOLDS = usable(quarters(SETTINGS.first_test, DATA.until), DATA.outcomes)
MAKE = partial(Boosted, trees=5)
SHIFTS = 8


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers."""
    pytest.importorskip("distributed", reason="the extra [cluster] isn't installed")
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def rotations(cache: ForecastCache) -> ShiftedSkill:
    """Trees refitted on a few rotations."""
    found = shift_null(NullTask(MAKE, X, DATA.outcomes, FOLDS, (SETTINGS.first_test, DATA.until)), most=SHIFTS, cache=cache)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def here() -> dict[int, np.ndarray]:
    """Forecasts of every rotation, computed in this process."""
    kept: dict[int, np.ndarray] = {}
    with parallel_config("sequential"):
        rotations(kept)
    return kept


def test_a_walk_forward_of_trees_is_the_same_on_a_cluster(two_workers: Cluster) -> None:
    with parallel_config("sequential"):
        mine = forecast(MAKE, X, DATA.outcomes, FOLDS)
    with engine("dask", two_workers.scheduler):
        theirs = forecast(MAKE, X, DATA.outcomes, FOLDS)
    np.testing.assert_array_equal(theirs.probabilities, mine.probabilities)
    assert theirs.base_rates == mine.base_rates


def test_draws_of_trees_are_the_same_on_a_cluster(two_workers: Cluster) -> None:
    events = DATA.outcomes.events.dropna()
    weights = np.random.default_rng(3).integers(0, 3, (10, len(events))).astype(float)
    with parallel_config("sequential"):
        mine = MAKE().fit_draws(X.loc[events.index], events, weights)
    with engine("dask", two_workers.scheduler):
        theirs = MAKE().fit_draws(X.loc[events.index], events, weights)
    np.testing.assert_array_equal(theirs.parameter_draws_, mine.parameter_draws_)


def test_what_a_part_raises_is_raised_here(two_workers: Cluster) -> None:
    with engine("dask", two_workers.scheduler), pytest.raises(ZeroDivisionError):
        list(run_in_parallel(divmod, [(1, 1), (1, 0)]))


def test_out_of_order_means_each_once(two_workers: Cluster) -> None:
    with engine("dask", two_workers.scheduler):
        assert sorted(run_in_parallel(pow, [(number, 2) for number in range(20)], ordered=False)) == [n * n for n in range(20)]


@pytest.mark.parametrize("where", ["a process a core", "cluster"])
def test_a_null_of_trees_is_the_same_in_processes_of_its_own_and_on_a_cluster(
    two_workers: Cluster, here: dict[int, np.ndarray], where: str
) -> None:
    kept: dict[int, np.ndarray] = {}
    with engine("dask", two_workers.scheduler) if where == "cluster" else parallel_config("loky"):
        rotations(kept)
    assert kept.keys() == here.keys()
    for shift, forecasts in here.items():
        np.testing.assert_array_equal(kept[shift], forecasts)


def test_a_sweep_is_the_same_on_a_cluster(two_workers: Cluster) -> None:
    asked = Sweep(
        (ALTCOINS,), COMPOSITES, ("hazard", "logit"), (0.1, 0.3), trials=PART + 2, first_test=pd.Timestamp("2018-01-01"), seed=3
    )
    made, candidates = prepare_sweep_data({ALTCOINS: DATA}, asked), asked.candidates()
    bar = np.median([made.search_tally(candidate, None).half for candidate in candidates[:3]], axis=0)
    with parallel_config("sequential"):
        mine = list(tallies_of(made, candidates, bar))
    with engine("dask", two_workers.scheduler):
        theirs = list(tallies_of(made, candidates, bar))
    assert {tally.cut_short for tally in mine} == {True, False}
    assert len(mine) == PART + 2
    for here, there in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(there.half, here.half)
        np.testing.assert_array_equal(there.whole, here.whole)


def test_a_worker_killed_amid_its_parts_changes_nothing(two_workers: Cluster, here: dict[int, np.ndarray], tmp_path: Path) -> None:
    complete = complete_rows(X, DATA.outcomes)
    mask, go = fold_mask(complete, FOLDS, (SETTINGS.first_test, DATA.until)), tmp_path / "go"
    parts = [
        (go if shift else tmp_path, walk_one_shift, MAKE, complete.inputs, np.roll(complete.events, shift, axis=0), mask)
        for shift in here
    ]
    with engine("dask", two_workers.scheduler):
        answers = run_in_parallel(once_there, parts)
        found = [next(answers)]
        two_workers.kill_one()
        go.touch()
        found += answers
    assert [worker.poll() is None for worker in two_workers.workers] == [False, True]
    for mine, theirs in zip(here.values(), found, strict=True):
        np.testing.assert_array_equal(theirs, mine)


def test_a_scheduler_killed_amid_a_job_is_said_in_one_line(tmp_path: Path) -> None:
    with cluster(tmp_path) as started, engine("dask", started.scheduler):
        answers = run_in_parallel(once_there, [(tmp_path, abs, -1), (tmp_path / "never", abs, -2)])
        assert next(answers) == 1
        started.kill_scheduler()
        with pytest.raises(EngineLost, match="The cluster was lost"):
            next(answers)


def test_a_cluster_that_is_not_there_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "SECONDS_TO_ANSWER", 1)
    with (
        pytest.raises(EngineLost, match=r"No dask scheduler answers at tcp://127\.0\.0\.1:1:"),
        engine("dask", "tcp://127.0.0.1:1"),
    ):
        pass


def test_a_scheduler_without_workers_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr(engines, "SECONDS_TO_ANSWER", 2)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp") as empty,
        pytest.raises(EngineLost, match="has no workers"),
        engine("dask", empty.scheduler_address),
    ):
        pass


def test_a_worker_of_other_versions_is_refused() -> None:
    ours = versions()
    assert version_differences(ours, ours | {"numpy": "1.0"}) == f"numpy is 1.0, not {ours['numpy']}"
    assert "can't import altrally" in version_differences(ours, ModuleNotFoundError("No module named 'models'"))


@pytest.mark.parametrize(
    ("words", "wrong", "said"),
    [
        (("dask", None), BadInput, "--scheduler ADDRESS"),
        (("local", "tcp://127.0.0.1:1"), BadInput, "--engine dask"),
        (("spark", None), UnknownName, "dask"),
    ],
)
def test_half_an_address_is_refused(words: tuple[str, str | None], wrong: type[Exception], said: str) -> None:
    with pytest.raises(wrong, match=said), engine(*words):
        pass


@pytest.mark.long
def test_a_study_of_markets_is_the_same_on_a_cluster_that_loses_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["altrally", "power", "--markets", "4", "--years", "6", "--strength", "0", "--json"]
    told = []
    with cluster(tmp_path) as started:
        monkeypatch.setattr("studies.power.append", partial(append_and_kill, started))
        for more in (["--engine", "dask", "--scheduler", started.scheduler, "--out", "there.jsonl"], ["--out", "here.jsonl"]):
            monkeypatch.chdir(tmp_path)
            monkeypatch.setattr(sys, "argv", [*words, *more])
            with pytest.raises(SystemExit) as stop:
                run()
            assert not stop.value.code
            told.append(json.loads(capsys.readouterr().out))
        assert started.workers[0].poll() is not None
    assert told[0] == told[1]
    there, locally = (sorted((tmp_path / name).read_text().splitlines()) for name in ("there.jsonl", "here.jsonl"))
    assert there == locally


def append_and_kill(started: Cluster, handle: int, line: object) -> None:
    """Keep a market as ever; with the first one a worker dies."""
    import os

    started.kill_one()
    os.write(handle, json.dumps(line, allow_nan=False).encode() + b"\n")
