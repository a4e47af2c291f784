"""Secrets stay where they are, and names of others escape neither a path nor a page."""

import logging
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from faulting import World, begun, typed
from listening import SECRET as IN_THE_WEBHOOK
from listening import Listener
from places import ROOT

from altrally.cli import fail
from altrally.report.page import environment, inlined
from core.errors import BadInput, StoreUnusable, redacted, without_secrets
from models.champion import aliases
from sources.files import batches as file_batches
from sources.layout import batches
from sources.schemas import check_batch, checked
from sources.series import COIN_PRICE
from sources.store import Store
from training.run_log import log_comparison
from training.tracking import TrackingPlace, tracking

SECRET = "hunter2-correct-horse"
ADDRESSES = (
    f"http://me:{SECRET}@127.0.0.1:9/mlflow",
    f"postgresql://me:{SECRET}@127.0.0.1:9/runs",
    f"https://hooks.example.org/x?token={SECRET}",
    f"https://{SECRET}@example.org/",
)
ESCAPES = {
    "up and out": "../../../../etc/cron.d/x",
    "absolute": "/etc/passwd",
    "script": "<script>alert(1)</script>",
    "end of script": "</script><img src=x onerror=alert(1)>",
    "quotes": "\"' onload='x",
    "sql": "'; DROP TABLE bars; --",
    "markup": "[red]x[/red]",
    "template": "{{ 7 * 7 }}",
}
UNPRINTABLE = {
    "NUL": "BTC\x00.png",
    "escape sequence": "\x1b[2Jgone",
    "two lines": "BTC\nETH",
    "right to left": "\u202egnp.exe",
    "invisible": "BT\u200bC",
    "very long": "x" * 65,
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_its_secret(address: str) -> None:
    text = redacted(f"The runs at {address} can't be read: {address!r} is down")
    assert SECRET not in text
    assert "***" in text
    assert redacted("sqlite:////home/me/mlflow.db and me@example.org") == "sqlite:////home/me/mlflow.db and me@example.org"


def test_a_key_in_the_environment_is_in_no_error_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FRED_API_KEY", SECRET)
    with pytest.raises(SystemExit):
        fail(f"ALFRED refused the key {SECRET}\nat http://me:{SECRET}@host/?api_key={SECRET}")
    said = capsys.readouterr().err
    assert said == "altrally: ALFRED refused the key *** at http://***@host/?***\n"
    assert without_secrets("nothing set", {}) == "nothing set"


def test_the_password_of_a_tracking_server_is_in_no_error_and_no_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreUnusable) as unread:
        aliases(ADDRESSES[0])
    with pytest.raises(StoreUnusable) as unwritten, tracking(TrackingPlace(ADDRESSES[0], None, tmp_path)):
        pass
    for told in (unread, unwritten):
        assert SECRET not in str(told.value)
        assert "***@127.0.0.1:9" in str(told.value)
        assert told.value.__cause__ is None
    assert SECRET not in caplog.text


def with_secrets(out: Path, learnt: Path, checkout: Path, *words: object) -> None:
    """The command line where a key stands in the environment and a password in the address of the checkout."""
    os.environ["FRED_API_KEY"] = SECRET
    os.chdir(checkout)
    typed(out, learnt, *words)


def holding_secrets(*folders: Path) -> list[Path]:
    """Files below folders in which a secret stands."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return [file for file in files if any(secret.encode() in file.read_bytes() for secret in (SECRET, IN_THE_WEBHOOK))]


def test_no_run_no_page_and_no_line_holds_a_secret(world: World, listener: Listener, tmp_path: Path) -> None:
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    subprocess.run(["git", "init", "-q", checkout], check=True)
    subprocess.run(["git", "-C", checkout, "remote", "add", "origin", ADDRESSES[0]], check=True)
    home = shutil.copytree(world.trained.folder, tmp_path / "home")
    out.mkdir()
    watching = ["watch", "--provider", "files", "--path", world.drop, "--webhook", listener.address, "--cross", "0.001:60"]
    for words in (["train"], ["score"], ["report"], watching):
        child = begun(with_secrets, out / str(words[0]), world.learnt, checkout, "--home", home, *words)
        child.join()
        assert child.exitcode == (words is watching), "the data end in 2018, which the last round says and tells the webhook"
    assert listener.heard
    assert list(home.glob("reports/*.html"))
    assert holding_secrets(home, out) == []
    (out / "slip").write_text(f"{SECRET}\n")
    assert holding_secrets(home, out) == [out / "slip"]


def crypto(name: str) -> pd.DataFrame:
    days = pd.date_range("2020-01-01", periods=3)
    return pd.DataFrame({"date": days, "asset": name, "asset_class": "coin", "price": [1.0, 2.0, 3.0]})


@pytest.mark.parametrize("name", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_a_name_that_cannot_be_shown_is_refused_in_one_printable_line(name: str) -> None:
    with pytest.raises(BadInput, match="at most 64 printable characters") as told:
        checked("crypto", crypto(name))
    assert str(told.value).isprintable()
    good = next(iter(batches({"crypto": crypto("fine")}, "files")))
    with pytest.raises(BadInput):
        check_batch(SimpleNamespace(table="bars", label="coins", frame=good.frame.assign(symbol=name)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ESCAPES.values(), ids=ESCAPES)
def test_a_hostile_name_is_data_and_nothing_else(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    crypto(name).to_csv(folder / "crypto.csv", index=False)
    before = {path for path in tmp_path.rglob("*") if path.parent != tmp_path / "home"}
    with Store.open(tmp_path / "home" / "store.duckdb") as store:
        for batch in file_batches(store, path=folder, today=pd.Timestamp("2020-02-01"), progress=lambda *step: None):
            store.append(batch, pd.Timestamp("2020-02-01"))  # type: ignore[arg-type]
        assert store.read_panel(COIN_PRICE, pd.Timestamp("2021-01-01"))[name].tolist() == [1.0, 2.0, 3.0]
    after = {path for path in tmp_path.rglob("*") if path.parent != tmp_path / "home"}
    assert after - before == {tmp_path / "home"}


@pytest.mark.parametrize("name", [*ESCAPES.values(), *UNPRINTABLE.values()])
def test_no_name_becomes_an_element_of_a_page(name: str) -> None:
    page = environment().from_string("<p title='{{ name }}'>{{ name }}</p>").render(name=name)
    assert page.count("<") == 2
    assert page.count("'") == 2
    assert not set("<>") & set(str(inlined([name])))


def test_no_template_turns_escaping_off() -> None:
    folder = ROOT / "altrally" / "report" / "templates"
    assert [file.name for file in folder.iterdir() if "|safe" in file.read_text().replace(" ", "")] == []


@pytest.mark.parametrize("name", [*ESCAPES.values(), "\x00", "\u202ex", "x" * 500])
def test_no_run_name_escapes_the_folder_a_picture_is_drawn_in(name: str, tmp_path: Path) -> None:
    class Client:
        """Stands where MLflow's would; only the paths matter here."""

        def log_batch(self, *_: object, **__: object) -> None: ...

        def set_tag(self, *_: object) -> None: ...

        def log_artifacts(self, run_id: str, folder: str, place: str) -> None:
            kept.extend(Path(folder).iterdir())

    kept: list[Path] = []
    drawn: list[Path] = []
    tracker = SimpleNamespace(client=Client(), place=SimpleNamespace(database=None, artifacts=None))
    log_comparison(tracker, "run", against=name, metrics={}, draw=lambda file: (drawn.append(file), file.touch())[0])  # type: ignore[arg-type]
    assert kept == drawn
    assert drawn[0].parent.name.startswith("tmp")
