"""The simulated market's coins: fat tails, clustered volatility, births and deaths, a drift that follows liquidity or not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats, Ints
from sources.simulated_liquidity import Liquidity, Plan, Stream, fat_tailed, long_frame, persistent, volatility
from sources.simulated_macro import day_range

PUSH_A_DAY = 0.0035  # log drift of altcoins a day for one standard deviation of liquidity, at strength 1
BITCOIN_SHARE = 0.4
FOUNDERS = 2 / 3
YEARS_TO_FOUND = 2
SHARE_DYING = 0.25
LAST_BIRTH_BEFORE_END = pd.Timedelta(days=270)
WITH_BARS = 20
BAD_TICKS = 2e-4
WITHOUT_CAP = 2e-3
STABLECOINS = {"simulated-dollar": 0.7, "simulated-cash": 0.3}


@dataclass(frozen=True)
class Coins:
    """Matrices (days, coins): BTC first, then ETH, then the rest. `alive` marks the days a coin has data."""

    days: pd.DatetimeIndex
    assets: list[str]
    symbols: list[str]
    log_return: Floats
    price: Floats
    market_cap: Floats
    dollar_volume: Floats
    alive: Bools
    unrest: Floats


@dataclass(frozen=True)
class Lives:
    """First and last day number of each coin, and whether its price collapses before the end; each shape (coins,)."""

    born: Ints
    gone: Ints
    collapses: Bools


def draw_coins(plan: Plan, liquidity: Liquidity, coins: int) -> Coins:
    """BTC and `coins` altcoins."""
    unrest = volatility(plan.rng(Stream.CRYPTO_UNREST), len(plan.days), persistence=0.98, spread=0.45)
    lives = draw_lives(plan, coins)
    log_return = draw_returns(plan, liquidity, unrest, coins) + collapse(plan, lives)
    rng = plan.rng(Stream.COIN_LEVELS)
    numbers = np.arange(len(plan.days))[:, None]
    alive = (numbers >= lives.born) & (numbers <= lives.gone)
    price = np.exp(rng.normal(0.0, 1.5, coins + 1) + np.cumsum(np.where(alive, log_return, 0.0), axis=0))
    price[:, 0] *= 10.0 / price[0, 0]
    cap = price * first_cap(rng, lives) / price[np.maximum(lives.born, 0), np.arange(coins + 1)] * supply(plan)
    volume = cap * turnover(rng, log_return, unrest)
    symbols = ["BTC", "ETH", *(f"C{number:03d}" for number in range(2, coins + 1))]
    assets = ["bitcoin", "ethereum", *(f"coin-{number:03d}" for number in range(2, coins + 1))]
    return Coins(plan.days, assets, symbols, log_return, price, cap, volume, alive, unrest)


def draw_returns(plan: Plan, liquidity: Liquidity, unrest: Floats, coins: int) -> Floats:
    """Daily log returns (days, 1 + coins): a factor of BTC, one of altcoins, and each coin's own."""
    common, own, n = plan.rng(Stream.CRYPTO_FACTORS), plan.rng(Stream.COINS), len(plan.days)
    bitcoin = 0.031 * unrest * fat_tailed(common, n, 4.0)
    altcoins = 0.034 * unrest * fat_tailed(common, n, 4.0)
    push = plan.strength * PUSH_A_DAY * liquidity.at(plan.days, lag_weeks=plan.lag_weeks)
    beta = own.uniform(0.85, 1.15, coins)
    single = 0.040 * unrest[:, None] * fat_tailed(own, (n, coins), 4.0)
    alts = np.outer(0.85 * bitcoin + altcoins, beta) + single + push[:, None] - 0.0006
    return np.column_stack([bitcoin + BITCOIN_SHARE * push + 0.0008, alts])


def draw_lives(plan: Plan, coins: int) -> Lives:
    """BTC and ETH live throughout; two thirds are founded within two years; a quarter die, spread over the years."""
    rng, days = plan.rng(Stream.LIVES), len(plan.days)
    founders = round(coins * FOUNDERS)
    early = np.linspace(0, min(365 * YEARS_TO_FOUND, days - 1), founders)
    late = np.linspace(365 * YEARS_TO_FOUND, days - LAST_BIRTH_BEFORE_END.days, coins - founders + 1)[1:]
    born = np.concatenate([[0, 0], np.concatenate([early, late])[1:]]).astype(np.int64)
    gone = np.full(coins + 1, days - 1)
    for day in np.linspace(365 * (YEARS_TO_FOUND + 1), days - 60, round(coins * SHARE_DYING)).astype(np.int64):
        mortal = np.flatnonzero((born[2:] + 365 < day) & (gone[2:] == days - 1)) + 2
        if mortal.size:
            gone[rng.choice(mortal)] = day
    return Lives(born, gone, (gone < days - 1) & (rng.random(coins + 1) < 0.5))


def collapse(plan: Plan, lives: Lives) -> Floats:
    """Extra log return (days, 1 + coins): some coins lose about 99 % in the ten days that end two months before their data do."""
    until_gone = lives.gone - np.arange(len(plan.days))[:, None]
    return np.where(lives.collapses & (until_gone >= 60) & (until_gone < 70), -0.45, 0.0)


