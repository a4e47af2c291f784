"""What is deleted in MLflow is told with the command that helps: nothing sound is called damaged, and no try is forgotten."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from faulting import World, place_of, said_by, spoken
from invoking import Invoke, Ran
from training_jobs import SETTINGS, job, place_in

from altrally.repair import repair
from core.errors import InUse, Lost
from core.files import copy_path, damaged_path
from core.home import HIDDEN, Home
from core.progress import silent
from evaluation.multiple_testing import PRIOR_TRIALS
from models.champion import champion_place, list_runs
from training import trials
from training.compare import compare
from training.outbox import PendingTraining, pending_folders, read_pending, write_pending
from training.promotion import promote
from training.settings import SEARCHED
from training.tracking import TrackingPlace, counted_tags, tracking
from training.train import TrainReport, train_on
from training.trial_count import count_sweeps, count_trials, trial_history

pytestmark = pytest.mark.usefixtures("few_pictures")
FEW = replace(SETTINGS, models=("momentum",), draws=2, rotations=5)


def mlflow(uri: str, *words: str) -> None:
    """A command of MLflow's own, which must succeed."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, "-m", "mlflow", *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def delete_for_good(uri: str, *runs: str) -> None:
    """Delete runs and collect the garbage."""
    from mlflow import MlflowClient

    for run in runs:
        MlflowClient(uri).delete_run(run)
    mlflow(uri, "gc", "--backend-store-uri", uri)


def tries(place: TrackingPlace) -> dict[str, str]:
    """Every tag of the experiment that counts a try."""
    with tracking(place) as tracker:
        return counted_tags(tracker)


def one_line(ran: Ran) -> str:
    """What a command that failed said, in one line and without a traceback."""
    assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
    assert ran.err.startswith("altrally: ")
    return ran.err


@pytest.fixture(scope="module")
def deleted_once(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str, dict[str, str]]:
    """A home whose champion's run was deleted for good, that run, and what was tried before."""
    home = Home(shutil.copytree(world.trained.folder, tmp_path_factory.mktemp("deleted") / "home"))
    before = tries(place_of(home))
    run = champion_place(home.tracking_uri).run_id
    delete_for_good(home.tracking_uri, run)
    return home, run, before


@pytest.fixture
def deleted(deleted_once: tuple[Home, str, dict[str, str]], tmp_path: Path) -> tuple[Home, str, dict[str, str]]:
    """A copy of it."""
    home, run, before = deleted_once
    return Home(shutil.copytree(home.folder, tmp_path / "home")), run, before


@pytest.mark.parametrize("command", ["score", "report"])
def test_without_the_champions_run_a_forecast_is_refused_with_the_command_that_helps(
    altrally: Invoke, deleted: tuple[Home, str, dict[str, str]], command: str
) -> None:
    home, run, _ = deleted
    said = one_line(altrally("--home", home.folder, command))
    assert run in said
    assert "run `altrally train`" in said
    assert not home.ledger.exists()


def test_status_says_it_and_shows_the_rest(altrally: Invoke, deleted: tuple[Home, str, dict[str, str]]) -> None:
    home, run, _ = deleted
    ran = altrally("--home", home.folder, "status", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["champion"]) == (0, None)
    assert run in told["warnings"][0]
    assert told["series"]
    assert run in altrally("--home", home.folder, "status").out


def test_repair_calls_nothing_damaged_and_moves_nothing(altrally: Invoke, deleted: tuple[Home, str, dict[str, str]]) -> None:
    home, run, before = deleted
    runs = list_runs(home.tracking_uri)
    said = one_line(altrally("--home", home.folder, "repair"))
    assert "train" in said
    (finding,) = repair(home)
    assert run in finding.why
    assert finding.done == "the database is sound"
    assert not damaged_path(home.database).exists()
    assert list_runs(home.tracking_uri).equals(runs)
    assert tries(place_of(home)) == before


def test_training_makes_a_champion_again_and_all_is_well(
    altrally: Invoke, world: World, deleted: tuple[Home, str, dict[str, str]], tmp_path: Path
) -> None:
    home, _, before = deleted
    code, said = said_by(tmp_path / "out", world, "--home", home.folder, "train")
    assert code == 0, said
    assert "is champion: the run of the former v1 was deleted" in said
    assert (spoken(home) == spoken(world.trained)).all()
    assert altrally("--home", home.folder, "score").code == 0
    assert altrally("--home", home.folder, "repair").code == 0
    assert tries(place_of(home)) == before


