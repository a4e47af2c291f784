"""The simulated market's funds, index constituents and macro series: what liquidity does before it reaches coins.

The ladder, in weeks behind liquidity: the Federal Reserve's net liquidity 0, credit spreads and the dollar 1, SPY 2, regional banks
and biotech 3, small caps against large, their breadth and their volume 4.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from core.arrays import Floats
from sources.series import SERIES, SMALL_CAP_FUNDS
from sources.simulated_liquidity import Liquidity, Plan, Stream, fat_tailed, long_frame, persistent, volatility

SPREAD_LAG, SPY_LAG, SECTOR_LAG, SMALL_CAP_LAG = 1, 2, 3, 4
SHARE_DELISTED = 0.2


@dataclass(frozen=True)
class Macro:
    """Daily factors on sessions, each shape (sessions,).

    Log returns: market, small (over the market), banks and biotech (over small caps), growth (over the market), dollar.
    Levels: yields and spreads in percent, `unrest` the volatility state (mean square 1).
    """

    sessions: pd.DatetimeIndex
    market: Floats
    small: Floats
    banks: Floats
    biotech: Floats
    growth: Floats
    dollar: Floats
    policy: Floats
    two_year: Floats
    ten_year: Floats
    real_yield: Floats
    high_yield: Floats
    investment_grade: Floats
    unrest: Floats


@dataclass(frozen=True)
class Fund:
    """How a fund moves: loads on return factors, durations on yields and spreads, own noise (daily sd)."""

    loads: dict[str, float]
    noise: float = 0.0015
    price: float = 50.0
    dividend: float = 0.012
    shares: float = 1e6
    durations: dict[str, float] = field(default_factory=dict)


SMALL_CAPS = {"market": 1.1, "small": 1.0}
FUNDS = {
    **{ticker: Fund(SMALL_CAPS, noise=0.003) for ticker in SMALL_CAP_FUNDS},
    "SPY": Fund({"market": 1.0}, noise=0.0002, price=111.0, dividend=0.019, shares=1e8),
    "QQQ": Fund({"market": 1.1, "growth": 1.0}, price=36.0, dividend=0.007, shares=6e7),
    "IWM": Fund(SMALL_CAPS, noise=0.0003, price=56.0, shares=4e7),
    "IJR": Fund(SMALL_CAPS, noise=0.001, price=45.0, shares=3e6),
    "^RUT": Fund(SMALL_CAPS, noise=0.0, price=560.0, dividend=0.0, shares=3e9),
    "KRE": Fund({**SMALL_CAPS, "banks": 1.0}, noise=0.002, price=48.0, dividend=0.022, shares=5e6),
    "XBI": Fund({**SMALL_CAPS, "biotech": 1.0}, noise=0.002, price=16.0, dividend=0.0, shares=4e6),
    "HYG": Fund({}, noise=0.0008, price=100.0, dividend=0.055, shares=1e7, durations={"high_yield": 4.0, "two_year": 3.0}),
    "LQD": Fund({}, noise=0.0008, price=105.0, dividend=0.035, shares=5e6, durations={"investment_grade": 8.0, "ten_year": 8.0}),
    "TLT": Fund({}, noise=0.002, price=87.0, dividend=0.027, shares=1e7, durations={"ten_year": 17.0}),
    "IEF": Fund({}, noise=0.0008, price=83.0, dividend=0.022, shares=3e6, durations={"ten_year": 7.5}),
    "DX-Y.NYB": Fund({"dollar": 1.0}, noise=0.0, price=87.0, dividend=0.0, shares=0.0),
}


def draw_macro(plan: Plan, liquidity: Liquidity) -> Macro:
    """Every factor of funds, constituents and macro series."""
    rng, sessions = plan.rng(Stream.FACTORS), plan.sessions
    unrest = volatility(rng, len(sessions), persistence=0.985, spread=0.4)
    returns = draw_returns(rng, sessions, liquidity, unrest)
    rates = draw_rates(rng, sessions, liquidity, unrest)
    return Macro(sessions=sessions, unrest=unrest, **returns, **rates)


def draw_returns(rng: np.random.Generator, sessions: pd.DatetimeIndex, liquidity: Liquidity, unrest: Floats) -> dict[str, Floats]:
    """Return factors: drift, push of liquidity, and noise with the common volatility, centred so that the drift is the growth."""

    def factor(sd: float, drift: float, push: float, lag_weeks: int) -> Floats:
        noise = sd * unrest * fat_tailed(rng, len(sessions), 5.0)
        return drift + push * liquidity.at(sessions, lag_weeks=lag_weeks) + noise - noise.mean()

    return {
        "market": factor(0.0105, 0.00030, 0.0005, SPY_LAG),
        "small": factor(0.0060, -0.00005, 0.0005, SMALL_CAP_LAG),
        "banks": factor(0.0070, 0.0, 0.0004, SECTOR_LAG),
        "biotech": factor(0.0100, 0.0, 0.0004, SECTOR_LAG),
        "growth": factor(0.0040, 0.0001, 0.0, SPY_LAG),
        "dollar": factor(0.0042, 0.0, -0.0003, SPREAD_LAG),
    }


def draw_rates(rng: np.random.Generator, sessions: pd.DatetimeIndex, liquidity: Liquidity, unrest: Floats) -> dict[str, Floats]:
    """Yields and spreads in percent: slow cycles of their own, eased by liquidity."""

    def cycle(sd: float, persistence: float) -> Floats:
        return sd * persistent(rng, len(sessions), persistence)

    eased, n = liquidity.at(sessions, lag_weeks=SPREAD_LAG), len(sessions)
    aim = np.maximum(2.0 + cycle(1.5, 0.9995) - 0.4 * liquidity.at(sessions), 0.05)
    policy = np.round(aim * 4) / 4 + 0.02 * rng.standard_normal(n)
    two_year = np.maximum(0.4 + 0.9 * policy + cycle(0.4, 0.99), 0.05)
    ten_year = np.maximum(1.6 + 0.6 * policy + cycle(0.5, 0.995) - 0.1 * eased, 0.3)
    return {
        "policy": np.maximum(policy, 0.03),
        "two_year": two_year,
        "ten_year": ten_year,
        "real_yield": ten_year - 2.1 + cycle(0.2, 0.995),
        "high_yield": 4.4 * np.exp(cycle(0.12, 0.995) - 0.22 * eased) * unrest**0.5,
        "investment_grade": 1.4 * np.exp(cycle(0.10, 0.995) - 0.18 * eased) * unrest**0.4,
    }


def prices_frame(plan: Plan, liquidity: Liquidity, macro: Macro) -> pd.DataFrame:
    """Sessions × tickers of every declared fund and index: open, high, low, close, adj_close, volume, derived."""
    rng, names = plan.rng(Stream.FUNDS), sorted(FUNDS)
    total = np.column_stack([fund_returns(FUNDS[name], macro, rng) for name in names])
    close, adjusted = prices(total, names, macro.sessions)
    close, adjusted = (np.column_stack([bars, fear_index(rng, macro)]) for bars in (close, adjusted))
    opened, high, low = day_range(rng, close, 0.006 * macro.unrest[:, None])
    volume = np.column_stack([fund_volume(plan, liquidity, macro, total, names), np.full(len(total), np.nan)])
    fields = {"open": opened, "high": high, "low": low, "close": close, "adj_close": adjusted, "volume": volume}
    return long_frame(macro.sessions, "ticker", [*names, "^VIX"], fields, np.ones(close.shape, bool)).assign(derived=np.int8(0))


def fund_returns(fund: Fund, macro: Macro, rng: np.random.Generator) -> Floats:
    """Daily total log return of one fund."""
    moved = sum(load * getattr(macro, name) for name, load in fund.loads.items())
    rates = sum(-years * np.diff(getattr(macro, name), prepend=np.nan) / 100 for name, years in fund.durations.items())
    carry = fund.dividend / 252 if fund.durations else 0.0
    noise: Floats = fund.noise * macro.unrest * fat_tailed(rng, len(macro.sessions), 5.0)
    return np.nan_to_num(moved + rates + carry + noise)


def prices(total: Floats, names: list[str], sessions: pd.DatetimeIndex) -> tuple[Floats, Floats]:
    """Close, and close adjusted for dividends, which leave the close on the first session of every third month."""
    quarterly = pd.Series(sessions.month % 3 == 0) & (pd.Series(sessions.month).diff() != 0)
    paid = np.outer(np.cumsum(quarterly.to_numpy()), [np.log1p(FUNDS[name].dividend / 4) for name in names])
    worth = np.cumsum(total, axis=0)
    close = np.exp(worth - paid) * [FUNDS[name].price for name in names]
    return close, close[-1] * np.exp(worth - worth[-1])


def fear_index(rng: np.random.Generator, macro: Macro) -> Floats:
    """^VIX: the market's volatility a year, in percent, with a premium."""
    level: Floats = 100 * np.sqrt(252) * 0.0095 * 1.15 * macro.unrest * np.exp(0.04 * rng.standard_normal(len(macro.sessions)))
    return level


