"""Homes that many tests read: fetched once a session, never written to afterwards."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from faulting import World, make_world, one_picture
from filelock import FileLock
from invoking import Invoke, invoker
from listening import Listener, listening

from core.progress import silent

REFERENCE = Path(__file__).parents[2] / "shared" / "data"
TODAY = pd.Timestamp("2025-01-01")


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A home made by the first worker of a session that asks for it, and shared by all."""
    base = tmp_path_factory.getbasetemp()
    home = base.parent / name if "gw" in base.name else base / name
    home.mkdir(exist_ok=True)
    with FileLock(home / "made.lock"):
        if not (home / "made").exists():
            make(home)
            (home / "made").touch()
    return home


def fetch_into(home: Path, provider: str, path: Path | None = None) -> None:
    """Fetch one market."""
    from sources.fetch import fetch
    from sources.store import Store

    with Store.open(home / "store.duckdb") as store:
        fetch(store, provider, path=path, today=TODAY, progress=silent)


def train_in(home: Path, fetched: Path) -> None:
    """Train the default model and the baselines, by the command a user types."""
    shutil.copy(fetched / "store.duckdb", home)
    script = Path(sys.executable).with_name("altrally")
    done = subprocess.run([script, "--home", home, "train", "--model", "pool"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session", autouse=True)
def new_databases_are_copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each new database of runs is a copy of the one that the first test made: MLflow takes two seconds to build one.

    Programs that tests start build their own, as users' do.
    """
    from training import tracking

    build = tracking.create_database

    def build_template(folder: Path) -> None:
        build(tracking.TrackingPlace(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder))

    def create_database(place: tracking.TrackingPlace) -> None:
        file = place.database
        if file is not None and not file.exists():
            beside = tracking.unfinished_path(file)
            shutil.copy(made_once(tmp_path_factory, "mlflow", build_template) / "mlflow.db", beside)
            beside.replace(file)
        build(place)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "create_database", create_database)
        yield


@pytest.fixture(autouse=True)
def no_address_left_behind() -> Iterator[None]:
    """MLflow keeps its address in the environment: left there, it would send every later home and child process elsewhere."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    assert os.environ.get("MLFLOW_TRACKING_URI") == before


@pytest.fixture
def altrally(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    """Runs a command line in this process: `altrally("score", "--json")`."""
    return invoker(monkeypatch, capsys)


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference market."""
    if not (REFERENCE / "prices.parquet").exists():
        pytest.skip("the reference market (../shared/data) is not beside the project")
    return REFERENCE


@pytest.fixture(scope="session")
def reference_home(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home into which the reference market was fetched."""
    return made_once(tmp_path_factory, "reference_home", lambda home: fetch_into(home, "files", reference))


@pytest.fixture(scope="session")
def simulated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home into which the simulated market was fetched."""
    return made_once(tmp_path_factory, "simulated_home", lambda home: fetch_into(home, "simulated"))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small market and its homes that faults are put upon copies of."""
    return World(made_once(tmp_path_factory, "world", make_world))


@pytest.fixture(scope="session")
def small_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds a small simulated market of seven years: quick to compute again and again."""
    from sources.layout import batches
    from sources.simulated import simulate
    from sources.store import Store

    home = tmp_path_factory.mktemp("small")
    with Store.open(home / "store.duckdb") as store:
        store.claim_market("simulated")
        for batch in batches(simulate(seed=3, start="2014-01-01", end="2020-12-31", stocks=12, coins=60), "simulated"):
            store.append(batch, pd.Timestamp("2021-02-01"))
    return home


@pytest.fixture(scope="session")
def trained_home(simulated_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated home in which the default model and the baselines were trained once."""
    return made_once(tmp_path_factory, "trained_home", lambda home: train_in(home, simulated_home))


@pytest.fixture(scope="module")
def few_pictures() -> Iterator[None]:
    """One picture a model: drawn for every training, all of them take half of a test file's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.run_log.write_figures", one_picture)
        yield


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A server that hears what a webhook is told."""
    with listening() as server:
        yield server
