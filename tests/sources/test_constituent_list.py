"""A fund's list of holdings becomes dated membership, and its names come through yfinance's real client: breadth exists live."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from invoking import Invoke, invoker
from listed_names import CHART, FIRST_BAR, NAMES, bars_of, issuers_csv, yahoo_of
from live_home import QUICK
from replay import Market, Replay, serving
from wide_market import declare_few

from core.errors import BadInput
from core.progress import Progress, silent
from features.build import build
from sources import coins, constituent_list, constituents, fred, live, yahoo
from sources.constituent_list import add_list, read_list
from sources.fetch import FetchReport, fetch
from sources.membership import breadth_basis
from sources.series import FUND_PRICE, STOCK_PRICE
from sources.simulated import simulate
from sources.store import Store
from sources.yahoo import TickerRequest

TODAY = pd.Timestamp("2024-12-31 15:00")  # a Tuesday
LAST_DAY = pd.Timestamp("2024-12-30")
FIRST_LIST, FIRST_DAY = "Nov 30, 2023", pd.Timestamp("2023-12-01")
FEW, FUNDS = NAMES[:12], ["IJR", "IWC", "IWM", "IWN", "IWO"]
NEED_CONSTITUENTS = {
    "breadth_above_50": 37,
    "breadth_above_200": 150,
    "new_highs_less_lows": 189,
    "net_advances": 16,
    "up_volume_share": 16,
    "breadth_of_surges": 52,
    "small_cap_illiquidity": 190,
}
"""The features that exist only with constituents, and the number of the session after the first list with its first value."""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen names are enough for a list, and five for a batch: each name is a request through yfinance."""
    monkeypatch.setattr(constituent_list, "LEAST_NAMES", 12)
    monkeypatch.setattr(constituents, "A_BATCH", 5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, few: None) -> Iterator[Replay]:
    """Yahoo, asked by the live provider for five funds and the listed names; the other services have nothing to say."""
    with serving(yahoo_of([*FEW, "MOG-A", "NEWQ", *FUNDS], TODAY)) as replay:
        for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
            monkeypatch.setenv(f"ALTRALLY_{name}_URL", replay.address)
        monkeypatch.setenv("FRED_API_KEY", "")
        monkeypatch.setattr(live, "RetryPolicy", lambda: QUICK)
        monkeypatch.setattr(fred, "deliveries", lambda *args, **more: iter(()))
        monkeypatch.setattr(coins, "deliveries", lambda *args, **more: iter(()))
        monkeypatch.setattr(yahoo, "fund_tickers", lambda: [TickerRequest(ticker, ticker) for ticker in FUNDS])
        yield replay


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


