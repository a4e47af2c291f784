"""Every feature once more, slowly: its value on one day worked out from the past, as its docstring says it in words."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from features.altcoin_index import ALTCOIN_INDEX, EQUITY_CORRELATION, TOP_COINS, equity_correlation
from features.breadth import above_mean
from features.registry import FEATURES, Derived, Feature, Input
from features.transforms import fill_gaps, log
from features.volume import rising_volume, volume_on_breakout_days
from sources.series import COIN_HIGH, COIN_LOW, FED_ASSETS, REVERSE_REPO, RUT, Panel

DAYS = pd.date_range("2016-01-01", "2019-06-30", unit="us")
SESSIONS = DAYS[DAYS.day_of_week < 5]
ASKED = [-1, -2, -40, -133, -200]
COINS = [f"c{number}" for number in range(9)]
BLOCK = 128
STOCKS = [f"s{number:03}" for number in range(BLOCK + 3)]

Slow = Callable[..., float]
Market = dict[Input, pd.Series | pd.DataFrame]


def blended(returns: pd.Series) -> float:
    """Four weighted means by hand: the weight of a squared return halves every so many days."""
    age = np.arange(len(returns))[::-1]
    variances = [np.average(returns**2, weights=0.5 ** (age / half_life)) for half_life in (22, 66, 198, 594)]
    return float(np.sqrt(np.mean(variances)))


def walk(seed: int, days: pd.DatetimeIndex, names: int = 1, sd: float = 0.02) -> np.ndarray:
    """Prices around 100, days × names."""
    steps = np.random.default_rng(seed).standard_t(4, (len(days), names)) * sd
    return 100 * np.exp(steps.cumsum(axis=0))


def quoted(declared: Input, seed: int) -> pd.Series | pd.DataFrame:
    """Something the input could be: a walk, or volume that now and then surges."""
    crypto = isinstance(declared, Derived) or declared.provider == "coins"
    days = DAYS if crypto else SESSIONS
    names = (COINS if crypto else STOCKS) if isinstance(declared, Panel) else ["one"]
    if isinstance(declared, Panel | Derived) or declared.field != "volume":
        values = walk(seed, days, len(names))
    if getattr(declared, "field", "") == "volume":
        values = np.exp(np.random.default_rng(seed).normal(12, 0.5, (len(days), len(names))))
    frame = pd.DataFrame(values, days, names)
    return frame if isinstance(declared, Panel) else frame["one"]


def drawn() -> Market:
    """One value a day for every input of every feature."""
    inputs = dict.fromkeys(declared for feature in FEATURES.values() for declared in feature.inputs)
    market = {declared: quoted(declared, seed) for seed, declared in enumerate(inputs)}
    return market | special()


def special() -> Market:
    """Inputs that a walk would not do for: an index with a long pause, highs above lows, a ranking, a correlation."""
    rng, ends = np.random.default_rng(99), pd.date_range(DAYS[0], DAYS[-1], freq="ME")
    ranking = pd.DataFrame(rng.random((len(ends), len(COINS))), ends, COINS)
    middle, spread = walk(5, DAYS, len(COINS)), np.exp(np.abs(rng.normal(0, 0.03, (2, len(DAYS), len(COINS)))))
    pause = np.interp(np.arange(len(SESSIONS)), [0, 100, 300, 700, len(SESSIONS)], [0, 0.3, -0.2, 0.5, 0.7])
    index = 1000 * np.exp(pause + 0.005 * rng.normal(size=len(SESSIONS)))
    return {
        TOP_COINS: ranking.where(ranking > 0.25),
        RUT: pd.Series(index, SESSIONS),
        FED_ASSETS: pd.Series(walk(6, SESSIONS)[:, 0] + 2000, SESSIONS),
        REVERSE_REPO: pd.Series(walk(7, SESSIONS)[:, 0] / 1000, SESSIONS),
        COIN_HIGH: pd.DataFrame(middle * spread[0], DAYS, COINS).assign(BTC=7.0),
        COIN_LOW: pd.DataFrame(middle / spread[1], DAYS, COINS).assign(BTC=1.0),
        ALTCOIN_INDEX: pd.Series(walk(8, DAYS, sd=0.05)[:, 0], DAYS),
        EQUITY_CORRELATION: pd.Series(np.sin(np.arange(len(SESSIONS)) / 50), SESSIONS),
    }


def ago(series: pd.Series, days: int) -> float:
    """The last value given by so many calendar days before the last."""
    return float(series.loc[: series.index[-1] - pd.Timedelta(days=days)].iloc[-1])


def growth(series: pd.Series, days: int = 91) -> float:
    return float(np.log(series.iloc[-1] / ago(series, days)))


def difference(series: pd.Series, days: int = 91) -> float:
    return float(series.iloc[-1] - ago(series, days))


def above(sessions: int) -> Slow:
    return lambda price: (price.iloc[-1] > price.iloc[-sessions:].mean()).mean()


def highs_less_lows(price: pd.DataFrame) -> float:
    year = price.iloc[-252:]
    return (year.iloc[-1] == year.max()).mean() - (year.iloc[-1] == year.min()).mean()


def advances(price: pd.DataFrame) -> float:
    return np.sign(price.iloc[-22:].diff().iloc[1:]).mean(axis=1).mean()


def since_breakout(close: pd.Series) -> float:
    """Session by session: a record after 252 sessions without one."""
    record, last, found = close.iloc[0], 0, np.nan
    for session, price in enumerate(close):
        if price > record:
            found = session if session - last - 1 >= 252 else found
            record, last = price, session
    return float("nan") if np.isnan(found) else (close.index[-1] - close.index[int(found)]).days


def heavy_highs(index: pd.Series, price: pd.Series, shares: pd.Series) -> float:
    traded = price * shares
    sessions = range(len(traded) - 63, len(traded))
    highs = [n for n in sessions if index.iloc[n] == index.iloc[n - 49 : n + 1].max()]
    return np.mean([np.log(traded.iloc[n] / traded.iloc[n - 49 : n + 1].mean()) for n in highs]) if highs else np.nan


def rising_share(price: pd.DataFrame, shares: pd.DataFrame) -> float:
    traded = price * shares
    return np.mean([traded.iloc[n][price.iloc[n] > price.iloc[n - 1]].sum() / traded.iloc[n].sum() for n in range(-21, 0)])


def surges(price: pd.DataFrame, shares: pd.DataFrame) -> float:
    heavy = [shares.iloc[n] >= 2 * shares.iloc[: len(shares) + n + 1].tail(50).mean() for n in range(-21, 0)]
    return np.mean([(many & (price.iloc[n] > price.iloc[n - 1])).mean() for n, many in zip(range(-21, 0), heavy, strict=True)])


def surge(iwm: pd.Series, iwm_shares: pd.Series, ijr: pd.Series, ijr_shares: pd.Series) -> float:
    traded = iwm * iwm_shares + ijr * ijr_shares
    return np.log(traded.tail(21).mean() / traded.tail(252).mean())


def impact(price: pd.DataFrame, dollars: pd.DataFrame, coins: pd.DataFrame | None = None) -> pd.Series:
    """Log of the median name's absolute return a dollar, each day."""
    each = np.log(price).diff().abs() / dollars
    return pd.Series({day: np.log(each.loc[day, held(coins, day)].median()) for day in each.index[-252:]})


