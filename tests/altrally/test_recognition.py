"""After a fetch of files a user knows what was recognised, and what is still missing for a training."""

from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke

from altrally.recognition import recognise
from altrally.sample import write_sample
from core.errors import BadInput
from core.target import ALTCOINS
from sources.files import ABOUT_SAMPLE
from sources.schemas import SHEETS
from sources.store import Store

DAYS = [f"{day:%Y-%m-%d}" for day in pd.date_range("2020-01-01", "2020-06-30")]
ALTCOIN = "date,asset,asset_class,price\n" + "".join(f"{day},aave,coin,1\n" for day in DAYS)
BITCOIN = ALTCOIN.replace("aave,coin", "bitcoin,btc")


def unwrapped(text: str) -> str:
    """Text on one line, however wide the terminal was."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `altrally sample` writes."""
    folder = tmp_path_factory.mktemp("sample") / "new"
    write_sample(folder)
    return folder


def test_a_sample_can_be_trained_on_and_says_that_it_is_simulated(altrally: Invoke, sample: Path, tmp_path: Path) -> None:
    assert "simulated" in (sample / ABOUT_SAMPLE).read_text()
    ran = altrally("fetch", "--provider", "files", "--path", sample, "--home", tmp_path / "home")
    assert ran.code == 0, ran.err
    assert "13 of 13 tickers" in unwrapped(ran.out)
    assert "20 altcoins (20 with market caps, 20 with volumes), bitcoin" in unwrapped(ran.out)
    assert "You can train from 2017" in unwrapped(ran.out)
    assert "missing" not in unwrapped(ran.out).partition("Recognised")[2]
    assert "not read" not in unwrapped(ran.out)


def test_a_sample_overwrites_nothing(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="isn't empty"):
        write_sample(sample)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="can't be written"):
        write_sample(tmp_path / "file")


def test_a_check_stores_nothing(altrally: Invoke, tmp_path: Path) -> None:
    (tmp_path / "crypto.csv").write_text(ALTCOIN)
    home = tmp_path / "home"
    ran = altrally("fetch", "--check", "--provider", "files", "--path", tmp_path, "--home", home)
    assert (ran.code, ran.err) == (0, "")
    assert "Nothing was stored" in unwrapped(ran.out)
    assert not home.exists()
    assert altrally("fetch", "--provider", "files", "--path", tmp_path, "--home", home).code == 0
    before = (home / "store.duckdb").read_bytes()
    (tmp_path / "crypto.csv").write_text(ALTCOIN.replace(",1\n", ",2\n"))
    assert altrally("fetch", "--check", "--provider", "files", "--path", tmp_path, "--home", home).code == 0
    assert (home / "store.duckdb").read_bytes() == before


def test_a_check_of_the_network_is_refused(altrally: Invoke, tmp_path: Path) -> None:
    ran = altrally("fetch", "--check", "--home", tmp_path / "home")
    assert ran.code == 1
    assert "--provider files --path DIR" in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BITCOIN, "only bitcoin"),
        (ALTCOIN, "1 altcoins with neither market caps nor dollar volumes"),
        (ALTCOIN.replace("price\n", "price,market_cap\n").replace(",1\n", ",1,5\n"), "at least 3 years"),
    ],
    ids=["only bitcoin", "no caps and volumes", "too short"],
)
def test_what_is_missing_for_a_training_is_said(altrally: Invoke, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "crypto.csv").write_text(text)
    ran = altrally("fetch", "--provider", "files", "--path", tmp_path, "--home", tmp_path / "home")
    assert ran.code == 0, ran.err
    assert "You can't train yet" in unwrapped(ran.out)
    assert words in unwrapped(ran.out)
    assert "no coin prices" not in unwrapped(ran.out)
    assert "audit of breakouts there is still missing: closes of ^RUT" in unwrapped(ran.out)


def test_nothing_is_recognised_in_an_empty_store(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        found = recognise(store, ALTCOINS, pd.Timestamp("2025-01-01"))
    assert found.lines[0] == "Nothing was recognised."
    assert "no coin prices" in str(found.to_dict()["missing"]["train and score"])


def test_a_sample_holds_only_files_of_the_layout(sample: Path) -> None:
    assert {file.stem for file in sample.glob("*.csv")} <= set(SHEETS)
