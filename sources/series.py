"""Everything altrally reads, declared once: provider, code, unit, frequency, release lag, revised or not.

A `Series` is one number a day, week or month. A `Panel` is one number a day for many symbols. Days are UTC and stand for their
end: a value is *observed* on a day and *known* from the end of `observed + release_lag`.
Release lags are measured medians of first sight, rounded up to cover weekends where the publisher doesn't work on them.
"""

from dataclasses import dataclass, replace

import pandas as pd

FREQUENCY_DAYS = {"daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92}


@dataclass(frozen=True)
class Series:
    """One declared series.

    `universe` is None for macro observations; else the bars it is read from, with `code` the symbol and `field` the column.
    `stale_after`: a value older than this (since *observed*) is no longer carried forward.
    """

    name: str
    provider: str
    code: str
    unit: str
    frequency: str
    release_lag: pd.Timedelta
    revised: bool = False
    universe: str | None = None
    field: str = "value"

    @property
    def stale_after(self) -> pd.Timedelta:
        """Two periods, a release lag and a long weekend."""
        return pd.Timedelta(days=2 * FREQUENCY_DAYS[self.frequency] + 5) + self.release_lag


@dataclass(frozen=True)
class Panel:
    """One declared field of every symbol of a universe, or of the `symbols` named."""

    name: str
    provider: str
    universe: str
    field: str
    unit: str
    release_lag: pd.Timedelta
    asset_class: str | None = None
    symbols: tuple[str, ...] = ()
    frequency: str = "daily"
    revised: bool = False

    @property
    def stale_after(self) -> pd.Timedelta:
        """As for a series."""
        return pd.Timedelta(days=2 * FREQUENCY_DAYS[self.frequency] + 5) + self.release_lag


AT_THE_CLOSE = pd.Timedelta(days=0)
NEXT_DAY = pd.Timedelta(days=1)
FED_BALANCE_SHEET_LAG = pd.Timedelta(days=2)
OVER_A_WEEKEND = pd.Timedelta(days=4)


def fund(ticker: str, field: str = "adj_close", unit: str = "USD, adjusted for dividends and splits") -> Series:
    """A US-listed fund or index, known when its session closes (before the UTC day ends)."""
    suffix = "" if field == "adj_close" else f" {field}"
    return Series(f"{ticker}{suffix}", "yahoo", ticker, unit, "daily", AT_THE_CLOSE, universe="fund", field=field)


def raw_close(ticker: str) -> Series:
    """Unadjusted close, for dollar volume and record closes."""
    return fund(ticker, "close", "USD, or points for an index")


def share_volume(ticker: str) -> Series:
    """Shares traded in the session."""
    return fund(ticker, "volume", "shares")


def fred(code: str, unit: str, frequency: str, release_lag: pd.Timedelta, *, revised: bool = False) -> Series:
    """A series of the St. Louis Fed's database, named by its code there."""
    return Series(code, "fred", code, unit, frequency, release_lag, revised=revised)


RUT = raw_close("^RUT")
VIX = raw_close("^VIX")
DOLLAR = raw_close("DX-Y.NYB")
PAST_MIDNIGHT = ("DX-Y.NYB",)  # trades until New York's midnight: Yahoo's bar of a day is final some hours into the next UTC day
SPY, QQQ, IWM, KRE, XBI, HYG, LQD, TLT, IEF = (fund(t) for t in ("SPY", "QQQ", "IWM", "KRE", "XBI", "HYG", "LQD", "TLT", "IEF"))
IWM_CLOSE, IWM_VOLUME = raw_close("IWM"), share_volume("IWM")
IWM_HIGH, IWM_LOW = fund("IWM", "high", "USD"), fund("IWM", "low", "USD")
IJR_CLOSE, IJR_VOLUME = raw_close("IJR"), share_volume("IJR")

FED_ASSETS = fred("WALCL", "million USD", "weekly", FED_BALANCE_SHEET_LAG)
TREASURY_ACCOUNT = fred("WTREGEN", "million USD, week average", "weekly", FED_BALANCE_SHEET_LAG)
RESERVES = fred("WRESBAL", "million USD, week average", "weekly", FED_BALANCE_SHEET_LAG)
TREASURY_HOLDINGS = fred("TREAST", "million USD", "weekly", FED_BALANCE_SHEET_LAG)
MBS_HOLDINGS = fred("WSHOMCB", "million USD", "weekly", FED_BALANCE_SHEET_LAG)
REVERSE_REPO = fred("RRPONTSYD", "billion USD", "daily", NEXT_DAY)
HY_SPREAD = fred("BAMLH0A0HYM2", "percent", "daily", OVER_A_WEEKEND)
IG_SPREAD = fred("BAMLC0A0CM", "percent", "daily", OVER_A_WEEKEND)
BAA_SPREAD = fred("BAA10Y", "percent", "daily", OVER_A_WEEKEND)
REAL_YIELD = fred("DFII10", "percent", "daily", OVER_A_WEEKEND)
TEN_YEAR = fred("DGS10", "percent", "daily", OVER_A_WEEKEND)
TWO_YEAR = fred("DGS2", "percent", "daily", OVER_A_WEEKEND)
CURVE = fred("T10Y2Y", "percent", "daily", NEXT_DAY)
POLICY_RATE = fred("DFF", "percent", "daily", OVER_A_WEEKEND)
FINANCIAL_CONDITIONS = fred("NFCI", "index", "weekly", pd.Timedelta(days=6), revised=True)
MONEY_SUPPLY = fred("M2SL", "billion USD", "monthly", pd.Timedelta(days=28), revised=True)
BROAD_DOLLAR = fred("DTWEXBGS", "index", "daily", pd.Timedelta(days=10), revised=True)
JOBLESS_CLAIMS = fred("ICSA", "persons", "weekly", pd.Timedelta(days=6), revised=True)

SMALL_CAP_FUNDS = (
    "IWM", "IJR", "IWC", "IWN", "IWO", "VTWO", "VBR", "VBK", "VB", "SCHA", "SLYG", "SLYV", "KRE", "XBI",
    "PSCT", "PSCF", "PSCH", "PSCI", "PSCD", "PSCM", "PSCE", "PSCU", "PSCC",
)  # fmt: skip
FUND_PRICE = Panel("fund price", "yahoo", "fund", "adj_close", "USD, adjusted", AT_THE_CLOSE, symbols=SMALL_CAP_FUNDS)
FUND_CLOSE = replace(FUND_PRICE, name="fund close", field="close", unit="USD")
FUND_VOLUME = replace(FUND_PRICE, name="fund volume", field="volume", unit="shares")
STOCK_PRICE = Panel("constituent price", "files", "stock", "close", "USD, adjusted", AT_THE_CLOSE)
STOCK_VOLUME = replace(STOCK_PRICE, name="constituent volume", field="volume", unit="shares")

COIN_PRICE = Panel("coin price", "coins", "coin", "close", "USD", NEXT_DAY, asset_class="coin")
COIN_MARKET_CAP = replace(COIN_PRICE, name="coin market cap", field="market_cap")
COIN_DOLLAR_VOLUME = replace(COIN_PRICE, name="coin dollar volume", field="volume", unit="USD a day")
COIN_HIGH = Panel("coin high", "coins", "coin_ohlc", "high", "USD", NEXT_DAY)
COIN_LOW = replace(COIN_HIGH, name="coin low", field="low")
COIN_CLOSE = replace(COIN_HIGH, name="coin close", field="close")
BTC = Series("BTC", "coins", "bitcoin", "USD", "daily", NEXT_DAY, universe="coin", field="close")
BTC_MARKET_CAP = replace(BTC, name="BTC market cap", field="market_cap")
ETH = Series("ETH", "coins", "ethereum", "USD", "daily", NEXT_DAY, universe="coin", field="close")
STABLECOIN_SUPPLY = Series("stablecoin supply", "coins", "stablecoin_supply", "USD", "daily", NEXT_DAY)

SERIES: dict[str, Series] = {declared.name: declared for declared in list(globals().values()) if isinstance(declared, Series)}
PANELS: dict[str, Panel] = {declared.name: declared for declared in list(globals().values()) if isinstance(declared, Panel)}