def illiquidity(price: pd.DataFrame, shares: pd.DataFrame) -> float:
    daily = impact(price, price * shares)
    return daily.tail(21).mean() - daily.tail(252).mean()


def held(coins: pd.DataFrame | None, day: pd.Timestamp) -> slice | pd.Index:
    """Coins of the last ranking before `day`; all names where there is none."""
    return slice(None) if coins is None else coins.loc[:day].iloc[-1].dropna().index


def season(price: pd.DataFrame, coins: pd.DataFrame, bitcoin: pd.Series) -> float:
    names = held(coins, price.index[-1])
    return (price.iloc[-1][names] / price.iloc[-91][names] > bitcoin.iloc[-1] / bitcoin.iloc[-91]).mean()


def coin_breadth(price: pd.DataFrame, coins: pd.DataFrame) -> float:
    names = held(coins, price.index[-1])
    return (np.log(price.iloc[-1]) > np.log(price.tail(50)).mean())[names].mean()


def contraction(volume: pd.DataFrame, coins: pd.DataFrame) -> float:
    traded = np.log(volume[held(coins, volume.index[-1])])
    return (traded.tail(180).mean() - traded.tail(30).mean()).median()


def coin_illiquidity(price: pd.DataFrame, volume: pd.DataFrame, coins: pd.DataFrame) -> float:
    daily = impact(price, volume, coins)
    return daily.tail(30).mean() - daily.tail(180).mean()


def corwin_schultz(high: pd.DataFrame, low: pd.DataFrame) -> float:
    """As in the paper, negative spreads of a day set to zero."""
    high, low = high[COINS], low[COINS]
    daily = []
    for n in range(-30, 0):
        one, two = np.log(high.iloc[n - 1] / low.iloc[n - 1]) ** 2, np.log(high.iloc[n] / low.iloc[n]) ** 2
        beta, gamma = one + two, np.log(high.iloc[[n - 1, n]].max() / low.iloc[[n - 1, n]].min()) ** 2
        k = 3 - 2 * np.sqrt(2)
        alpha = (np.sqrt(2 * beta) - np.sqrt(beta)) / k - np.sqrt(gamma / k)
        daily.append((2 * (np.exp(alpha) - 1) / (1 + np.exp(alpha))).clip(lower=0).median())
    return float(np.mean(daily))