def test_a_round_of_watch_trains_and_forecasts(world: World, deleted: tuple[Home, str, dict[str, str]], tmp_path: Path) -> None:
    home, _, _ = deleted
    _, said = said_by(tmp_path / "out", world, "--home", home.folder, "watch", "--provider", "files", "--path", world.drop)
    assert "is champion: the run of the former v1 was deleted" in said
    assert "Line 1 of the ledger" in said


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainReport]:
    """Rows already prepared, trained on once: the default model and another."""
    home = tmp_path_factory.mktemp("twice")
    return home, train_on(job(FEW), place_in(home), silent)


@pytest.fixture
def two_models(twice: tuple[Path, TrainReport], tmp_path: Path) -> tuple[TrackingPlace, TrainReport]:
    """A copy, in which the champion's run is deleted for good."""
    home, report = twice
    place = place_in(shutil.copytree(home, tmp_path / "home"))
    with tracking(place):
        pass
    delete_for_good(place.uri, report.models[0]["run_id"])
    return place, report


def test_the_other_runs_are_compared_and_promoted(two_models: tuple[TrackingPlace, TrainReport]) -> None:
    place, report = two_models
    other = report.models[1]["run_id"]
    assert {row["run_id"] for row in compare(place, [])} == {other}
    assert "is champion" in promote(place, other, force=True, why="the former one was deleted").sentence
    assert champion_place(place.uri).run_id == other


def test_what_was_kept_without_the_default_model_makes_no_champion_and_is_logged(
    two_models: tuple[TrackingPlace, TrainReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, report = two_models
    spooled: list[PendingTraining] = []
    monkeypatch.setattr("training.train.log_pending", lambda tracker, work, progress: (spooled.append(work), 1 / 0)[1])
    with pytest.raises(ZeroDivisionError):
        train_on(job(FEW), place, silent)
    monkeypatch.undo()
    (folder,) = pending_folders(place.home)
    default = report.models[0]["model"]
    work = replace(spooled[0], models={name: record for name, record in spooled[0].models.items() if name != default})
    shutil.rmtree(folder)
    write_pending(work, folder)
    assert default not in read_pending(folder).models
    decisions = train_on(job(FEW), place, silent).decisions
    assert f"{default}, which would become it, wasn't trained this time" in decisions[0]
    assert any("is champion: the run of the former v2 was deleted" in decision for decision in decisions)


def test_a_run_deleted_and_not_yet_collected_still_scores(world: World, tmp_path: Path) -> None:
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "home"))
    from mlflow import MlflowClient

    MlflowClient(home.tracking_uri).delete_run(champion_place(home.tracking_uri).run_id)
    assert (spoken(home) == spoken(world.trained)).all()


def test_a_page_is_written_though_the_training_beside_the_run_was_deleted(altrally: Invoke, world: World, tmp_path: Path) -> None:
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "home"))
    with tracking(place_of(home)):  # its runs then name its own files, not those of the home it was copied from
        runs = list_runs(home.tracking_uri)
    delete_for_good(home.tracking_uri, runs.loc[runs["parent_id"].isna(), "run_id"].iloc[0])
    ran = altrally("--home", home.folder, "report")
    assert ran.code == 0, ran.err
    assert Path(ran.out.splitlines()[-1]).exists()


def test_files_that_are_gone_are_told_with_both_ways_on(altrally: Invoke, world: World, tmp_path: Path) -> None:
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "home"))
    altrally("--home", home.folder, "status")
    shutil.rmtree(home.artifacts)
    with pytest.raises(Lost):
        spoken(home)
    said = one_line(altrally("--home", home.folder, "score"))
    assert "altrally train" in said
    assert "promote RUN --force" in said


def empty_experiment(place: TrackingPlace) -> None:
    """Delete the experiment with all its runs, and collect the garbage."""
    with tracking(place) as tracker:
        experiment = tracker.experiment_id
        tracker.client.delete_experiment(experiment)
    mlflow(place.uri, "gc", "--backend-store-uri", place.uri)


def no_database(place: TrackingPlace) -> None:
    """The runs are thrown away whole."""
    shutil.rmtree(place.home / "mlruns")


