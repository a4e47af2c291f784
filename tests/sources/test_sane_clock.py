"""One wrong clock spoils nothing for good: it is told, refused where it would, and mended."""

from pathlib import Path

import pandas as pd
import pytest
from live_home import LATER, TODAY, fetch_live
from replay import Market, serving
from wide_market import declare_few

from altrally import api, repair
from core.errors import BadInput
from core.home import Home
from sources import quality
from sources.http import Site
from sources.quality import compare_service_clocks, warn_of_old_bars
from sources.series import FED_ASSETS
from sources.simulated import simulate
from sources.store import Store

AHEAD = pd.Timestamp("2036-05-01 07:00")


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    return simulate(start="2020-01-01", end="2024-12-31", stocks=1, coins=5)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    declare_few(monkeypatch, "SPY", series=(FED_ASSETS,))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = Home(tmp_path / "home")
    folder.folder.mkdir()
    return folder


def site(date: pd.Timestamp | None) -> Site:
    made = Site("FRED", "http://127.0.0.1", None)  # type: ignore[arg-type]
    made.health.date = date
    return made


def test_a_clock_ahead_of_the_services_is_refused(home: Home) -> None:
    with Store.open(home.store) as store, pytest.raises(BadInput, match="clock says 2036-05-01 07:00 UTC, FRED's says 2024-12-31"):
        list(compare_service_clocks(store, [site(None), site(TODAY)], AHEAD))


def test_a_clock_behind_the_services_is_told_once_a_month(home: Home) -> None:
    with Store.open(home.store) as store:
        told = [len(list(compare_service_clocks(store, [site(AHEAD)], TODAY + pd.Timedelta(days=days)))) for days in (0, 1, 32)]
    assert told == [1, 0, 1]


def test_a_newest_bar_of_long_ago_is_told() -> None:
    assert list(warn_of_old_bars(TODAY.normalize(), TODAY)) == []
    assert "the newest bar is of 2024-12-31" in next(warn_of_old_bars(TODAY.normalize(), AHEAD))


def test_what_was_stored_under_a_wrong_clock_is_found_and_mended(
    home: Home, frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "compare_service_clocks", lambda *words: iter(()))  # the server's clock is that of the test's day
    fred = frames["fred"]
    day = pd.Timestamp("2024-12-18")
    corrected = fred.assign(value=fred.value.where((fred.series != "WALCL") | (fred.date != day), 7.0))
    since = pd.Timestamp("2024-10-01")
    with serving(Market(dict(frames), since, TODAY.normalize()).routes()) as replay, Store.open(home.store) as store:
        fetch_live(store, replay, monkeypatch)
        replay.routes = Market(frames | {"fred": corrected}, since, TODAY.normalize()).routes()
        report = fetch_live(store, replay, monkeypatch, today=AHEAD)
        assert any(line.startswith("clock: the newest bar is of") for line in report.warnings)
        assert store.read(FED_ASSETS, LATER).query("observed == @day").value.to_list() != [7.0]
        with pytest.raises(BadInput, match="`altrally repair` dates anew"):
            fetch_live(store, replay, monkeypatch, today=TODAY + pd.Timedelta(days=1))
        assert store.from_the_future(TODAY)
    monkeypatch.setattr(api, "now", lambda: TODAY + pd.Timedelta(days=1))
    (finding,) = list(repair.clock_of_store(home))
    assert "stored under a clock that was ahead" in finding.why
    with Store.open(home.store) as store:
        assert store.damage() is None
        assert not store.from_the_future(TODAY + pd.Timedelta(days=1))
        versions = store.read(FED_ASSETS, LATER).query("observed == @day")
        assert versions.value.iloc[-1] == 7.0
        assert versions.known.iloc[-1] == pd.Timestamp("2025-01-01")
        assert store.last_fetch() == TODAY + pd.Timedelta(days=1)
    assert list(repair.clock_of_store(home)) == []
