"""Tracking: one sound database whatever happens, and nothing forgotten."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from places import ROOT

from altrally.repair import repair
from core.errors import StoreUnusable
from core.files import copy_path
from core.home import Home, folder_at
from evaluation.multiple_testing import PRIOR_TRIALS
from models.champion import EXPERIMENT, figures_of, rows_of
from training.dead_runs import close_dead_runs
from training.settings import SEARCHED
from training.tracking import TrackingPlace, tracking
from training.trial_count import count_sweeps, count_trials, trial_history


def place_in(home: Path) -> TrackingPlace:
    return TrackingPlace(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}", home / "mlruns" / "artifacts", home)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty database, to be copied: making one takes seconds."""
    home = tmp_path_factory.mktemp("migrated")
    with tracking(place_in(home)):
        pass
    return home


@pytest.fixture
def place(migrated: Path, tmp_path: Path) -> TrackingPlace:
    shutil.copytree(migrated, tmp_path / "home")
    return place_in(tmp_path / "home")


OPEN = """
import sys
from pathlib import Path
from training.tracking import TrackingPlace, tracking
from training.trial_count import count_trials
home = Path(sys.argv[1])
with tracking(TrackingPlace(f"sqlite:///{home}/mlruns/mlflow.db", home / "mlruns" / "artifacts", home)) as tracker:
    count_trials(tracker, "family", "label", [sys.argv[2], "shared"])
"""


def test_two_processes_creating_the_database_at_once_leave_it_sound(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    both = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, cwd=ROOT) for name in ("one", "two")]
    errors = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    with tracking(place_in(tmp_path)) as tracker:
        assert [found.name for found in tracker.client.search_experiments()].count(EXPERIMENT) == 1
        assert sorted(count_trials(tracker, "family", "label", []).values()) == [
            PRIOR_TRIALS + 1,
            PRIOR_TRIALS + 2,
            PRIOR_TRIALS + 3,
        ]
    assert sorted(file.name for file in (tmp_path / "mlruns").iterdir()) == ["mlflow.copy", "mlflow.db", "mlflow.lock"]


