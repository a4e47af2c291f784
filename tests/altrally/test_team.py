"""A team's server: real PostgreSQL, real MLflow, accounts. What one trains another compares and promotes; passwords stay unsaid."""

import json
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import yaml
from team_server import ADMIN_PASSWORD, DATABASE_PASSWORD, TEAM, Team, program, team
from training_jobs import SETTINGS, job

from altrally.cli import run
from core.errors import BadInput, StoreUnusable
from core.home import open_home
from core.progress import silent
from evaluation.multiple_testing import PRIOR_TRIALS
from models.champion import load_champion
from training.tracking import TrackingPlace, tracking
from training.train import TrainReport, train_on
from training.trial_count import trial_history

pytestmark = pytest.mark.usefixtures("few_pictures")

PASSWORDS = {"ann": "of ann, not told", "ben": "of ben, not told"}
SECRETS = (ADMIN_PASSWORD, DATABASE_PASSWORD, *PASSWORDS.values())
NEW_USER = "/api/2.0/mlflow/users/create"
QUICK = replace(SETTINGS, models=("pool", "logit"), draws=5, rotations=20)


@dataclass(frozen=True)
class Trained:
    """A server on which ann has trained, and how ann and ben reach it from homes of their own."""

    team: Team
    report: TrainReport
    homes: dict[str, TrackingPlace]


@pytest.fixture(scope="module")
def served() -> Iterator[Team]:
    """The server, with two accounts."""
    if program("initdb") is None:
        pytest.skip("PostgreSQL isn't installed here (no initdb on the path or under /usr/lib/postgresql)")
    pytest.importorskip("psycopg2", reason="the extra [team] isn't installed")
    with team() as started:
        for name, password in PASSWORDS.items():
            account = {"username": name, "password": password}
            made = httpx.post(f"{started.address}{NEW_USER}", json=account, auth=("admin", ADMIN_PASSWORD), timeout=60)
            assert made.is_success, made.text
        yield started


@pytest.fixture(scope="module")
def trained(served: Team, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What ann trained first of all."""
    homes = {name: TrackingPlace(served.address, None, tmp_path_factory.mktemp(name)) for name in PASSWORDS}
    with pytest.MonkeyPatch.context() as patch:
        log_in(patch, "ann", PASSWORDS["ann"])
        return Trained(served, train_on(job(QUICK), homes["ann"], silent), homes)


def log_in(patch: pytest.MonkeyPatch, name: str, password: str) -> None:
    """Credentials where MLflow looks for them."""
    patch.setenv("MLFLOW_TRACKING_USERNAME", name)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", password)


@pytest.fixture
def as_ben(trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command as ben, from a home of his own, and returns what it printed."""
    log_in(monkeypatch, "ben", PASSWORDS["ben"])

    def invoke(*words: str) -> str:
        place = trained.homes["ben"]
        monkeypatch.setattr(sys, "argv", ["altrally", "--home", str(place.home), "--tracking-server", place.uri, *words])
        with pytest.raises(SystemExit) as stop:
            run()
        printed = capsys.readouterr()
        assert not stop.value.code, printed.err
        return printed.out

    return invoke


def test_the_first_training_on_a_server_makes_a_champion(trained: Trained) -> None:
    assert trained.report.decisions[0] == "pool v2 is champion: the first model of this home, not shown."
    files = [file.name for file in trained.homes["ann"].home.rglob("*") if file.is_file()]
    assert files == ["tries.jsonl"], "what was tried is kept at home too; the rest is the server's"


def test_another_compares_and_promotes_from_a_home_of_his_own(trained: Trained, as_ben: Callable[..., str]) -> None:
    rows = json.loads(as_ben("compare", "--json"))
    assert {row["model"] for row in rows} == {"pool", "logit"}
    assert {(row["model"], row["horizon"]): row["brier"] for row in rows} == {
        (row["model"], row["horizon"]): pytest.approx(row["brier"]) for row in trained.report.rows
    }
    logit = next(made for made in trained.report.models if made["model"] == "logit")
    assert "is champion" in as_ben("promote", logit["run_id"], "--force", "--why", "two of us looked at it")
    champion = load_champion(trained.homes["ann"].uri, trained.homes["ann"].home)
    assert (champion.card.model, champion.run_id) == ("logit", logit["run_id"])


def test_tries_are_counted_for_all(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, "ben", PASSWORDS["ben"])
    with tracking(trained.homes["ben"]) as tracker:
        assert trial_history(tracker, "altcoin-rally-simulated", QUICK.label).trials == PRIOR_TRIALS + len(QUICK.models or ())


@pytest.mark.parametrize(("name", "password"), [("ben", "guessed"), ("nobody", "guessed")])
def test_without_an_account_nothing_is_read_and_the_password_is_not_repeated(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    log_in(monkeypatch, name, password)
    with pytest.raises(StoreUnusable, match="401") as refused:
        load_champion(trained.homes["ben"].uri, trained.homes["ben"].home)
    assert password not in str(refused.value)


def test_no_password_lies_where_others_read(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, "ann", PASSWORDS["ann"])
    with tracking(trained.homes["ann"]) as tracker:
        runs = tracker.client.search_runs([tracker.experiment_id])
        told = [str(run.to_dictionary()) for run in runs]
    assert len(told) == 1 + len(QUICK.models or ())
    files = [path for path in trained.team.artifacts.rglob("*") if path.is_file()]
    assert any(path.name == "model.skops" for path in files)
    for secret in SECRETS:
        assert not any(secret in text for text in told)
        assert not any(secret.encode() in path.read_bytes() for path in [*files, *trained.team.logs.glob("*.log")])


@pytest.mark.parametrize("address", ["http://ann:secret@host:5000", "postgresql://mlflow:secret@host/mlflow"])
def test_an_address_with_a_password_is_refused_unrepeated(tmp_path: Path, address: str) -> None:
    with pytest.raises(BadInput, match="MLFLOW_TRACKING_PASSWORD") as refused:
        open_home(tmp_path, address)
    assert "secret" not in str(refused.value)
    assert open_home(tmp_path, "http://host:5000").tracking_uri == "http://host:5000"


def test_the_compose_file_publishes_on_loopback_and_holds_no_secret() -> None:
    services = yaml.safe_load((TEAM / "compose.yaml").read_text())["services"]
    assert [port for service in services.values() for port in service.get("ports", [])] == ["127.0.0.1:5000:5000"]
    secret = {
        value
        for service in services.values()
        for name, value in service["environment"].items()
        if "PASSWORD" in name or "SECRET" in name
    }
    assert len(secret) == 3
    assert all(value.startswith("${") and ":?" in value for value in secret)
    accounts = ConfigParser()
    accounts.read(TEAM / "auth.ini")
    assert not any("password" in name for name in accounts["mlflow"])
    assert accounts["mlflow"]["database_uri"] == "postgresql+psycopg2:///mlflow"


def test_the_documented_command_is_the_one_of_the_compose_file() -> None:
    page = (TEAM.parent / "team.md").read_text()
    for word in yaml.safe_load((TEAM / "compose.yaml").read_text())["services"]["mlflow"]["command"]:
        if not word.startswith(("--host", "--artifacts-destination")):
            assert word in page