def capitulations(level: pd.Series, volume: pd.DataFrame, coins: pd.DataFrame) -> float:
    returns, traded, found = np.log(level).diff(), np.log(volume), 0
    for n in range(len(level) - 90, len(level)):
        names = held(coins, level.index[n])
        usual = returns.iloc[n - 90 : n].std()
        heavy = (traded.iloc[n] - traded.iloc[n - 89 : n + 1].mean())[names].median()
        found += returns.iloc[n] <= -2 * usual and heavy >= np.log(1.25)
    return found


def dominance(bitcoin: pd.Series, caps: pd.DataFrame) -> float:
    return difference(bitcoin / (bitcoin + caps.sum(axis=1)), 28)


def net(assets: pd.Series, treasury: pd.Series, repo: pd.Series) -> float:
    return growth(assets - treasury - repo * 1000)


def mean_distance(small: pd.Series, large: pd.Series) -> float:
    ratio = np.log(small / large)
    return ratio.iloc[-1] - ratio.tail(200).mean()


def relative(one: pd.Series, other: pd.Series) -> float:
    return growth(one / other)


SLOW: dict[str, Slow] = {
    "breadth_above_50": above(50),
    "breadth_above_200": above(200),
    "new_highs_less_lows": highs_less_lows,
    "net_advances": advances,
    "fund_breadth_above_50": above(50),
    "fund_breadth_above_200": above(200),
    "fund_new_highs_less_lows": highs_less_lows,
    "fund_net_advances": advances,
    "distance_from_record": lambda close: np.log(close.iloc[-1] / close.max()),
    "days_since_breakout": since_breakout,
    "breakout_recency": lambda close: 0.5 ** (since_breakout(close) / 90),
    "small_cap_strength": mean_distance,
    "dollar_volume_surge": surge,
    "volume_on_breakout_days": heavy_highs,
    "up_volume_share": rising_share,
    "breadth_of_surges": surges,
    "fund_up_volume_share": rising_share,
    "fund_breadth_of_surges": surges,
    "net_liquidity_growth": net,
    "treasury_account_drawdown": lambda treasury, assets: -difference(treasury) / assets.iloc[-1],
    "reserves_growth": growth,
    "treasury_holdings_growth": growth,
    "mbs_holdings_growth": growth,
    "high_yield_spread_change": difference,
    "investment_grade_spread_change": difference,
    "baa_spread_change": difference,
    "real_yield_change": difference,
    "policy_rate_change": difference,
    "yield_curve_slope": lambda curve: curve.iloc[-1],
    "dollar_change": growth,
    "small_cap_illiquidity": illiquidity,
    "fund_illiquidity": illiquidity,
    "funding_strain_change": growth,
    "treasury_bond_return": growth,
    "investment_grade_over_treasuries": relative,
    "high_yield_over_treasuries": relative,
    "large_cap_return": growth,
    "small_caps_over_large": relative,
    "regional_banks_over_small_caps": relative,
    "biotech_over_small_caps": relative,
    "altcoin_drawdown": lambda level: np.log(level.iloc[-1] / level.tail(252).max()),
    "altcoin_volatility": lambda level: np.log(level).diff().tail(90).std(),
    "blended_volatility": lambda level: blended(np.log(level).diff().dropna()),
    "altcoin_momentum": lambda level: growth(level, 90),
    "altcoin_month_return": lambda level: growth(level, 28),
    "rise_from_low": lambda level: level.iloc[-1] / level.tail(91).min() - 1,
    "altcoin_season": season,
    "altcoin_breadth": coin_breadth,
    "altcoin_volume_contraction": contraction,
    "altcoin_illiquidity": coin_illiquidity,
    "altcoin_spread": corwin_schultz,
    "capitulation_days": capitulations,
    "bitcoin_dominance_change": dominance,
    "ether_against_bitcoin": lambda ether, bitcoin: growth(ether / bitcoin, 28),
    "stablecoin_supply_growth": lambda supply: np.log(supply).diff().tail(90).clip(-0.05, 0.05).sum(),
    "equity_correlation_change": difference,
}