@pytest.fixture
def altrally(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Invoke:
    return invoker(monkeypatch, capsys)


def added(
    store: Store, file: Path, *, day: pd.Timestamp | None = None, survivors: bool = False, today: pd.Timestamp = TODAY
) -> str:
    """Read a list and store it."""
    return add_list(store, read_list(file, day, today), survivors=survivors, today=today)


def fetched(store: Store, *, today: pd.Timestamp = TODAY, progress: Progress = silent) -> FetchReport:
    return fetch(store, "live", today=today, progress=progress)


def requested(server: Replay) -> list[str]:
    """Tickers whose bars were asked for since the last look, without the funds."""
    names = [path.rpartition("/")[2] for path, _ in server.asked if path.startswith(CHART)]
    server.asked.clear()
    return [name for name in names if name not in FUNDS]


# Reading a file


def test_an_issuers_file_is_read_as_its_listed_shares(tmp_path: Path) -> None:
    constituents = read_list(issuers_csv(tmp_path / "holdings.csv", [*NAMES, "MOGA", "BRK.B"], FIRST_LIST), None, TODAY)
    assert constituents.tickers == (*NAMES, "MOGA", "BRK-B")
    assert (constituents.day, constituents.fund, constituents.left_out) == (pd.Timestamp("2023-11-30"), "Small Cap Fund", 8)


OTHER_ISSUER = "Fund Name:,Other Fund\nTicker Symbol:,SMAL\nHoldings:,As of 29-Nov-2024\n\nName,Ticker,Weight\n"


@pytest.mark.parametrize(
    ("head", "line", "fund"),
    [
        (OTHER_ISSUER, "INC,{},0.1", "Other Fund"),
        ("symbol\n", "{}", ""),
        ("Ticker,Date\n", "{},2024-11-29", ""),
    ],
)
def test_other_lists_with_a_column_of_tickers_are_read(tmp_path: Path, head: str, line: str, fund: str) -> None:
    file = tmp_path / "list.csv"
    file.write_text(head + "\n".join([*map(line.format, NAMES), ""]))
    day = pd.Timestamp("2024-11-29")
    constituents = read_list(file, day if head.startswith("symbol") else None, TODAY)
    assert (constituents.day, constituents.tickers, constituents.fund) == (day, tuple(NAMES), fund)


PLAIN = "\n".join(["ticker", *NAMES, ""])
DAYS = "\n".join(["ticker,date", *(f"{name},2024-11-{1 + place % 2:02}" for place, name in enumerate(NAMES)), ""])


@pytest.mark.parametrize(
    ("content", "day", "words"),
    [
        ("\n<!DOCTYPE html><html>We use cookies</html>", None, "is a web page, not a list"),
        ("PK\x03\x04", None, "is a spreadsheet, not text"),
        ("", None, "is empty"),
        ("name,weight\nA,1\n", None, "has no column 'ticker' or 'symbol'"),
        ("ticker\n", "2024-11-29", "lists 0 shares"),
        ("\n".join(["ticker", *NAMES[:37], ""]), "2024-11-29", "lists 37 shares, and breadth of small caps needs at least 100"),
        (PLAIN + "ACQ\n", "2024-11-29", "lists ACQ 2 times"),
        (PLAIN, None, r"doesn't say of which day it is\. Add --as-of YYYY-MM-DD"),
        (PLAIN, "2025-01-01", r"is of 2025-01-01, and today is 2024-12-31"),
        (PLAIN + "CUT", "2024-11-29", r"breaks off in its last line \('CUT'\)"),
        (DAYS, None, r"holds lists of 2 days \(2024-11-01 to 2024-11-02\)"),
        (DAYS.replace("-02", "-01"), "2024-11-29", "says it is of 2024-11-01, and --as-of says 2024-11-29"),
        (DAYS.replace("2024-11-02", "11/2/24").replace("2024-11-01", "11/2/24"), None, "of '11/2/24', which is no plain day"),
        ("Fund Holdings as of,x\nticker,name,price\n" + "A,B", None, "line 3 has 2 cells, and there are 3 columns"),
    ],
)
def test_what_is_no_whole_list_of_one_day_is_refused(tmp_path: Path, content: str, day: str | None, words: str) -> None:
    file = tmp_path / "list.csv"
    file.write_text(content)
    with pytest.raises(BadInput, match=words) as error:
        read_list(file, None if day is None else pd.Timestamp(day), TODAY)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="can't be read: No such file"):
        read_list(tmp_path / "none.csv", None, TODAY)
    (tmp_path / "latin.csv").write_bytes("ticker\nSociété\n".encode("latin-1"))
    with pytest.raises(BadInput, match="isn't UTF-8"):
        read_list(tmp_path / "latin.csv", None, TODAY)


# From a list to breadth


def test_with_a_list_every_feature_of_constituents_exists_live(store: Store, server: Replay, tmp_path: Path) -> None:
    words = added(store, issuers_csv(tmp_path / "holdings.csv", FEW, FIRST_LIST))
    assert words.startswith("Small Cap Fund: 12 names, list of 2023-11-30. 8 rows that are no listed shares are left out.")
    assert "Bars of 12 names take about a minute" in words
    report = fetched(store)
    assert report.constituents.startswith("Small Cap Fund: 12 names, list of 2023-11-30, all with prices.")
    assert "The list is 397 days old: download a new one" in report.constituents
    price = store.read_panel(STOCK_PRICE, LAST_DAY)
    assert (set(price), price.index[0], price.index[-1]) == (set(FEW), FIRST_DAY, LAST_DAY)
    values = build(store, LAST_DAY, start=FIRST_BAR).features
    sessions = pd.bdate_range(FIRST_DAY, LAST_DAY)
    first = {name: values[name].first_valid_index() for name in NEED_CONSTITUENTS}
    assert first == {name: sessions[number - 1] for name, number in NEED_CONSTITUENTS.items()}
    assert values[list(NEED_CONSTITUENTS)].iloc[-1].notna().all()


