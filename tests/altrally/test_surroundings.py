"""What a shell, a notebook or a server elsewhere can do to a command: it works, or says in one line at its start why it can't."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from faulting import World
from invoking import Invoke
from places import ROOT
from sklearn import config_context
from team_server import free_port
from training_jobs import SETTINGS, job, place_in

from core.errors import BadInput, StoreUnusable
from core.progress import silent
from models.champion import damaged_figures, list_runs
from sources.reach import require_reachable
from sources.store import Store
from training.settings import TrainSettings
from training.tracking import TrackingPlace
from training.train import train, train_on

LONGEST = 10.0
"""Seconds until a server that doesn't answer is told."""


@pytest.fixture
def refusing() -> str:
    """Where nobody listens."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Where somebody listens and never says a word."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield f"127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize("command", ["status", "score", "train", "compare", "verify", "report", "leakcheck"])
def test_a_server_that_refuses_connections_is_told_at_once(
    altrally: Invoke, world: World, refusing: str, tmp_path: Path, command: str
) -> None:
    home = shutil.copytree(world.trained.folder, tmp_path / "home")
    start = perf_counter()
    ran = altrally("--home", home, "--tracking-server", f"http://{refusing}", command)
    assert perf_counter() - start < LONGEST
    assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
    assert f"No tracking server answers at http://{refusing}" in ran.err


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql+psycopg2"])
def test_no_server_is_waited_for_longer(refusing: str, silent_server: str, scheme: str) -> None:
    for server in (refusing, silent_server):
        start = perf_counter()
        with pytest.raises(StoreUnusable, match=f"No tracking server answers at {scheme.replace('+', '.')}://{server}"):
            require_reachable(f"{scheme}://{server}/runs")
        assert perf_counter() - start < LONGEST


def test_a_training_asks_before_it_begins(world: World, refusing: str, tmp_path: Path) -> None:
    begun: list[str] = []
    with Store.open(world.fetched.store, read_only=True) as store, pytest.raises(StoreUnusable, match="No tracking server"):
        train(
            store,
            TrainSettings(),
            until=pd.Timestamp("2018-06-30"),
            place=TrackingPlace(f"http://{refusing}", None, tmp_path),
            progress=lambda label, done, total: begun.append(label),
        )
    assert begun == []


@pytest.mark.parametrize(
    ("address", "module", "installed_by"),
    [
        ("postgresql+psycopg2://host/runs", "psycopg2", "psycopg2-binary"),
        ("mysql+pymysql://host/runs", "pymysql", "pymysql"),
        ("mysql://host/runs", "MySQLdb", "mysqlclient"),
        ("mssql+pyodbc://host/runs", "pyodbc", "pyodbc"),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_its_package(
    altrally: Invoke, world: World, monkeypatch: pytest.MonkeyPatch, address: str, module: str, installed_by: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    for command in ("train", "score"):
        ran = altrally("--home", world.fetched.folder, "--tracking-server", address, command)
        assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
        assert f"module {module}" in ran.err
        assert f"`pip install {installed_by}`" in ran.err


def test_an_address_that_is_none_is_said_and_others_are_left_to_mlflow() -> None:
    for address in ("http://", "postgresql://host:port/x"):
        with pytest.raises(BadInput):
            require_reachable(address)
    for address in ("sqlite:////nowhere/mlflow.db", "databricks", "azureml://workspace", "./mlruns"):
        require_reachable(address)


ODD_SETTINGS = {
    "MPLBACKEND": "a-notebook's-own",
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
    "MLFLOW_RUN_ID": "0" * 32,
    "MLFLOW_ACTIVE_MODEL_ID": "m-" + "0" * 32,
    "MLFLOW_EXPERIMENT_ID": "77",
    "MLFLOW_EXPERIMENT_NAME": "mine",
    "MLFLOW_REGISTRY_URI": "http://127.0.0.1:9",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "PYTHONOPTIMIZE": "1",
}


def test_settings_of_a_notebook_and_of_mlflow_cost_no_training(
    monkeypatch: pytest.MonkeyPatch, world: World, tmp_path: Path
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "psutil" else real(name, *more))
    for name, value in ODD_SETTINGS.items():
        monkeypatch.setenv(name, value)
    place = place_in(tmp_path)
    report = train_on(job(replace(SETTINGS, models=("momentum",), draws=2, rotations=5)), place, silent)
    assert report.decisions
    assert place.database is not None
    assert damaged_figures(place.database) == []
    runs = list_runs(place.uri)
    assert set(runs["status"]) == {"FINISHED"}
    assert len(runs) == 1 + len(report.models)
    assert {name: os.environ.get(name) for name in ODD_SETTINGS} == ODD_SETTINGS


def test_a_run_and_an_experiment_of_the_caller_stay_his(tmp_path: Path) -> None:
    import mlflow

    theirs = f"sqlite:///{tmp_path / 'theirs.db'}"
    mlflow.set_tracking_uri(theirs)
    try:
        mlflow.set_experiment("mine")
        with mlflow.start_run() as run:
            place = place_in(tmp_path / "home")
            train_on(job(replace(SETTINGS, models=("momentum",), draws=2, rotations=5)), place, silent)
            mlflow.log_metric("mine", 1.0)
            assert mlflow.active_run().info.run_id == run.info.run_id
        assert mlflow.get_tracking_uri() == theirs
        assert mlflow.get_run(run.info.run_id).data.metrics == {"mine": 1.0}
    finally:
        mlflow.set_tracking_uri(None)
        for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"):
            os.environ.pop(name, None)
        mlflow.tracking.fluent._active_experiment_id = None
    assert set(list_runs(place.uri)["status"]) == {"FINISHED"}


def test_without_docstrings_nothing_is_begun_and_it_is_said(world: World) -> None:
    words = [sys.executable, "-OO", "-c", "from altrally.cli import run; run()", "--home", str(world.fetched.folder)]
    for command in ("features", "train", "--help"):
        done = subprocess.run([*words, command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("altrally: Python leaves docstrings out (PYTHONOPTIMIZE=2")
        assert done.stderr.count("\n") == 1


def test_a_picture_is_drawn_whatever_backend_is_named(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib, pandas as pd\n"
        "from training.figures import draw_history\n"
        "days = pd.date_range('2020-01-01', periods=3)\n"
        "rows = {'as_of': days, 'horizon': 60, 'probability': 0.3, 'climatology': 0.5, 'outcome': 1.0}\n"
        "draw_history(pd.DataFrame(rows), 'title', pathlib.Path(sys.argv[1]))\n"
        "import matplotlib\n"
        "print(os.environ['MPLBACKEND'], matplotlib.rcParams['backend'])\n"
    )
    for number, (named, used) in enumerate([("nonsense", "agg"), ("svg", "svg")]):
        file = tmp_path / f"{number}.png"
        command = [sys.executable, "-c", program, str(file)]
        done = subprocess.run(command, env=os.environ | {"MPLBACKEND": named}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.lower().split() == [named, used]
        assert file.read_bytes().startswith(b"\x89PNG")


OF_THE_CALLER: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "NumPy raises": lambda: np.errstate(all="raise"),
    "scikit-learn gives pandas": lambda: config_context(transform_output="pandas"),
    "pandas without its own strings": lambda: pd.option_context("future.infer_string", False),
    "few digits": lambda: np.printoptions(precision=2),
    "few rows": lambda: pd.option_context("display.precision", 2, "display.max_rows", 5),
}


@pytest.mark.parametrize("name", OF_THE_CALLER)
def test_settings_of_the_callers_libraries_change_no_forecast(altrally: Invoke, world: World, tmp_path: Path, name: str) -> None:
    home = shutil.copytree(world.trained.folder, tmp_path / "home")
    before = json.loads(altrally("--home", home, "score", "--json").out)
    with OF_THE_CALLER[name]():
        after = json.loads(altrally("--home", home, "score", "--json").out)
    assert {key for key in before if before[key] != after[key]} <= {"ledger"}


NAMED_LIKE_PYTHONS_OWN = ("types.py", "random.py", "queue.py", "calendar.py", "joblib.py", "numpy.py", "sklearn.py")
WORKERS = """
import math
from models.parallel import run_in_parallel

if __name__ == "__main__":
    print(sum(run_in_parallel(math.sqrt, [(4.0,), (9.0,)], processes=2)))
"""


def test_files_of_the_user_that_are_named_like_modules_do_not_reach_the_workers(tmp_path: Path) -> None:
    folder, program = tmp_path / "where the user works", tmp_path / "program"
    for place in (folder, program):
        place.mkdir()
    for name in NAMED_LIKE_PYTHONS_OWN:
        (folder / name).write_text("raise SystemExit('a file of the user was run')\n")
    (program / "workers.py").write_text(WORKERS)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, program / "workers.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5.0\n", "")