def first_cap(rng: np.random.Generator, lives: Lives) -> Floats:
    """Market cap at birth in USD: BTC 200 million, ETH 60 million, others 2 to 50 million, more for those born later."""
    years = lives.born / 365
    cap: Floats = np.exp(rng.uniform(np.log(2e6), np.log(5e7), len(years)) + 0.25 * years)
    cap[:2] = 2e8, 6e7
    return cap


def supply(plan: Plan) -> Floats:
    """Growth of supply since the start, 3 % a year; shape (days, 1)."""
    growth: Floats = np.exp(0.03 * np.arange(len(plan.days)) / 365)[:, None]
    return growth


def turnover(rng: np.random.Generator, log_return: Floats, unrest: Floats) -> Floats:
    """Dollar volume a day over market cap: heavier on large moves and in unrest."""
    moved = np.minimum(np.abs(log_return) / 0.05, 6.0)
    share: Floats = 0.04 * np.exp(0.5 * np.log(unrest)[:, None] + 0.25 * moved + 0.5 * persistent(rng, log_return.shape, 0.95))
    return share


def crypto_frame(plan: Plan, coins: Coins) -> pd.DataFrame:
    """Days × assets: symbol, asset_class, price, market_cap, volume, mcap_suspect, bad_tick."""
    classes = dict.fromkeys(coins.assets, "coin") | {"bitcoin": "btc"}
    symbols = dict(zip(coins.assets, coins.symbols, strict=True))
    fields = {"price": coins.price, "market_cap": coins.market_cap, "volume": coins.dollar_volume}
    quoted = spoil(plan, long_frame(coins.days, "asset", coins.assets, fields, coins.alive))
    frame = pd.concat([quoted, pegged_frame(plan, coins)], ignore_index=True)
    frame = frame.astype({"asset": "str", "market_cap": np.float32, "volume": np.float32})
    frame["symbol"] = frame.asset.map(symbols).fillna(frame.asset.str.upper())
    frame["asset_class"] = frame.asset.map(classes).fillna("stablecoin").where(frame.asset != "staked-ether", "wrapped_staked")
    frame = frame.astype({"asset": "category", "symbol": "category", "asset_class": "category"})
    return frame[["date", "asset", "symbol", "asset_class", "price", "market_cap", "volume", "mcap_suspect", "bad_tick"]]


def spoil(plan: Plan, frame: pd.DataFrame) -> pd.DataFrame:
    """Real quotes hold errors, marked as such: here and there a price ten times too high, a market cap ten times too low."""
    rng = plan.rng(Stream.QUOTE_ERRORS)
    bad_tick, suspect = rng.random(len(frame)) < BAD_TICKS, rng.random(len(frame)) < WITHOUT_CAP
    price, market_cap = frame.price * np.where(bad_tick, 10.0, 1.0), frame.market_cap * np.where(suspect, 0.1, 1.0)
    return frame.assign(price=price, market_cap=market_cap, mcap_suspect=suspect, bad_tick=bad_tick)


def pegged_frame(plan: Plan, coins: Coins) -> pd.DataFrame:
    """Two stablecoins and a staked ETH: in the market, never in an index of altcoins."""
    rng, shape = plan.rng(Stream.PEGS), (len(coins.days), 3)
    total = stablecoin_supply(plan, coins)
    price = np.column_stack([np.ones(shape[0]), np.ones(shape[0]), coins.price[:, 1]]) * np.exp(0.001 * rng.standard_normal(shape))
    cap = np.column_stack([*(share * total for share in STABLECOINS.values()), 0.05 * coins.market_cap[:, 1]])
    alive = np.broadcast_to(np.arange(shape[0])[:, None] > [0, 365, shape[0] // 2], shape)
    fields = {"price": price, "market_cap": cap, "volume": 0.2 * cap}
    frame = long_frame(coins.days, "asset", [*STABLECOINS, "staked-ether"], fields, alive)
    return frame.assign(mcap_suspect=False, bad_tick=False)


def stablecoin_supply(plan: Plan, coins: Coins) -> Floats:
    """USD in stablecoins: grows over the years and with the altcoins' past 60 days; shape (days,)."""
    rng, n = plan.rng(Stream.STABLECOINS), len(coins.days)
    typical = np.cumsum(np.where(coins.alive, coins.log_return, 0.0)[:, 1:].sum(axis=1) / coins.alive[:, 1:].sum(axis=1))
    past = typical - typical[np.maximum(np.arange(n) - 60, 0)]
    total: Floats = 1e7 * np.exp(np.cumsum(0.0018 + 0.001 * past + 0.002 * persistent(rng, n, 0.9)))
    return total


def stablecoins_frame(plan: Plan, coins: Coins) -> pd.DataFrame:
    """Days: total_usd_best, best_src."""
    return pd.DataFrame({"date": coins.days, "total_usd_best": stablecoin_supply(plan, coins), "best_src": "simulated"})


def ohlcv_frame(plan: Plan, coins: Coins) -> pd.DataFrame:
    """Days × the symbols of BTC, ETH and the next coins: open, high, low, close, volume (USD), src, ohlc_ok."""
    first = slice(0, min(WITH_BARS, len(coins.symbols)))
    close, alive = coins.price[:, first], coins.alive[:, first]
    opened, high, low = day_range(plan.rng(Stream.COIN_BARS), close, 0.02 * coins.unrest[:, None])
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": coins.dollar_volume[:, first]}
    frame = long_frame(coins.days, "symbol", coins.symbols[first], fields, alive)
    return frame.assign(src=pd.Categorical(["simulated"] * len(frame)), ohlc_ok=True)