def day_range(rng: np.random.Generator, close: Floats, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """Open, high and low around `close` (days, names), `scale` the log sd of a session's travel."""
    before = np.vstack([close[:1], close[:-1]])
    opened = before * np.exp(0.3 * scale * rng.standard_normal(close.shape))
    high = np.maximum(opened, close) * np.exp(scale * np.abs(rng.standard_normal(close.shape)))
    low = np.minimum(opened, close) * np.exp(-scale * np.abs(rng.standard_normal(close.shape)))
    return opened, high, low


def fund_volume(plan: Plan, liquidity: Liquidity, macro: Macro, total: Floats, names: list[str]) -> Floats:
    """Shares a session: heavier on large moves, in unrest and when liquidity has reached small caps."""
    rng = plan.rng(Stream.FUND_VOLUME)
    surge = surge_of_volume(rng, total, macro, liquidity)
    return np.round(surge * [FUNDS[name].shares or np.nan for name in names])


def surge_of_volume(rng: np.random.Generator, total: Floats, macro: Macro, liquidity: Liquidity) -> Floats:
    """Volume against its norm, shape of `total`."""
    moved = np.abs(total) / (total.std(axis=0) + 1e-12)
    push = 0.15 * liquidity.at(macro.sessions, lag_weeks=SMALL_CAP_LAG) + 0.3 * np.log(macro.unrest)
    return np.exp(push[:, None] + 0.15 * moved + 0.25 * persistent(rng, total.shape, 0.7))


def constituents_frame(plan: Plan, liquidity: Liquidity, macro: Macro, stocks: int) -> pd.DataFrame:
    """Sessions × small caps: close (adjusted), volume, delisted; a fifth vanish, the rest survive to the end."""
    rng, shape = plan.rng(Stream.STOCKS), (len(macro.sessions), stocks)
    beta = rng.uniform(0.7, 1.5, stocks)
    noise = 0.018 * macro.unrest[:, None] * fat_tailed(rng, shape, 4.0)
    returns = np.outer(macro.market + macro.small, beta) + noise - 0.0001
    close = np.exp(rng.normal(3.0, 0.5, stocks) + np.cumsum(returns, axis=0))
    volume = np.round(surge_of_volume(rng, returns, macro, liquidity) * np.exp(rng.normal(12.5, 1.0, stocks)))
    delisted = np.arange(stocks) < SHARE_DELISTED * stocks
    ends = np.where(delisted, rng.integers(shape[0] // 2, shape[0], stocks), shape[0])
    listed = np.arange(shape[0])[:, None] < ends
    fields = {"close": close.astype(np.float32), "volume": volume.astype(np.float32), "delisted": np.broadcast_to(delisted, shape)}
    return long_frame(macro.sessions, "ticker", [f"S{number:03d}" for number in range(stocks)], fields, listed)


def fred_frame(plan: Plan, liquidity: Liquidity, macro: Macro) -> pd.DataFrame:
    """One row an observation date and series, of every declared FRED series, in its own unit."""
    rng = plan.rng(Stream.MACRO)
    series = {**balance_sheet(rng, plan, liquidity), **daily_series(macro, plan), **revised_series(rng, plan, liquidity)}
    codes = sorted(declared.code for declared in SERIES.values() if declared.provider == "fred")
    frames = [pd.DataFrame({"date": series[code].index, "series": code, "value": series[code].to_numpy()}) for code in codes]
    return pd.concat(frames, ignore_index=True).astype({"series": "category"})


def balance_sheet(rng: np.random.Generator, plan: Plan, liquidity: Liquidity) -> dict[str, pd.Series]:
    """H.4.1 on Wednesdays in million USD, and reverse repo on sessions in billion USD."""
    weeks = plan.macro_days[plan.macro_days.day_of_week == 2]
    level, n = liquidity.at(weeks), len(weeks)
    assets = 900_000 * np.exp(np.cumsum(0.0018 + 0.0030 * level + 0.002 * rng.standard_normal(n)))
    treasury = assets * 0.08 * np.exp(0.25 * persistent(rng, n, 0.95) - 0.30 * level)
    repo = assets * 0.04 * np.exp(0.30 * persistent(rng, n, 0.97) - 0.30 * level)
    reserves = (assets - treasury - repo) * 0.55 * np.exp(0.02 * persistent(rng, n, 0.9))
    bills = assets * 0.58 * np.exp(0.01 * persistent(rng, n, 0.97))
    mortgages = assets * 0.29 * np.exp(0.01 * persistent(rng, n, 0.97))
    weekly = {"WALCL": assets, "WTREGEN": treasury, "WRESBAL": reserves, "TREAST": bills, "WSHOMCB": mortgages}
    daily_repo = pd.Series(repo / 1000, weeks).reindex(plan.sessions, method="ffill").bfill().round(3)
    return {code: pd.Series(np.round(values), weeks) for code, values in weekly.items()} | {"RRPONTSYD": daily_repo}


def daily_series(macro: Macro, plan: Plan) -> dict[str, pd.Series]:
    """Yields and spreads in percent on sessions; the policy rate on every day, as it is published."""
    values = {
        "BAMLH0A0HYM2": macro.high_yield,
        "BAMLC0A0CM": macro.investment_grade,
        "BAA10Y": 0.5 + 0.7 * macro.investment_grade + 0.25 * macro.high_yield,
        "DFII10": macro.real_yield,
        "DGS10": macro.ten_year,
        "DGS2": macro.two_year,
        "T10Y2Y": np.round(macro.ten_year, 2) - np.round(macro.two_year, 2),
    }
    daily = {code: pd.Series(np.round(level, 2), macro.sessions) for code, level in values.items()}
    daily["DFF"] = pd.Series(np.round(macro.policy, 2), macro.sessions).reindex(plan.macro_days, method="ffill").bfill()
    daily["DTWEXBGS"] = pd.Series(np.round(100 * np.exp(np.cumsum(macro.dollar) * 0.7), 4), macro.sessions)
    return daily


def revised_series(rng: np.random.Generator, plan: Plan, liquidity: Liquidity) -> dict[str, pd.Series]:
    """Financial conditions (Fridays), money supply (first of the month), jobless claims (Saturdays); one vintage only."""
    days = plan.macro_days
    fridays, saturdays, months = days[days.day_of_week == 4], days[days.day_of_week == 5], days[days.day == 1]
    money = 6000 * np.exp(np.cumsum(0.0045 + 0.002 * liquidity.at(months) + 0.001 * rng.standard_normal(len(months))))
    claims = 300_000 * np.exp(0.3 * persistent(rng, len(saturdays), 0.98) - 0.05 * liquidity.at(saturdays))
    conditions = -0.4 - 0.15 * liquidity.at(fridays) + 0.15 * persistent(rng, len(fridays), 0.98)
    return {
        "NFCI": pd.Series(np.round(conditions, 3), fridays),
        "M2SL": pd.Series(np.round(money, 1), months),
        "ICSA": pd.Series(np.round(claims, -3), saturdays),
    }
