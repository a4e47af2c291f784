"""A coin whose unit changes makes nobody richer: the index never jumps, whatever is known of the change."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.progress import silent
from features.altcoin_index import load_index
from sources.fetch import FetchReport, fetch
from sources.series import COIN_CLOSE, COIN_HIGH, COIN_PRICE
from sources.store import Store

DAYS = pd.date_range("2023-01-01", periods=240, unit="us")
CHANGED = pd.Timestamp("2023-06-10")
FAR = pd.Timestamp("2030-01-01")
SUPPLY = 1e9


def market(coins: int = 6, *, last: pd.Timestamp = DAYS[-1]) -> pd.DataFrame:
    """Walks of some coins with their market caps and volumes, a row a coin and day."""
    rng = np.random.default_rng(5)
    logs = np.cumsum(0.04 * rng.normal(size=(len(DAYS), coins)), axis=0)
    wide = pd.DataFrame(np.exp(logs), DAYS, [f"coin-{number}" for number in range(coins)])
    long = wide.melt(var_name="asset", value_name="price", ignore_index=False).rename_axis("date").reset_index()
    made = long.assign(asset_class="coin", market_cap=long.price * SUPPLY, volume=1e6)
    return made[made.date <= last]


def redenominated(rows: pd.DataFrame, ratio: float, *, asset: str = "coin-0", since: pd.Timestamp = CHANGED) -> pd.DataFrame:
    """The same market where `ratio` coins of an asset became one on a day: another price, the same market cap."""
    after = (rows.asset == asset) & (rows.date >= since)
    return rows.assign(price=rows.price.where(~after, rows.price * ratio))


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def fetched(store: Store, drop: Path, rows: pd.DataFrame, *stated: str) -> FetchReport:
    """Fetch `rows` as a file, on the day after their last, with lines of `redenominations.csv` if there are any."""
    rows.to_csv(drop / "crypto.csv", index=False)
    if stated:
        (drop / "redenominations.csv").write_text("\n".join(["date,asset,ratio", *stated, ""]))
    return fetch(store, "files", path=drop, today=rows.date.max() + pd.Timedelta(days=1, hours=6), progress=silent)


def level(store: Store) -> pd.Series:
    """The altcoin index."""
    return load_index(store, FAR).level.dropna()


def undisturbed(rows: pd.DataFrame, tmp_path: Path) -> pd.Series:
    """The index of a market in which no unit changed."""
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    with Store.open(folder / "store.duckdb") as store:
        fetched(store, folder, rows)
        return level(store)


def about(report: FetchReport, coin: str = "coin-0") -> list[str]:
    """What the user reads about a coin."""
    return [line for line in report.warnings if coin in line]


RATIOS = [1000.0, 100.0, 50.0, 10.0, 1 / 10, 1 / 100, 1 / 1000, 37.0, 1 / 8000]


@pytest.mark.parametrize("ratio", RATIOS)
def test_at_an_unchanged_market_cap_no_return_is_made_of_it(store: Store, drop: Path, tmp_path: Path, ratio: float) -> None:
    report = fetched(store, drop, redenominated(market(), ratio))
    pd.testing.assert_series_equal(level(store), undisturbed(market(), tmp_path), rtol=0.01 if ratio == 37 else 1e-9)
    (line,) = about(report)
    assert "was redenominated" in line
    assert f"{CHANGED:%Y-%m-%d}" in line
    assert report.lines[0].left_out == {}


@pytest.mark.parametrize("ratio", [1000.0, 10.0, 1 / 100])
def test_a_market_cap_that_never_changes_says_enough(store: Store, drop: Path, ratio: float) -> None:
    rows = market().assign(market_cap=1e9)
    rows["price"] *= np.exp(0.02 * ((rows.date - DAYS[0]).dt.days / 10))
    report = fetched(store, drop, redenominated(rows, ratio))
    assert "was redenominated" in about(report)[0]
    assert level(store).pct_change().abs().max() < 0.2


@pytest.mark.parametrize("days_since", [1, 3, 30])
def test_it_is_told_once_and_fetching_again_stores_nothing(store: Store, drop: Path, days_since: int) -> None:
    rows = redenominated(market(last=CHANGED + pd.Timedelta(days=days_since - 1)), 1000)
    assert len(about(fetched(store, drop, rows))) == 1
    before = store.snapshot(FAR)
    again = fetched(store, drop, rows)
    assert about(again) == []
    assert again.lines[0].new == 0
    assert store.snapshot(FAR) == before


@pytest.mark.parametrize("window", [400, 5], ids=["whole history", "last five days"])
def test_day_after_day_the_past_stays_and_the_index_is_that_without_it(
    store: Store, drop: Path, tmp_path: Path, window: int
) -> None:
    whole = redenominated(market(), 1000)
    told = []
    for day in pd.date_range(CHANGED - pd.Timedelta(days=3), CHANGED + pd.Timedelta(days=9)):
        before = store.snapshot(day - pd.Timedelta(days=1))
        since = day - pd.Timedelta(days=window) if store.market else DAYS[0]
        report = fetched(store, drop, whole[(whole.date <= day) & (whole.date > since)])
        told += about(report)
        assert store.snapshot(day - pd.Timedelta(days=1)) == before or day < CHANGED
        assert not [line for line in report.warnings if "rewrote" in line]
    assert len(told) == 1
    expected = undisturbed(market(last=CHANGED + pd.Timedelta(days=9)), tmp_path)
    pd.testing.assert_series_equal(level(store), expected, rtol=1e-9)


def test_a_source_that_restates_its_whole_past_is_kept_in_the_stored_unit(store: Store, drop: Path, tmp_path: Path) -> None:
    fetched(store, drop, market(last=CHANGED))
    report = fetched(store, drop, redenominated(market(), 1000, since=DAYS[0]))
    assert all("by up to 0.00%" in line for line in report.warnings), "rounding"
    pd.testing.assert_series_equal(level(store), undisturbed(market(), tmp_path), rtol=1e-9)


def test_where_nothing_says_why_the_coin_is_held_back_by_name(store: Store, drop: Path) -> None:
    report = fetched(store, drop, redenominated(market(), 1000).drop(columns="market_cap"))
    after = int((DAYS >= CHANGED).sum())
    assert report.lines[0].left_out == {"held back": after}
    assert report.lines[0].came == len(market())
    (line,) = about(report)
    assert f"({after}) were left out" in line
    assert f"Write the line {CHANGED:%Y-%m-%d},coin-0,RATIO (date,asset,ratio) into {drop / 'redenominations.csv'}" in line
    assert level(store).pct_change().abs().max() < 0.2
    assert store.read_panel(COIN_PRICE, FAR)["coin-0"].last_valid_index() == CHANGED - pd.Timedelta(days=1)


def test_patience_makes_no_unit_believed(store: Store, drop: Path) -> None:
    """Not even day after day, long after five days agree."""
    whole = redenominated(market(), 1000).drop(columns="market_cap")
    for days in (0, 1, 7, 30):
        report = fetched(store, drop, whole[whole.date <= CHANGED + pd.Timedelta(days=days)])
        assert len(about(report)) == 1
    assert level(store).pct_change().abs().max() < 0.2


@pytest.mark.parametrize("stated", ["2023-06-10,coin-0,1000", "2023-06-02,COIN-0,1000"], ids=["to the day", "nearly, upper case"])
def test_a_stated_ratio_is_applied(store: Store, drop: Path, tmp_path: Path, stated: str) -> None:
    rows = redenominated(market(), 1000).drop(columns="market_cap")
    report = fetched(store, drop, rows, stated)
    expected = undisturbed(market().drop(columns="market_cap"), tmp_path)
    pd.testing.assert_series_equal(level(store), expected, rtol=1e-9)
    assert about(report) == [
        "crypto: coin-0 was redenominated 1,000 to 1 on 2023-06-10, as redenominations.csv states. "
        "Its prices are kept in the unit before that."
    ]
    assert report.lines[0].left_out == {}


def test_rows_held_back_come_once_their_ratio_is_stated(store: Store, drop: Path, tmp_path: Path) -> None:
    rows = redenominated(market(), 1000).drop(columns="market_cap")
    fetched(store, drop, rows)
    fetched(store, drop, rows, "2023-06-10,coin-0,1000")
    expected = undisturbed(market().drop(columns="market_cap"), tmp_path)
    pd.testing.assert_series_equal(level(store), expected, rtol=1e-9)


def test_a_move_stated_as_real_is_believed(store: Store, drop: Path) -> None:
    rows = redenominated(market(), 1 / 1000).drop(columns="market_cap")
    report = fetched(store, drop, rows, "2023-06-10,coin-0,1")
    assert report.lines[0].left_out == {}
    assert level(store).pct_change().min() < -0.1


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("2023-06-10,coin-1,1000", "coin-1 doesn't change 1,000 to 1 about 2023-06-10, as redenominations.csv states"),
        ("2023-03-10,coin-0,1000", "coin-0 doesn't change 1,000 to 1 about 2023-03-10"),
        ("2023-06-10,coin-0,0.001", "coin-0 doesn't change 1 to 1,000 about 2023-06-10"),
        ("2023-06-10,coin-9,1000", "coin-9 is named in"),
    ],
)
def test_what_is_stated_and_not_there_changes_nothing_and_is_told(store: Store, drop: Path, stated: str, words: str) -> None:
    report = fetched(store, drop, redenominated(market(), 1000), stated)
    assert [line for line in report.warnings if words in line]
    assert level(store).pct_change().abs().max() < 0.2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2023-06-10,coin-0,", "states no ratio above 0"),
        ("2023-06-10,coin-0,0", "states no ratio above 0"),
        ("2023-06-10,coin-0,-5", "'ratio' holds -5"),
        ("2023-06-10,coin-0,1000:1", "'ratio' holds '1000:1'"),
        ("2023,coin-0,1000", "'date' holds '2023'"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(store: Store, drop: Path, line: str, words: str) -> None:
    from core.errors import BadInput

    with pytest.raises(BadInput, match=words) as caught:
        fetched(store, drop, market(), line)
    assert "redenominations.csv" in str(caught.value)


def test_known_changes_need_no_statement(store: Store, drop: Path, tmp_path: Path) -> None:
    old = pd.Timestamp("2020-10-03") - CHANGED
    rows = market().assign(date=lambda rows: rows.date + old, asset=lambda rows: rows.asset.replace("coin-0", "aave"))
    rows = rows.drop(columns="market_cap")
    report = fetched(store, drop, redenominated(rows, 100, asset="aave", since=pd.Timestamp("2020-10-03")))
    assert len(about(report, "aave")) == 1
    pd.testing.assert_series_equal(level(store), undisturbed(rows, tmp_path), rtol=1e-9)


def test_a_crash_that_the_market_cap_shares_is_believed(store: Store, drop: Path) -> None:
    rows = market()
    after = (rows.asset == "coin-0") & (rows.date >= CHANGED)
    fallen = rows.assign(
        price=rows.price.where(~after, rows.price / 500), market_cap=rows.market_cap.where(~after, rows.market_cap / 500)
    )
    report = fetched(store, drop, fallen)
    assert about(report) == []
    assert store.read_panel(COIN_PRICE, FAR)["coin-0"].notna().all()


def test_a_crash_is_not_taken_for_a_change_where_the_market_cap_comes_late(store: Store, drop: Path) -> None:
    """It stands still for a day as if nothing had happened; then it shares the fall."""
    rows = market(last=CHANGED)
    crash = (rows.asset == "coin-0") & (rows.date == CHANGED)
    before = rows.market_cap[(rows.asset == "coin-0") & (rows.date == CHANGED - pd.Timedelta(days=1))].item()
    late = rows.assign(price=rows.price.where(~crash, rows.price / 500), market_cap=rows.market_cap.where(~crash, before))
    report = fetched(store, drop, late)
    assert report.lines[0].left_out == {"held back": 1}
    assert "RATIO is how many old coins became one new one, or 1 if the price is right" in about(report)[0]


@pytest.mark.parametrize("column", [["price"], ["price", "market_cap"]], ids=["price", "price and market cap"])
def test_a_slip_of_some_days_is_held_back_until_the_level_is_back(store: Store, drop: Path, column: list[str]) -> None:
    rows = market()
    slip = (rows.asset == "coin-0") & rows.date.between(CHANGED, CHANGED + pd.Timedelta(days=1))
    rows.loc[slip, column] *= 1000
    rows["market_cap"] = rows["market_cap"].mask(slip) if column == ["price"] else rows["market_cap"]
    report = fetched(store, drop, rows)
    assert report.lines[0].left_out == {"held back": 2}
    assert store.read_panel(COIN_PRICE, FAR)["coin-0"].last_valid_index() == DAYS[-1]


def test_first_quotes_that_are_off_cost_those_days_and_not_the_coin(store: Store, drop: Path) -> None:
    rows = market().drop(columns="market_cap")
    rows["price"] = rows["price"].where(rows.date > DAYS[1], rows["price"] / 500)
    report = fetched(store, drop, rows)
    assert report.lines[0].left_out == {"held back": 2 * 6}
    assert (store.read_panel(COIN_PRICE, FAR).index == DAYS[2:]).all()


def test_a_small_coin_that_no_index_holds_is_left_alone(store: Store, drop: Path) -> None:
    rows = pd.concat([market(100), market(1).assign(asset="tiny", market_cap=np.nan)])
    report = fetched(store, drop, redenominated(rows, 1000, asset="tiny"))
    assert report.lines[0].left_out == {}
    assert about(report, "tiny") == []


def test_daily_ranges_follow_the_coin(store: Store, drop: Path) -> None:
    rows = redenominated(market(), 100)
    ranges = rows[rows.asset == "coin-0"].assign(
        symbol="C0", open=rows.price, high=rows.price * 1.1, low=rows.price * 0.9, close=rows.price
    )
    ranges[["date", "symbol", "open", "high", "low", "close"]].to_csv(drop / "crypto_ohlcv.csv", index=False)
    report = fetched(store, drop, rows)
    close, high = store.read_panel(COIN_CLOSE, FAR)["C0"], store.read_panel(COIN_HIGH, FAR)["C0"]
    np.testing.assert_allclose(close, market().query("asset == 'coin-0'").price, rtol=1e-12)
    assert high.index.symmetric_difference(DAYS).tolist() == [CHANGED]
    assert report.lines[1].made_missing == {"range across a redenomination": 1}


@pytest.mark.reference
def test_in_the_reference_market_real_changes_are_found_and_nothing_else(reference: Path) -> None:
    from sources.layout import coin_bars
    from sources.redenomination import Units, in_one_unit
    from sources.schemas import checked

    rows = coin_bars(checked("crypto", pd.read_parquet(reference / "crypto.parquet")).frame).frame
    found = in_one_unit(rows, Units())
    names = {"xaurum", "vechain", "aave", "bnx--binaryx", "mybit", "ubiq"}
    assert {coin for coin, _ in found.notes} == names
    assert not found.held.any()
    others = ~rows["symbol"].isin(names)
    assert found.frame["close"][others].equals(rows["close"][others])