def test_a_disk_without_room_for_the_second_copy_costs_nothing(
    place: TrackingPlace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: Path, copy: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    assert place.database is not None
    copy = copy_path(place.database)
    before = copy.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("core.files.overwrite", full)
        with tracking(place) as tracker:
            run = run_of(tracker)
        assert "no room for its second copy (database or disk is full)" in caplog.text
        assert [finding.file for finding in repair(Home(place.home))] == []
    assert copy.read_bytes() == before
    with tracking(place) as tracker:
        assert tracker.client.get_run(run).info.run_id == run
    assert copy.read_bytes() != before


def test_a_run_begun_while_figures_are_read_is_no_trouble(place: TrackingPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.database is not None
    with tracking(place) as tracker:
        first = run_of(tracker)

        def meanwhile(database: Path, query: str, *values: str) -> list[tuple[object, ...]]:
            rows = rows_of(database, query, *values)
            tracker.client.log_param(run_of(tracker), "begun", "since")
            return rows

        before = figures_of(place.database)
        monkeypatch.setattr("models.champion.rows_of", meanwhile)
        assert figures_of(place.database)[first] == before[first]


def test_artifacts_go_below_the_home(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        run = tracker.client.create_run(tracker.experiment_id)
        assert place.artifacts in Path(folder_at(run.info.artifact_uri) or "").parents


def run_of(tracker: object, **tags: str) -> str:
    return tracker.client.create_run(tracker.experiment_id, tags=tags).info.run_id  # type: ignore[attr-defined]


def test_runs_left_running_by_a_dead_process_are_killed_and_living_ones_are_not(place: TrackingPlace) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    here = socket.gethostname()
    with tracking(place) as tracker:
        left = run_of(tracker, pid=str(dead.pid), host=here)
        living = run_of(tracker, pid=str(os.getpid()), host=here)
        elsewhere = run_of(tracker, pid=str(dead.pid), host="another machine")
        yesterday = int((pd.Timestamp.now("UTC") - pd.Timedelta(days=2)).timestamp() * 1000)
        old = tracker.client.create_run(tracker.experiment_id, start_time=yesterday, tags={"host": "another machine"}).info.run_id
        assert close_dead_runs(tracker.client, tracker.place.home) == 2
        assert close_dead_runs(tracker.client, tracker.place.home) == 0
        status = {run: tracker.client.get_run(run).info.status for run in (left, living, elsewhere, old)}
    assert status == {left: "KILLED", living: "RUNNING", elsewhere: "RUNNING", old: "KILLED"}


def test_opening_sweeps(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        left = run_of(tracker, pid="0", host=socket.gethostname())
    with tracking(place) as tracker:
        assert tracker.client.get_run(left).info.status == "KILLED"


def test_trials_count_distinct_configurations_from_the_prior_tries_on(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        assert count_trials(tracker, "family", "label", ["a", "b"]) == {"a": PRIOR_TRIALS + 1, "b": PRIOR_TRIALS + 2}
        assert count_trials(tracker, "family", "label", ["b", "c", "a"]) == {
            name: PRIOR_TRIALS + place for place, name in enumerate("abc", 1)
        }
        assert count_trials(tracker, "another family", "label", ["a"]) == {"a": PRIOR_TRIALS + 1}


def test_what_a_sweep_had_searched_counts_as_judged_once_it_is(place: TrackingPlace) -> None:
    many, search = [f"{number:016x}" for number in range(250)], f"30 %{SEARCHED}2018-01-01"
    with tracking(place) as tracker:
        count_trials(tracker, "family", search, many)
        assert trial_history(tracker, "family", "30 %").configurations == set()
        assert count_trials(tracker, "family", "30 %", many[:2])[many[1]] == PRIOR_TRIALS + 2
        count_trials(tracker, "family", search, many)
        tried = trial_history(tracker, "family", "30 %")
    assert tried.configurations == set(many[:2])
    assert tried.trials == PRIOR_TRIALS + 250
    assert tried.other_configurations(many[:1]) == 1


def test_sweeps_that_judged_on_the_same_days_are_counted_together(place: TrackingPlace) -> None:
    early, late = pd.Timestamp("2018-01-01"), pd.Timestamp("2025-01-01")
    with tracking(place) as tracker:
        assert count_sweeps(tracker, "family", "one", early, pd.Timestamp("2024-12-31")) == 1
        assert count_sweeps(tracker, "family", "one", early, pd.Timestamp("2024-12-31")) == 1
        assert count_sweeps(tracker, "family", "two", early, pd.Timestamp("2024-12-31")) == 2
        assert count_sweeps(tracker, "family", "three", late, pd.Timestamp("2025-12-31")) == 1
        assert count_sweeps(tracker, "another family", "one", early, pd.Timestamp("2024-12-31")) == 1


def numbered(names: str) -> dict[str, int]:
    """The numbers of so many tries, the first after those from before."""
    return {name: PRIOR_TRIALS + place for place, name in enumerate(names, 1)}


def test_what_was_tried_on_another_question_is_counted_but_apart(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        count_trials(tracker, "family", "30 %", ["a", "b"])
        count_trials(tracker, "family", "20 %", ["c"])
        tried = trial_history(tracker, "family", "30 %")
    assert (tried.trials, tried.configurations) == (PRIOR_TRIALS + 3, {"a", "b"})
    assert tried.other_configurations(["a"]) == 1
    assert tried.other_configurations(["a", "b", "d"]) == 0


def test_two_configurations_counted_at_once_are_two_tries(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        for name in ("a", "b"):
            tracker.client.set_experiment_tag(tracker.experiment_id, f"trial.family.{name}", f"{PRIOR_TRIALS + 1} label")
        assert trial_history(tracker, "family", "label").trials == PRIOR_TRIALS + 2


def test_deleting_runs_does_not_reset_the_trials(place: TrackingPlace) -> None:
    with tracking(place) as tracker:
        count_trials(tracker, "family", "label", ["a"])
        tracker.client.delete_run(run_of(tracker))
        tracker.client.delete_experiment(tracker.experiment_id)
    with tracking(place) as tracker:
        assert count_trials(tracker, "family", "label", ["b"]) == {"a": PRIOR_TRIALS + 1, "b": PRIOR_TRIALS + 2}


def test_a_moved_home_is_written_to_where_it_is_now(place: TrackingPlace, tmp_path: Path) -> None:
    with tracking(place) as tracker:
        before = run_of(tracker)
    moved = place.home.rename(tmp_path / "moved")
    with tracking(place_in(moved)) as tracker:
        artifacts = [tracker.client.get_run(run).info.artifact_uri for run in (before, run_of(tracker))]
    assert all(moved / "mlruns" / "artifacts" in Path(folder_at(uri) or "").parents for uri in artifacts)
    assert not place.home.exists()


def test_a_file_that_is_no_database_is_left_alone_and_said_to_be(tmp_path: Path) -> None:
    home = place_in(tmp_path)
    assert home.database is not None
    home.database.parent.mkdir()
    home.database.write_text("not a database, but longer than its header")
    with pytest.raises(StoreUnusable, match=r"mlflow\.db"), tracking(home):
        pass
    assert home.database.read_text().startswith("not a database")