def test_levels_of_funds_and_constituents_are_never_mixed(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", FEW, FIRST_LIST))
    fetched(store)
    table = build(store, LAST_DAY, start=FIRST_BAR)
    for name, panel in (("breadth_above_50", STOCK_PRICE), ("fund_breadth_above_50", FUND_PRICE)):
        price = store.read_panel(panel, LAST_DAY)
        mean = price.rolling(50, min_periods=37).mean()
        share = ((price > mean).sum(axis=1) / mean.notna().sum(axis=1)).dropna()
        assert table.features[name][share.index].to_numpy() == pytest.approx(share.to_numpy())
    assert table.features["breadth_above_50"][: FIRST_DAY - pd.Timedelta(days=1)].isna().all()


def test_nothing_counts_on_a_day_before_the_first_list(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", FEW, "Dec 20, 2024"))
    fetched(store)
    assert store.read_panel(STOCK_PRICE, pd.Timestamp("2024-12-19")).empty
    assert store.read_panel(STOCK_PRICE, LAST_DAY).index[0] == pd.Timestamp("2024-12-23"), "the 21st is a Saturday"
    assert "count from 2024-12-21 on" in breadth_basis(store, pd.Timestamp("2024-12-19"))


def test_a_later_list_changes_members_from_the_day_after_it_only(store: Store, server: Replay, tmp_path: Path) -> None:
    before, later = pd.Timestamp("2024-11-30 12:00"), [*FEW[2:], "NEWQ", "MOGA"]
    added(store, issuers_csv(tmp_path / "first.csv", FEW, FIRST_LIST), today=before)
    fetched(store, today=before)
    old = store.read_panel(STOCK_PRICE, pd.Timestamp("2024-11-29"))
    words = added(store, issuers_csv(tmp_path / "second.csv", later, "Nov 29, 2024"))
    assert "Since the list before 2 joined and 2 left." in words
    fetched(store)
    price = store.read_panel(STOCK_PRICE, LAST_DAY)
    pd.testing.assert_frame_equal(price.loc[:"2024-11-29", FEW], old)
    after = price.loc["2024-11-30":]
    assert set(after.dropna(axis=1, how="all")) == set(later)
    assert price["NEWQ"].first_valid_index() == pd.Timestamp("2024-12-02")
    assert breadth_basis(store, LAST_DAY).startswith("Small Cap Fund: 12 names, list of 2024-11-29, all with prices.")


def test_a_round_without_a_list_keeps_members_up_to_date(store: Store, server: Replay, tmp_path: Path) -> None:
    before = pd.Timestamp("2024-12-20 15:00")
    added(store, issuers_csv(tmp_path / "first.csv", FEW, FIRST_LIST), today=before)
    fetched(store, today=before)
    added(store, issuers_csv(tmp_path / "second.csv", [*FEW[2:], "NEWQ", "MOGA"], "Dec 20, 2024"))
    requested(server)
    fetched(store)
    assert set(requested(server)) == {*FEW, "NEWQ", "MOGA", "MOG-A"}, "those that left lack the last session before they left"
    assert store.read_panel(STOCK_PRICE, TODAY).iloc[-1].notna().sum() == 12
    fetched(store, today=TODAY + pd.Timedelta(days=1))
    assert set(requested(server)) == {*FEW[2:], "NEWQ", "MOG-A"}


def test_a_stopped_fetch_goes_on_with_the_same_list(store: Store, server: Replay, tmp_path: Path) -> None:
    file, bar = issuers_csv(tmp_path / "holdings.csv", FEW, FIRST_LIST), list[tuple[str, int, int]]()

    def stop(label: str, done: int, total: int) -> None:
        if label.startswith("constituents: 12 names, about"):
            bar.append((label, done, total))
            if done == 7:
                raise KeyboardInterrupt

    added(store, file)
    with pytest.raises(KeyboardInterrupt):
        fetched(store, progress=stop)
    assert [(done, total) for _, done, total in bar] == [(place, 12) for place in range(8)]
    assert len(store.asset_classes("stock")) == 5
    again = added(store, file)
    assert "Bars of 7 names take" in again
    assert "joined" not in again
    requested(server)
    fetched(store)
    assert sorted(requested(server)) == FEW[5:]
    assert set(store.read_panel(STOCK_PRICE, LAST_DAY)) == set(FEW)


def test_after_a_holiday_no_name_is_asked_for(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", FEW, "Dec 20, 2024"))
    fetched(store, today=pd.Timestamp("2025-01-01 15:00"))
    assert requested(server) == FEW
    fetched(store, today=pd.Timestamp("2025-01-02 15:00"))
    assert requested(server) == []


def test_wrong_tickers_are_one_line_and_rest_for_a_week(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", [*FEW, "WRONG", "FALSE"], FIRST_LIST))
    lines = [line for line in fetched(store).warnings if line.startswith("constituents")]
    assert lines == [
        "constituents: Yahoo has no bars of 2 names (FALSE, WRONG): gone, renamed or misspelt; asked for again in a week."
    ]
    assert "14 names, list of 2023-11-30, 2 of them without prices (FALSE, WRONG)." in breadth_basis(store, LAST_DAY)
    requested(server)
    later = fetched(store, today=TODAY + pd.Timedelta(days=2))
    assert not [line for line in later.warnings if line.startswith("constituents")]
    assert not {"WRONG", "FALSE"} & set(requested(server))
    fetched(store, today=TODAY + pd.Timedelta(days=8))
    assert {"WRONG", "FALSE"} <= set(requested(server))


def test_a_class_of_shares_is_found_under_yahoos_spelling(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", [*FEW, "MOGA"], FIRST_LIST))
    assert not [line for line in fetched(store).warnings if line.startswith("constituents")]
    assert store.read_panel(STOCK_PRICE, LAST_DAY)["MOGA"].notna().all()
    assert {"MOGA", "MOG-A"} <= set(requested(server))
    fetched(store, today=TODAY + pd.Timedelta(days=1))
    assert "MOG-A" in (names := requested(server))
    assert "MOGA" not in names


def test_survivors_count_before_their_list_where_the_user_says_so(store: Store, server: Replay, tmp_path: Path) -> None:
    added(store, issuers_csv(tmp_path / "holdings.csv", FEW, "Dec 20, 2024"), survivors=True)
    fetched(store)
    assert store.read_panel(STOCK_PRICE, LAST_DAY).index[0] == FIRST_BAR
    assert "Before 2024-12-20 the 12 names of the first list count as survivors. On real" in breadth_basis(store, FIRST_BAR)


# Lists that don't fit


def test_a_list_that_cannot_follow_is_refused(store: Store, tmp_path: Path, few: None) -> None:
    first = issuers_csv(tmp_path / "first.csv", FEW, "Nov 29, 2024")
    added(store, first)
    before = store.snapshot(TODAY)
    others = [f"{name}X" for name in FEW]
    for names, day, survivors, words in (
        ([*FEW, "NEWQ"], "Nov 28, 2024", False, "lists go in from the oldest on"),
        ([*FEW, "NEWQ"], "Nov 29, 2024", False, "Another list of 2024-11-29 is stored: 1 names differ"),
        ([*FEW[:3], *others], "Dec 20, 2024", False, "Only 12% of the names .* it is of another index"),
        (FEW, "Dec 20, 2024", True, "--survivors must come with the first list"),
    ):
        with pytest.raises(BadInput, match=words):
            added(store, issuers_csv(tmp_path / "next.csv", names, day), survivors=survivors)
    added(store, first)
    assert store.snapshot(TODAY) == before


def test_names_without_a_day_have_to_go_first(store: Store, tmp_path: Path, few: None) -> None:
    (tmp_path / "home" / "constituents.txt").write_text("ACQ\n")
    with pytest.raises(BadInput, match=r"constituents\.txt lists names without a day\. Move it away"):
        added(store, issuers_csv(tmp_path / "holdings.csv", FEW, FIRST_LIST))


def test_storing_a_list_makes_no_bar_late(store: Store, server: Replay, tmp_path: Path) -> None:
    fetched(store, today=pd.Timestamp("2024-12-20 15:00"))
    added(store, issuers_csv(tmp_path / "holdings.csv", FEW, FIRST_LIST), today=TODAY - pd.Timedelta(minutes=5))
    assert store.last_fetch() == pd.Timestamp("2024-12-20 15:00")
    report = fetched(store)
    assert not [line for line in report.warnings if "late" in line]
    assert store.read_panel(FUND_PRICE, LAST_DAY, on_time=True).index[-3:].equals(pd.bdate_range("2024-12-26", LAST_DAY, unit="us"))


# The command


@pytest.fixture
def whole_market(monkeypatch: pytest.MonkeyPatch, few: None) -> Iterator[Replay]:
    """All services, few things of each, and the listed names but one."""
    frames = simulate(start="2020-12-01", end="2024-12-31", stocks=1, coins=5)
    market = Market(frames, FIRST_BAR, TODAY.normalize())
    market.bars |= {name: bars_of(name, TODAY) for name in FEW}
    declare_few(monkeypatch, *FUNDS)
    with serving(market.routes()) as replay:
        for name in ("FRED", "ALFRED", "COINS", "YAHOO"):
            monkeypatch.setenv(f"ALTRALLY_{name}_URL", replay.address)
        monkeypatch.setenv("FRED_API_KEY", "")
        monkeypatch.setattr(live, "RetryPolicy", lambda: QUICK)
        monkeypatch.setattr("altrally.jobs.now", lambda: TODAY)
        yield replay


def test_the_commands_say_what_breadth_rests_on(altrally: Invoke, whole_market: Replay, tmp_path: Path) -> None:
    file, home = issuers_csv(tmp_path / "holdings.csv", [*FEW, "WRONG"], FIRST_LIST), tmp_path / "h"
    listed = "Small Cap Fund: 13 names, list of 2023-11-30"
    ran = altrally("--home", home, "fetch", "--constituents", file)
    assert (ran.code, ran.err) == (0, "")
    said = " ".join(ran.out.split())
    assert f"{listed}. 8 rows that are no listed shares are left out. Bars of 13 names take about a minute" in said
    assert said.count(f"{listed}, 1 of them without prices (WRONG). Each counts only while it is listed, from 2023-12-01 on.") == 1
    assert f"{listed}, 1 of them without prices" in " ".join(altrally("--home", home, "status").out.split())
    rows = {row["name"]: row for row in json.loads(altrally("--home", home, "features", "--json").out)}
    for name in NEED_CONSTITUENTS:
        assert rows[name]["first_day"] >= "2023-12-02", name
        assert rows[name]["coverage"] > 0, name


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--constituents", "page.csv"], "is a web page, not a list"),
        (["--constituents", "list.csv"], "Add --as-of YYYY-MM-DD"),
        (["--constituents", "list.csv", "--as-of", "yesterday"], "--as-of 'yesterday' is not a day"),
        (["--constituents", "list.csv", "--provider", "simulated"], "--constituents belongs to --provider live"),
        (["--as-of", "2024-11-29"], "--as-of is about a list: name it with --constituents FILE"),
        (["--survivors"], "--survivors is about a list"),
    ],
)
def test_a_bad_list_is_one_line_and_no_home(
    altrally: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.csv").write_text("<html>accept</html>")
    Path("list.csv").write_text(PLAIN)
    ran = altrally("--home", tmp_path / "h", "fetch", *words)
    assert ran.code == 1
    assert line in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "h").exists()
