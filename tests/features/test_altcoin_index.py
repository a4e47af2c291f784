"""The altcoin index is what one could have held: ranked by what was known at the month-end, dead coins included."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.altcoin_index import AltcoinIndex, altcoin_index, keep_largest, limit_weights, load_index
from sources.batches import Batch
from sources.store import Store

JANUARY_TO_APRIL = pd.date_range("2020-01-01", "2020-04-30")
END_OF_JANUARY, END_OF_FEBRUARY = pd.Timestamp("2020-01-31"), pd.Timestamp("2020-02-29")


def flat(**values: float) -> pd.DataFrame:
    """Every coin at one value on every day."""
    return pd.DataFrame({name: np.full(len(JANUARY_TO_APRIL), value) for name, value in values.items()}, index=JANUARY_TO_APRIL)


def index_of(price: pd.DataFrame, caps: pd.DataFrame | None = None, volume: pd.DataFrame | None = None) -> AltcoinIndex:
    """The index, with equal caps unless given."""
    ones = price * 0 + 1
    return altcoin_index(price, ones if caps is None else caps, ones if volume is None else volume)


def held_at(index: AltcoinIndex, day: pd.Timestamp) -> dict[str, float]:
    """Weights bought at a month-end."""
    members = index.members[index.members["month_end"] == day]
    return dict(zip(members["symbol"], members["weight"], strict=True))


def test_constant_prices_give_a_constant_level() -> None:
    level = index_of(flat(a=1, b=20, c=300, d=4, e=5)).level
    assert level.index[0] == END_OF_JANUARY
    assert level.index.equals(pd.date_range(END_OF_JANUARY, JANUARY_TO_APRIL[-1]))
    np.testing.assert_allclose(level, level.iloc[0], rtol=1e-14)


def test_a_basket_is_bought_at_the_month_end_and_held() -> None:
    price = flat(a=1.0, b=1.0, c=1.0, d=1.0)
    price.loc["2020-02-10":, "a"] = 2.0
    price.loc["2020-02-20":, "a"] = 4.0
    level = index_of(price).level / index_of(price).level.loc[END_OF_JANUARY]
    assert level.loc["2020-02-09"] == 1
    assert level.loc["2020-02-10"] == pytest.approx((2 + 3) / 4)
    assert level.loc["2020-02-20"] == pytest.approx((4 + 3) / 4), "not rebalanced within the month"


def test_at_the_next_month_end_it_is_rebalanced_without_a_jump() -> None:
    price = flat(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0)
    price.loc["2020-02-10":, "a"] = 2.0
    price.loc["2020-03-10":, "b"] = 2.0
    caps = flat(a=4, b=4, c=4, d=4, e=1)
    level = index_of(price, caps).level / index_of(price, caps).level.loc[END_OF_JANUARY]
    assert level.loc["2020-02-29"] == level.loc["2020-03-01"] == level.loc["2020-02-10"]
    assert level.loc["2020-03-10"] / level.loc["2020-03-09"] == pytest.approx(1 + 4 / 17)


def test_coins_come_and_go_without_a_jump() -> None:
    prices = {f"c{number:02}": 10.0 ** (number % 9 - 4) for number in range(60)}
    price, caps = flat(**prices), flat(**dict.fromkeys(prices, 1.0))
    caps.loc[:"2020-02-15", list(prices)[:10]] = 0.5
    caps.loc["2020-02-16":, list(prices)[-10:]] = 0.5
    index = index_of(price, caps)
    january, february = held_at(index, END_OF_JANUARY), held_at(index, END_OF_FEBRUARY)
    assert sorted(january) == sorted(prices)[10:]
    assert sorted(february) == sorted(prices)[:50]
    np.testing.assert_allclose(index.level, index.level.iloc[0], rtol=1e-12)


def test_no_coin_weighs_more_than_a_quarter() -> None:
    caps = flat(a=1000, b=10, c=10, d=10, e=10, f=10)
    assert held_at(index_of(caps * 0 + 1, caps), END_OF_JANUARY) == pytest.approx(dict.fromkeys("bcdef", 0.15) | {"a": 0.25})


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_too_few_coins_for_the_limit_are_held_in_equal_parts(count: int) -> None:
    sizes = np.append(10.0 ** np.arange(count), np.nan)
    np.testing.assert_allclose(limit_weights(sizes), np.append(np.full(count, 1 / count), np.nan))


@pytest.mark.parametrize("seed", range(5))
def test_weights_add_up_keep_order_and_stay_below_the_limit(seed: int) -> None:
    sizes = np.sort(np.random.default_rng(seed).pareto(0.7, 40))[::-1]
    weights = limit_weights(sizes)
    assert weights.sum() == pytest.approx(1)
    assert weights.max() <= 0.25 + 1e-12
    assert (np.diff(weights) <= 1e-15).all()
    free = weights < 0.25 - 1e-12
    np.testing.assert_allclose(weights[free] / sizes[free], (weights[free] / sizes[free])[0])


def test_the_fifty_largest_at_the_month_end_are_held() -> None:
    caps = flat(**{f"c{number:02}": number for number in range(1, 61)})
    caps.loc["2020-02-01":, "c01"] = 1e9
    index = index_of(caps * 0 + 1, caps)
    assert sorted(held_at(index, END_OF_JANUARY)) == [f"c{number:02}" for number in range(11, 61)]
    assert "c01" in held_at(index, END_OF_FEBRUARY)


def test_of_equally_large_coins_the_first_is_kept() -> None:
    kept = keep_largest(np.concatenate([np.ones(60), [np.nan]]))
    assert np.isfinite(kept[:50]).all()
    assert np.isnan(kept[50:]).all()


def test_a_month_is_ranked_by_nothing_that_came_later() -> None:
    days = JANUARY_TO_APRIL
    rng = np.random.default_rng(2)
    price = pd.DataFrame(np.exp(rng.normal(0, 0.05, (len(days), 60)).cumsum(axis=0)), days, [f"c{n:02}" for n in range(60)])
    caps, volume = price * rng.pareto(1, 60), price * 0 + 1
    cut = pd.Timestamp("2020-03-15")
    early, late = altcoin_index(price.loc[:cut], caps.loc[:cut], volume.loc[:cut]), altcoin_index(price, caps, volume)
    assert held_at(early, END_OF_FEBRUARY) == held_at(late, END_OF_FEBRUARY)
    pd.testing.assert_series_equal(early.level, late.level.loc[:cut], check_exact=True, check_freq=False)


def test_a_coin_that_stops_stays_at_its_last_price_until_the_next_ranking_and_is_counted() -> None:
    price = flat(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0)
    price.loc["2020-02-10", "e"] = 0.5
    price.loc["2020-02-11":, "e"] = np.nan
    price.loc["2020-03-10":, "a"] = 2.0
    index = index_of(price)
    level = index.level / index.level.loc[END_OF_JANUARY]
    assert index.stopped.to_dict("records") == [
        {"month_end": END_OF_JANUARY, "symbol": "e", "last_quote": pd.Timestamp("2020-02-10")}
    ]
    assert level.loc["2020-02-10"] == level.loc["2020-02-29"] == pytest.approx((4 + 0.5) / 5), "its loss stays"
    assert "e" not in held_at(index, END_OF_FEBRUARY)
    assert level.loc["2020-03-10"] / level.loc["2020-03-09"] == pytest.approx(1.25)


def test_without_caps_the_most_traded_are_held_in_equal_parts() -> None:
    price = flat(**{f"c{number:02}": 1.0 for number in range(60)})
    volume = flat(**{f"c{number:02}": float(number) for number in range(60)})
    volume.loc["2020-03-31", "c00"] = 1e12
    index = altcoin_index(price, price * np.nan, volume)
    assert held_at(index, pd.Timestamp("2020-03-31")) == pytest.approx({f"c{number:02}": 1 / 50 for number in range(10, 60)})


def test_a_few_missing_caps_leave_out_only_those_coins() -> None:
    caps = flat(**{f"c{number:02}": 1.0 for number in range(55)})
    caps["c07"] = np.nan
    held = held_at(index_of(caps.fillna(1.0), caps), END_OF_JANUARY)
    assert "c07" not in held
    assert len(held) == 50


@pytest.mark.parametrize(("with_caps", "weight_of_the_largest"), [(18, 0.25), (17, 1 / 20)])
def test_caps_are_used_while_nine_tenths_are_there(with_caps: int, weight_of_the_largest: float) -> None:
    caps = flat(**{f"c{number:02}": 1.0 for number in range(20)})
    caps["c00"] = 1000.0
    caps.iloc[:, with_caps:] = np.nan
    assert held_at(index_of(caps.fillna(1.0) * 0 + 1, caps), pd.Timestamp("2020-03-31"))["c00"] == weight_of_the_largest


def test_a_coin_without_half_of_ninety_days_of_volume_is_not_ranked_by_it() -> None:
    price = flat(a=1.0, b=1.0, c=1.0)
    volume = price.copy()
    volume.loc[:"2020-02-15", "b"] = np.nan  # 45 days to the end of March
    volume.loc[:"2020-02-16", "c"] = np.nan
    assert sorted(held_at(altcoin_index(price, price * np.nan, volume), pd.Timestamp("2020-03-31"))) == ["a", "b"]


def test_a_coin_that_does_not_quote_is_not_bought_whatever_its_cap() -> None:
    price, caps = flat(a=1.0, b=1.0, c=1.0), flat(a=1, b=1, c=100)
    price.loc["2020-01-28":, "c"] = np.nan
    assert sorted(held_at(index_of(price, caps), END_OF_JANUARY)) == ["a", "b"]


def test_a_pause_of_three_days_is_no_stop() -> None:
    price = flat(a=1.0, b=1.0, c=1.0)
    price.loc["2020-02-27":"2020-02-29", "c"] = np.nan
    assert index_of(price).stopped.empty
    price.loc["2020-02-26", "c"] = np.nan
    assert index_of(price).stopped["symbol"].tolist() == ["c"]


def test_a_month_end_without_most_quotes_is_passed_over_and_the_coins_held_on() -> None:
    price = flat(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0)
    price.loc["2020-02-20":"2020-03-05", ["a", "b", "c"]] = np.nan
    price.loc["2020-03-10":, "a"] = 2.0
    index = index_of(price)
    assert index.members["month_end"].unique().tolist() == [END_OF_JANUARY, pd.Timestamp("2020-03-31"), pd.Timestamp("2020-04-30")]
    assert index.level.loc["2020-03-10"] / index.level.loc[END_OF_JANUARY] == pytest.approx(6 / 5)


def test_where_fewer_than_half_quote_the_level_is_missing() -> None:
    price = flat(a=1.0, b=1.0, c=1.0, d=1.0)
    price.loc["2020-02-10":"2020-02-20", ["a", "b", "c"]] = np.nan
    level = index_of(price).level
    assert level.loc["2020-02-13":"2020-02-20"].isna().all()
    assert level.loc["2020-02-10":"2020-02-12"].notna().all(), "a quote of up to three days before is one"
    assert level.loc["2020-02-21":].notna().all()


def slow_weights(caps: dict[str, float]) -> dict[str, float]:
    """The 50 largest by the fewest coins at a quarter each that leave no other above it."""
    names = sorted(caps, key=lambda name: (-caps[name], name))[:50]
    for capped in range(len(names)):
        rest = sum(caps[name] for name in names[capped:])
        left = 1 - 0.25 * capped
        if caps[names[capped]] * left / rest <= 0.25:
            return {name: 0.25 if n < capped else caps[name] * left / rest for n, name in enumerate(names)}
    raise AssertionError("four coins or fewer")


def slow_level(price: pd.DataFrame, caps: pd.DataFrame) -> pd.Series:
    """The index with a purse of coins, coin by coin and day by day; caps are there for every quote."""
    purse: dict[str, float] = {}
    worth, level = 1.0, {}
    for day in price.index:
        seen = price.loc[:day].ffill().iloc[-1]
        quoted = price.loc[:day].iloc[-4:].notna().any()
        if purse:
            worth = sum(coins * seen[name] for name, coins in purse.items())
        if (day + pd.Timedelta(days=1)).day == 1:
            newest = caps.loc[:day].iloc[-4:].ffill().iloc[-1]
            weights = slow_weights({str(name): newest[str(name)] for name in price.columns[quoted]})
            purse = {name: weight * worth / seen[name] for name, weight in weights.items()}
        level[day] = worth if purse and sum(quoted[name] for name in purse) >= len(purse) / 2 else np.nan
    return pd.Series(level).loc[END_OF_JANUARY:]


@pytest.mark.parametrize("seed", range(3))
def test_the_index_is_a_purse_counted_coin_by_coin(seed: int) -> None:
    rng, days = np.random.default_rng(seed), pd.date_range("2020-01-01", "2020-08-10")
    price = pd.DataFrame(np.exp(rng.normal(0, 0.06, (len(days), 70)).cumsum(axis=0)), days, [f"c{n:02}" for n in range(70)])
    price = price.mask(rng.random(price.shape) < 0.1)
    for coin, (born, life) in enumerate(zip(rng.integers(-200, 120, 70), rng.integers(20, 900, 70), strict=True)):
        price.iloc[: max(born, 0), coin] = np.nan
        price.iloc[max(born + life, 0) :, coin] = np.nan
    caps = price * rng.pareto(0.6, 70)
    index = index_of(price, caps)
    expected = slow_level(price, caps)
    np.testing.assert_allclose(index.level / index.level.iloc[0], expected, rtol=1e-10)
    assert len(index.stopped) > 3
    assert index.members.groupby("month_end")["weight"].agg(["sum", "max"]).to_numpy() == pytest.approx(np.array([[1, 0.25]] * 7))


def test_nothing_gives_nothing() -> None:
    empty = pd.DataFrame(index=pd.DatetimeIndex([]), dtype=float)
    index = altcoin_index(empty, empty, empty)
    assert index.level.empty
    assert index.members.empty


def test_bitcoin_and_what_is_pegged_or_wrapped_are_never_held(tmp_path: Path) -> None:
    classes = {
        "bitcoin": "btc",
        "tether": "stablecoin",
        "wbtc": "wrapped_staked",
        "gold": "tokenised_asset",
        "ether": "coin",
        "sol": "coin",
    }
    rows = pd.DataFrame([(symbol, day) for symbol in classes for day in JANUARY_TO_APRIL], columns=["symbol", "observed"])
    frame = rows.assign(known=rows["observed"] + pd.Timedelta(days=1), close=1.0, market_cap=1e9, volume=1e6)
    frame["asset_class"] = frame["symbol"].map(classes)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.claim_market("files")
        store.append(Batch("coins", "bars", frame, "files", "coin"), pd.Timestamp("2020-06-01"))
        assert set(load_index(store, pd.Timestamp("2020-06-01")).members["symbol"]) == {"ether", "sol"}
        assert load_index(store, pd.Timestamp("2020-03-01")).level.index[-1] == pd.Timestamp("2020-02-29"), "known a day later"
