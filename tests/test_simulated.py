"""Laws of the simulated market: its shape is the real one's, its noise is theirs, and its cascade is exactly what was asked for."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from core.progress import silent
from sources.layout import batches as layout_batches
from sources.series import FUND_PRICE, SERIES
from sources.simulated import batches, frames, simulate
from sources.simulated_liquidity import Liquidity, Plan, Stream, draw_liquidity, persistent

Frames = dict[str, pd.DataFrame]

COLUMNS = {
    "prices": "date ticker open high low close adj_close volume derived",
    "fred": "date series value",
    "crypto": "date asset symbol asset_class price market_cap volume mcap_suspect bad_tick",
    "crypto_ohlcv": "date symbol open high low close volume src ohlc_ok",
    "constituents": "date ticker close volume delisted",
    "stablecoins": "date total_usd_best best_src",
}
PLAN = Plan(seed=7, start=pd.Timestamp("2012-01-01"), end=pd.Timestamp("2024-12-31"), strength=1.0, lag_weeks=8)


@pytest.fixture(scope="module")
def market() -> Frames:
    return simulate()


@pytest.fixture(scope="module")
def returns(market: Frames) -> pd.DataFrame:
    """Daily log returns of coins, days × assets; errors in quotes taken out."""
    coins = market["crypto"].query("asset_class == 'coin' and not bad_tick")
    price = coins.pivot_table(observed=True, index="date", columns="asset", values="price")
    return np.log(price).diff()


def fingerprint(market: Frames) -> dict[str, int]:
    return {
        name: int(pd.util.hash_pandas_object(frame.astype(frame.dtypes.replace("category", "str"))).sum())
        for name, frame in market.items()
    }


def test_columns_are_those_of_the_drop_in_files(market: Frames) -> None:
    assert {name: " ".join(frame.columns) for name, frame in market.items()} == COLUMNS


@pytest.mark.reference
def test_types_are_those_of_the_reference_files(market: Frames, reference: Path) -> None:
    for name in ("prices", "fred", "crypto", "crypto_ohlcv", "constituents"):
        real = pd.read_parquet(reference / f"{name}.parquet").dtypes
        simulated = market[name].dtypes
        assert list(simulated.index) == list(real.index)
        assert {column: kind.name for column, kind in simulated.items()} == {column: kind.name for column, kind in real.items()}


def test_every_declared_series_is_there(market: Frames) -> None:
    funds = {s.code for s in SERIES.values() if s.universe == "fund"} | set(FUND_PRICE.symbols)
    coins = {s.code for s in SERIES.values() if s.universe == "coin"}
    fred = {s.code for s in SERIES.values() if s.provider == "fred"}
    assert set(market["prices"].ticker.unique()) == funds
    assert coins <= set(market["crypto"].asset.unique())
    assert set(market["fred"].series.unique()) == fred


def test_each_row_has_a_key_of_its_own_and_no_price_is_missing(market: Frames) -> None:
    for name, key, price in (("prices", "ticker", "close"), ("crypto", "asset", "price"), ("crypto_ohlcv", "symbol", "close")):
        assert not market[name].duplicated(["date", key]).any()
        assert (market[name][price] > 0).all()


def test_bars_hold_their_close(market: Frames) -> None:
    for bars in (market["prices"], market["crypto_ohlcv"]):
        assert (bars.low <= bars[["open", "close"]].min(axis=1)).all()
        assert (bars.high >= bars[["open", "close"]].max(axis=1)).all()


def test_layout_takes_every_row_but_the_marked_ones(market: Frames) -> None:
    delivered = {batch.label: batch for batch in layout_batches(market, "simulated")}
    assert set(delivered) == set(COLUMNS)
    assert len(delivered["crypto"].frame) == (~market["crypto"].bad_tick).sum()
    assert len(delivered["prices"].frame) == len(market["prices"])


def test_the_market_ends_on_the_same_day_whatever_today_is(market: Frames) -> None:
    ends = {frame.date.max() for name, frame in market.items() if name != "fred"}
    assert ends == {pd.Timestamp("2024-12-31")}
    delivered = batches(None, path=None, today=pd.Timestamp("2031-05-05"), progress=silent)
    assert max(batch.frame.observed.max() for batch in delivered) == pd.Timestamp("2024-12-31")


def test_macro_values_come_on_their_publishers_days(market: Frames) -> None:
    fred = market["fred"].set_index("series").date
    assert set(fred.loc["WALCL"].dt.day_name()) == {"Wednesday"}
    assert set(fred.loc["M2SL"].dt.day) == {1}
    assert not set(fred.loc["DGS10"].dt.day_name()) & {"Saturday", "Sunday"}
    assert fred.loc["DFF"].diff().max() == pd.Timedelta(days=1)


def test_net_liquidity_is_the_sum_of_parts_in_their_units(market: Frames) -> None:
    wide = market["fred"].pivot_table(observed=True, index="date", columns="series", values="value")
    wednesdays = wide.loc[wide.WALCL.notna() & wide.RRPONTSYD.notna()]
    net = wednesdays.WALCL - wednesdays.WTREGEN - 1000 * wednesdays.RRPONTSYD
    assert (net / wednesdays.WALCL).between(0.4, 1.0).all()


def test_the_same_seed_gives_the_same_market_and_another_seed_another(market: Frames) -> None:
    assert fingerprint(simulate()) == fingerprint(market)
    assert fingerprint(simulate(seed=8))["crypto"] != fingerprint(market)["crypto"]


def test_the_market_does_not_depend_on_the_hash_seed(market: Frames) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_simulated import fingerprint\nfrom sources.simulated import simulate\nprint(fingerprint(simulate()))"
    )
    here = Path(__file__)
    said = subprocess.run(
        [sys.executable, "-c", code, str(here.parent), str(here.parents[1])],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str(fingerprint(market))


def test_a_market_is_made_within_seconds() -> None:
    start = time.perf_counter()
    simulate(seed=11)
    assert time.perf_counter() - start < 5.0


def test_without_strength_coins_do_not_know_liquidity() -> None:
    plan = replace(PLAN, strength=0.0)
    one = draw_liquidity(plan)
    other = Liquidity(one.weeks, persistent(np.random.default_rng(99), len(one.weeks), 0.9))
    markets = [fingerprint(frames(plan, liquidity, stocks=5, coins=60)) for liquidity in (one, other)]
    same = {name for name in COLUMNS if markets[0][name] == markets[1][name]}
    assert same == {"crypto", "crypto_ohlcv", "stablecoins"}


@pytest.mark.parametrize("lag_weeks", [4, 12])
def test_with_strength_altcoins_follow_at_the_stated_lag(lag_weeks: int) -> None:
    plan = replace(PLAN, lag_weeks=lag_weeks)
    liquidity = draw_liquidity(plan)
    coins = frames(plan, liquidity, stocks=5, coins=60)["crypto"].query("asset_class == 'coin' and not bad_tick")
    daily = np.log(coins.pivot_table(observed=True, index="date", columns="asset", values="price")).diff().median(axis=1).dropna()
    weekly = daily.resample("W-WED").sum()
    by_lag = {lag: np.corrcoef(weekly, liquidity.at(weekly.index, lag_weeks=lag))[0, 1] for lag in range(0, 25, 4)}
    assert by_lag[lag_weeks] > 0.2
    assert by_lag[lag_weeks] > by_lag[0]
    assert abs(max(by_lag, key=by_lag.__getitem__) - lag_weeks) <= 4


def test_liquidity_reaches_the_ladder_whatever_the_strength() -> None:
    plan = replace(PLAN, strength=0.0)
    liquidity = draw_liquidity(plan)
    market = frames(plan, liquidity, stocks=5, coins=60)
    prices = market["prices"].pivot_table(observed=True, index="date", columns="ticker", values="adj_close")
    assets = market["fred"].query("series == 'WALCL'").set_index("date").value
    quarter = np.log(assets).diff(13).dropna()
    relative = np.log(prices["IWM"] / prices["SPY"]).diff(65).dropna()
    assert np.corrcoef(quarter, liquidity.at(quarter.index, lag_weeks=6))[0, 1] > 0.6
    assert np.corrcoef(relative, liquidity.at(relative.index, lag_weeks=4 + 6))[0, 1] > 0.3


def test_coins_are_born_and_die(market: Frames) -> None:
    coins = market["crypto"].query("asset_class == 'coin'").groupby("asset", observed=True).date.agg(["min", "max"])
    end = pd.Timestamp("2024-12-31")
    assert 0.2 <= (coins["max"] < end).mean() <= 0.3
    assert (coins["min"] > pd.Timestamp("2015-01-01")).sum() >= 20
    assert coins.loc["ethereum", "max"] == end
    living = [((coins["min"] <= day) & (coins["max"] >= day)).sum() for day in pd.date_range("2014-01-01", end, freq="30D")]
    assert min(living) >= 50


def test_some_dying_coins_lose_nearly_everything_first(returns: pd.DataFrame, market: Frames) -> None:
    worst = returns.rolling(10).sum().min()
    last = market["crypto"].groupby("asset", observed=True).date.max()
    collapsed = worst[worst < np.log(0.05)].index
    assert 5 <= len(collapsed) <= 20
    assert (last[collapsed] < pd.Timestamp("2024-12-31")).all()


def test_returns_have_fat_tails_and_clustered_volatility(returns: pd.DataFrame) -> None:
    common = returns.median(axis=1).dropna()
    size = common.abs()
    assert common.kurt() > 1.5
    assert returns["ethereum"].kurt() > 1.5
    assert np.corrcoef(size[:-5], size[5:])[0, 1] > 0.1
    assert abs(np.corrcoef(common[:-5], common[5:])[0, 1]) < 0.1


def test_rallies_are_about_as_frequent_as_in_the_real_market() -> None:
    """Equal-weighted, held for a month; the real base rates of +30 % within 30, 60, 90 days are 0.24, 0.39, 0.48."""
    rates = []
    for seed in (1, 2, 3, 7):
        crypto = simulate(seed=seed, strength=0.0)["crypto"].query("asset_class == 'coin' and not bad_tick")
        price = crypto.pivot_table(observed=True, index="date", columns="asset", values="price").loc["2014-06-01":]
        level = (1.0 + price.pct_change(fill_method=None).clip(-0.9, 2.0).mean(axis=1)).cumprod()
        ahead = {days: level[::-1].rolling(days).max()[::-1].shift(-1) / level for days in (30, 60, 90)}
        rates.append([(reached.dropna() >= 1.3).mean() for reached in ahead.values()])
    low, middle, high = np.mean(rates, axis=0)
    assert 0.10 < low < middle < high < 0.65
    assert 0.25 < middle < 0.50


def test_small_caps_make_record_closes_after_a_year_without(market: Frames) -> None:
    close = market["prices"].query("ticker == '^RUT'").set_index("date").close
    records = np.flatnonzero(close >= close.cummax())
    assert 2 <= (np.diff(records) >= 252).sum() <= 15


def test_a_fifth_of_the_constituents_vanish(market: Frames) -> None:
    last = market["constituents"].groupby(["ticker", "delisted"], observed=True).date.max().reset_index()
    assert last.delisted.sum() == 12
    assert (last.date[last.delisted] < pd.Timestamp("2024-12-31")).all()
    assert (last.date[~last.delisted] == pd.Timestamp("2024-12-31")).all()


def test_dividends_lower_the_past_of_adjusted_closes(market: Frames) -> None:
    prices = market["prices"].set_index("ticker")
    spy, rut = prices.loc["SPY"], prices.loc["^RUT"]
    assert spy.adj_close.iloc[0] < 0.8 * spy.close.iloc[0]
    assert spy.adj_close.iloc[-1] == pytest.approx(spy.close.iloc[-1])
    assert np.allclose(rut.adj_close, rut.close)


def test_random_streams_are_apart() -> None:
    draws = [PLAN.rng(stream).random() for stream in Stream]
    assert len(set(draws)) == len(Stream)


@pytest.mark.parametrize("wrong", [{"strength": -1.0}, {"coins": 1}, {"stocks": 0}, {"lag_weeks": -1}, {"end": "2014-01-01"}])
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="A simulated market needs"):
        simulate(**wrong)  # type: ignore[arg-type]
