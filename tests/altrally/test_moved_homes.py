"""A home finds its own files wherever it lies, also for MLflow's own commands, and those of the home it was copied from stay."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from faulting import World, place_of, spoken
from invoking import Invoke
from team_server import free_port, running

from core.files import temporary_root
from core.home import Home, folder_at, stored_elsewhere
from models.champion import champion_place, list_runs, load_champion, rows_of
from training.tracking import tracking

ADDRESSES = (
    "SELECT artifact_location FROM experiments WHERE name = 'altrally'",
    "SELECT artifact_uri FROM runs",
    "SELECT artifact_location FROM logged_models",
    "SELECT storage_location FROM model_versions",
)


def folders_named(home: Home) -> set[Path]:
    """Every folder that the runs of a home name."""
    rows = [row for query in ADDRESSES for row in rows_of(home.database, query)]
    return {folder_at(address) or Path(address) for (address,) in rows}


def files_below(home: Home) -> set[Path]:
    """Every file of its runs."""
    return {file for file in home.artifacts.rglob("*") if file.is_file()}


def mlflow(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of MLflow's own, told where the runs of a home are."""
    environment = os.environ | {"MLFLOW_TRACKING_URI": home.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    return subprocess.run([sys.executable, "-m", "mlflow", *words], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def original(world: World, tmp_path: Path) -> Home:
    """A trained home at a place of its own, which its runs name."""
    home = Home(shutil.copytree(world.trained.folder, tmp_path / "original"))
    with tracking(place_of(home)):
        pass
    return home


@pytest.fixture
def copied(original: Home, tmp_path: Path) -> Home:
    """A copy of it that no command has seen yet."""
    return Home(shutil.copytree(original.folder, tmp_path / "copied"))


@pytest.mark.parametrize(
    "command", [("score",), ("status",), ("verify", "--model", "momentum"), ("compare",), ("repair",), ("watch",)]
)
def test_the_first_command_in_a_copy_makes_its_runs_name_its_own_files(
    altrally: Invoke, original: Home, copied: Home, command: tuple[str, ...]
) -> None:
    assert all(original.artifacts in (folder, *folder.parents) for folder in folders_named(copied))
    ran = altrally("--home", copied.folder, *command)
    assert ran.code == 0 or "nothing known from the 365 days" in ran.err, ran.err
    assert all(copied.artifacts in (folder, *folder.parents) for folder in folders_named(copied))
    assert all(original.artifacts in (folder, *folder.parents) for folder in folders_named(original))
    assert altrally("--home", copied.folder, "repair").code == 0


def test_mlflow_gc_in_a_copy_leaves_the_files_of_the_original(altrally: Invoke, original: Home, copied: Home) -> None:
    altrally("--home", copied.folder, "status")
    before, spoken_before = files_below(original), spoken(original)
    from mlflow import MlflowClient

    for run in list_runs(copied.tracking_uri)["run_id"]:
        MlflowClient(copied.tracking_uri).delete_run(run)
    done = mlflow(copied, "gc", "--backend-store-uri", copied.tracking_uri)
    assert done.returncode == 0, done.stderr
    assert not [file for file in files_below(copied) if file.name == "forecasts.parquet"]
    assert files_below(original) == before
    assert (spoken(original) == spoken_before).all()


def test_the_documented_command_serves_the_champion_of_a_moved_home(altrally: Invoke, original: Home, tmp_path: Path) -> None:
    moved = Home(original.folder.rename(tmp_path / "moved here"))
    assert altrally("--home", moved.folder, "score").code == 0
    port, champion = free_port(), load_champion(moved.tracking_uri, moved.folder)
    words = ["models", "serve", "-m", "models:/altrally@champion", "--env-manager", "local", "--port", str(port)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"MLFLOW_TRACKING_URI": moved.tracking_uri, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": path}
    row = dict.fromkeys(champion.card.columns, 0.3)
    with running([sys.executable, "-m", "mlflow", *words], port, tmp_path / "serve.log", environment):
        answer = httpx.post(f"http://127.0.0.1:{port}/invocations", json={"dataframe_records": [row]}, timeout=60)
    assert answer.status_code == 200, answer.text
    probabilities = [line["probability"] for line in answer.json()["predictions"]]
    assert probabilities == pytest.approx(champion.forecaster.model_.predict([list(row.values())])[0].tolist())
    assert not original.folder.exists()


def test_a_home_seen_through_a_link_has_not_moved(original: Home, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(original.folder)
    linked = Home(tmp_path / "link")
    assert stored_elsewhere(linked.database, linked.artifacts) is None


def test_while_another_process_is_at_work_nothing_is_rewritten_and_status_says_what_not_to_do(
    altrally: Invoke, original: Home, copied: Home
) -> None:
    with temporary_root(copied.folder):
        told = json.loads(altrally("--home", copied.folder, "status", "--json").out)
        shown = altrally("--home", copied.folder, "status").out
    assert champion_place(copied.tracking_uri).run_folder.startswith(original.folder.as_uri())
    (warning,) = told["warnings"]
    assert "don't run `mlflow gc` here" in warning
    assert f"below {original.artifacts.as_uri()}" in warning
    assert "mlflow gc" in shown
    assert told["runs"] == copied.tracking_uri
    told = json.loads(altrally("--home", copied.folder, "status", "--json").out)
    assert told["warnings"] == []
