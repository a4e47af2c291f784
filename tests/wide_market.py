"""A market as wide as the real one, of simulated data: 100 funds, 20 series, 150 coins, and whoever declares them."""

import pandas as pd
import pytest
from replay import Market

from sources import coins, fred, yahoo
from sources.coins import large
from sources.series import SERIES, Series
from sources.series import fred as declare
from sources.simulated import simulate
from sources.yahoo import TickerRequest

FUNDS, FRED_SERIES, COINS = 100, 20, 150
SINCE = pd.Timestamp("2024-11-01")
LARGE = (large("btc", "bitcoin"), large("eth", "ethereum"), large("coin-003", "coin-003", "C003-USD"))
KNOWN = [series for series in SERIES.values() if series.provider == "fred" and not series.revised]


def wide_frames() -> dict[str, pd.DataFrame]:
    """Drop-in frames of that market, from `SINCE` on."""
    made = simulate(start="2020-01-01", end="2024-12-31", stocks=90, coins=215)
    frames = {name: frame[frame.date >= SINCE] for name, frame in made.items()}
    frames["prices"] = pd.concat([frames["prices"], _more_funds(frames["prices"], frames["constituents"])])
    frames["fred"] = pd.concat([frames["fred"], *_more_series(frames["fred"])])
    lived = frames["crypto"].query("not bad_tick").asset.value_counts()
    chosen = ["bitcoin", "ethereum", "simulated-dollar", "simulated-cash"]
    chosen += [asset for asset in lived.index[lived > 30] if asset not in (*chosen, "staked-ether")][: COINS - len(chosen)]
    frames["crypto"] = frames["crypto"][frames["crypto"].asset.isin(chosen)]
    frames["crypto_ohlcv"] = frames["crypto_ohlcv"].query("symbol in ['BTC', 'ETH', 'C003']")
    return frames


def _more_funds(prices: pd.DataFrame, stocks: pd.DataFrame) -> pd.DataFrame:
    """Stocks as funds, until there are `FUNDS` of them."""
    whole = stocks.ticker.value_counts()
    missing = FUNDS - prices.ticker.nunique()
    chosen = sorted(whole.index[whole == whole.max()])[:missing]
    rows = stocks[stocks.ticker.isin(chosen)]
    ranges = {"open": rows.close * 0.999, "high": rows.close * 1.01, "low": rows.close * 0.99, "adj_close": rows.close}
    return rows.assign(**ranges)[["date", "ticker", "open", "high", "low", "close", "adj_close", "volume"]]


def _more_series(rows: pd.DataFrame) -> list[pd.DataFrame]:
    yields = rows.query("series == 'DGS10'")
    return [yields.assign(series=series.code, value=yields.value + number) for number, series in enumerate(more_series())]


def more_series() -> list[Series]:
    """Series beyond the declared ones, until there are `FRED_SERIES` that are never revised."""
    return [declare(f"SIM{n:02}", "percent", "daily", pd.Timedelta(days=4)) for n in range(FRED_SERIES - len(KNOWN))]


def market_of(frames: dict[str, pd.DataFrame], today: str) -> Market:
    """What the services say while `today` runs."""
    return Market(dict(frames), SINCE, pd.Timestamp(today))


def declare_wide(monkeypatch: pytest.MonkeyPatch, frames: dict[str, pd.DataFrame]) -> None:
    """The live provider asks for all of it."""
    tickers = [TickerRequest(str(ticker), str(ticker)) for ticker in sorted(frames["prices"].ticker.unique())]
    monkeypatch.setattr(yahoo, "fund_tickers", lambda: tickers)
    monkeypatch.setattr(fred, "SERIES", SERIES | {series.code: series for series in more_series()})
    monkeypatch.setattr(coins, "LARGE_COINS", LARGE)


def declare_few(monkeypatch: pytest.MonkeyPatch, *funds: str, series: tuple[Series, ...] = (), large_coins: int = 1) -> None:
    """The live provider asks for these only."""
    monkeypatch.setattr(yahoo, "fund_tickers", lambda: [TickerRequest(ticker, ticker) for ticker in funds])
    monkeypatch.setattr(fred, "SERIES", {one.code: one for one in series})
    monkeypatch.setattr(coins, "LARGE_COINS", LARGE[:large_coins])