def old_copy(place: TrackingPlace) -> None:
    """The database is damaged, and its copy is from before any try."""
    assert place.database is not None
    with closing(sqlite3.connect(copy_path(place.database))) as copy, copy:
        copy.execute("DELETE FROM experiment_tags")
    os.truncate(place.database, place.database.stat().st_size // 2)
    (finding,) = [one for one in repair(Home(place.home)) if one.file == str(place.database)]
    assert "its copy was brought back" in finding.done


@pytest.mark.parametrize("harm", [empty_experiment, no_database, old_copy])
def test_no_try_is_forgotten(tmp_path: Path, harm: Callable[[TrackingPlace], None]) -> None:
    place = place_in(tmp_path / "home")
    with tracking(place) as tracker:
        count_trials(tracker, "family", "30 %", ["a", "b"])
        count_trials(tracker, "family", f"30 %{SEARCHED}2018-01-01", [f"{number:016x}" for number in range(300)])
        count_sweeps(tracker, "family", "one", pd.Timestamp("2018-01-01"), pd.Timestamp("2024-12-31"))
    before = tries(place)
    place = place_in(place.home.rename(tmp_path / "moved"))  # MLflow keeps the database open that this process has used
    harm(place)
    with tracking(place) as tracker:
        assert trial_history(tracker, "family", "30 %").trials == PRIOR_TRIALS + 302
        assert count_trials(tracker, "family", "30 %", ["c"])["c"] == PRIOR_TRIALS + 303
    assert tries(place).items() >= before.items()


def test_what_an_older_home_counted_is_recorded_at_its_next_opening(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    with tracking(place) as tracker:
        count_trials(tracker, "family", "30 %", ["a"])
    trials.record_of(tmp_path).unlink()
    with tracking(place):
        pass
    assert trials.read(tmp_path) == {"trial.family.a": f"{PRIOR_TRIALS + 1} 30 %"} == tries(place)


def test_what_was_judged_stays_judged_when_an_older_copy_says_it_was_only_searched(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    with tracking(place) as tracker:
        count_trials(tracker, "family", f"30 %{SEARCHED}2018-01-01", ["a"])
        searched = counted_tags(tracker)["trial.family.a"]
        count_trials(tracker, "family", "30 %", ["a"])
        tracker.client.set_experiment_tag(tracker.experiment_id, f"{HIDDEN}trial.family.a", searched)
    with tracking(place) as tracker:
        assert trial_history(tracker, "family", "30 %").configurations == {"a"}


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda text: text[:-10], [2]),
        (lambda text: text.replace(b" 30 %", b" 31 %", 1), [1]),
        (lambda text: b"\xff\xfe\n" + text, [1]),
        (lambda text: b"", []),
    ],
    ids=["cut off", "a digit", "rubbish", "empty"],
)
def test_a_record_that_is_not_what_was_written_is_found_and_made_whole(
    tmp_path: Path, spoil: Callable[[bytes], bytes], found: list[int]
) -> None:
    place, file = place_in(tmp_path), trials.record_of(tmp_path)
    with tracking(place) as tracker:
        count_trials(tracker, "family", "30 %", ["a", "b"])
    before = tries(place)
    file.write_bytes(spoil(file.read_bytes()))
    assert trials.damaged_lines(tmp_path) == found
    assert [finding.next for finding in repair(Home(tmp_path)) if finding.file == str(file)] == [None] * len(found)
    assert trials.damaged_lines(tmp_path) == []
    assert trials.read(tmp_path) == before == tries(place)


def test_a_line_after_one_that_a_kill_cut_off_is_a_line_of_its_own(tmp_path: Path) -> None:
    trials.add(tmp_path, {"trial.family.a": "55 30 %"})
    file = trials.record_of(tmp_path)
    file.write_bytes(file.read_bytes() + b'{"tag": "tri')
    trials.add(tmp_path, {"trial.family.b": "56 30 %"})
    assert trials.read(tmp_path) == {"trial.family.a": "55 30 %", "trial.family.b": "56 30 %"}


def test_a_database_that_is_locked_is_not_damaged(world: World, tmp_path: Path) -> None:
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "home"))
    before = home.database.read_bytes()
    with closing(sqlite3.connect(home.database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InUse), tracking(place_of(home)):
            pass
        (finding,) = repair(home)
    assert finding.done == "left as it is"
    assert home.database.read_bytes() == before