@pytest.fixture(autouse=True)
def more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are a few more stocks than are worked on at a time."""
    monkeypatch.setattr("features.transforms.CELLS_A_BLOCK", BLOCK * len(SESSIONS))


@pytest.fixture(scope="module")
def market() -> Market:
    """The inputs of this module."""
    return drawn()


def test_every_feature_is_worked_out() -> None:
    assert SLOW.keys() == FEATURES.keys()


@pytest.mark.parametrize("declared", FEATURES.values(), ids=FEATURES)
def test_a_feature_is_what_it_says(market: Market, declared: Feature) -> None:
    inputs = [market[one] for one in declared.inputs]
    found = declared.function(*inputs)
    days = inputs[0].index[ASKED]
    expected = [SLOW[declared.name](*(one.loc[:day] for one in inputs)) for day in days]
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found.reindex(days), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "declared", [one for one in FEATURES.values() if isinstance(one.inputs[0], Panel)], ids=lambda declared: declared.name
)
def test_four_names_speak_for_nobody(market: Market, declared: Feature) -> None:
    wide = {one: frame.iloc[:, -4:] for one, frame in market.items() if isinstance(frame, pd.DataFrame)}
    assert declared.function(*((market | wide)[one] for one in declared.inputs)).isna().all()


def test_a_name_counts_with_three_quarters_of_the_closes() -> None:
    price = pd.DataFrame(np.linspace(20, 10, 60)[:, None] * np.ones(6), SESSIONS[:60], STOCKS[:6])
    price["s005"] = np.linspace(10, 20, 60)
    price.iloc[:20, 5] = np.nan
    assert above_mean(price, 50).iloc[[55, 56]].tolist() == [0, 1 / 6], "36 closes, then 37"


def test_the_tie_to_stocks_is_the_correlation_of_returns_from_session_to_session() -> None:
    equity, level = (pd.Series(walk(seed, days)[:, 0], days) for seed, days in ((1, SESSIONS), (2, DAYS)))
    found = equity_correlation(equity, level)
    for n in (-1, -100):
        last = SESSIONS[: len(SESSIONS) + n + 1][-61:]
        expected = np.corrcoef(np.diff(np.log(equity[last])), np.diff(np.log(level[last])))[0, 1]
        assert found.loc[last[-1]] == pytest.approx(expected, abs=1e-9)
    gap = equity_correlation(equity, level.drop(SESSIONS[-10]))
    assert gap.iloc[[-10, -9]].isna().all(), "no return to and from a day without the index"
    assert gap.iloc[-8:].notna().all()


def test_a_session_without_its_usual_volume_is_an_error_of_the_source(market: Market) -> None:
    declared = FEATURES["volume_on_breakout_days"].inputs
    index, price, shares = (market[one] for one in declared)
    index = index * 0 + np.arange(len(index)) + 1.0  # every session is a high
    broken = shares.copy()
    broken.iloc[-20] = 1.0
    whole, found = (volume_on_breakout_days(index, price, volume).iloc[-1] for volume in (shares, broken))
    assert found == pytest.approx(whole, abs=0.06)
    assert np.isnan(volume_on_breakout_days(-index, price, shares).iloc[-1]), "no high, nothing to say"


def test_names_without_a_return_have_no_rising_volume() -> None:
    price = pd.DataFrame(np.linspace(10.0, 20.0, 40)[:, None] * np.ones(6), SESSIONS[:40], STOCKS[:6])
    price.iloc[:, 5] = np.where(np.arange(40) % 2, 10.0, np.nan)
    assert rising_volume(price, price * 0 + 1).iloc[-2:].tolist() == pytest.approx([1, 1])


def test_dominance_says_nothing_where_no_altcoin_has_a_cap(market: Market) -> None:
    bitcoin, caps = (market[one] for one in FEATURES["bitcoin_dominance_change"].inputs)
    caps = caps.copy()
    caps.iloc[-10:] = np.nan
    found = FEATURES["bitcoin_dominance_change"].function(bitcoin, caps)
    assert found.iloc[-11:].isna().tolist() == [False] * 4 + [True] * 7, "three days are bridged"


def test_a_price_that_does_not_move_is_not_above_its_mean() -> None:
    price = pd.DataFrame(0.1 + 0.2, SESSIONS, STOCKS)
    price.iloc[:300] = walk(4, SESSIONS[:300], len(STOCKS))
    assert above_mean(price, 200).iloc[-200:].tolist() == [0.0] * 200


def test_the_logarithm_of_what_is_not_positive_is_missing() -> None:
    np.testing.assert_array_equal(log(pd.Series([-1.0, 0.0, np.nan, 1.0])), [np.nan, np.nan, np.nan, 0.0])


def test_a_gap_is_bridged_as_far_as_allowed() -> None:
    frame = pd.DataFrame({"a": [1.0, *[np.nan] * 4, 2.0], "b": [np.nan, 3.0, *[np.nan] * 4]})
    nan = np.nan
    np.testing.assert_array_equal(fill_gaps(frame, rows=3), [[1, nan], [1, 3], [1, 3], [1, 3], [nan, 3], [2, nan]])
