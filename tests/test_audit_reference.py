"""Every number of the breakout table, counted once more from the raw files of the reference market in plain pandas."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from sources.store import Store
from studies.audit.breakouts import BREAKOUT_RULE, Breakouts, breakouts
from studies.audit.market_state import facts_known

pytestmark = pytest.mark.reference
LAST = pd.Timestamp("2024-12-31")
AS_OF = pd.Timestamp("2025-01-01")
Closes = Mapping[str, pd.Series]
NEW_COINS_FOR_AN_OLD_ONE = {
    "xaurum": ("2016-08-22", 8000), "ubiq": ("2017-02-09", 10), "mybit": ("2018-06-07", 20), "vechain": ("2018-07-25", 100),
    "aave": ("2020-10-03", 1 / 100), "bnx--binaryx": ("2023-04-01", 100),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(reference_home: Path) -> Breakouts:
    """As the audit has it."""
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        return breakouts(facts_known(store, AS_OF))


@pytest.fixture(scope="module")
def raw(reference: Path) -> Closes:
    """Closes by day: the altcoin index held as a purse of coins, BTC, IWM (adjusted) and ^RUT."""
    prices = pd.read_parquet(reference / "prices.parquet", columns=["date", "ticker", "close", "adj_close"])
    crypto = pd.read_parquet(reference / "crypto.parquet").query("not bad_tick")
    crypto = crypto.astype(dict.fromkeys(("price", "market_cap", "volume"), "float64"))
    for asset, (day, coins) in NEW_COINS_FOR_AN_OLD_ONE.items():
        crypto.loc[(crypto["asset"] == asset) & (crypto["date"] >= day), "price"] *= coins
    bitcoin = crypto[crypto["asset_class"] == "btc"].set_index("date")["price"]
    funds = {name: prices[prices["ticker"] == name].set_index("date").sort_index() for name in ("IWM", "^RUT")}
    return {
        "altcoins": purse(crypto[crypto["asset_class"] == "coin"]),
        "BTC": bitcoin.sort_index(),
        "IWM": funds["IWM"]["adj_close"].dropna(),
        "^RUT": funds["^RUT"]["close"].dropna(),
    }


def purse(crypto: pd.DataFrame) -> pd.Series:
    """Worth, day by day, of a purse refilled at each month-end with the coins that the index's rule asks for."""
    days = pd.date_range(crypto["date"].min(), crypto["date"].max())
    caps_told = crypto.assign(market_cap=crypto["market_cap"].where(~crypto["mcap_suspect"].astype(bool)))
    price, caps, volume = (
        caps_told.pivot_table(index="date", columns="asset", values=name, observed=True, dropna=False).where(lambda f: f > 0)
        for name in ("price", "market_cap", "volume")
    )
    price, caps, volume = (frame.reindex(index=days, columns=price.columns) for frame in (price, caps, volume))
    baskets: dict[pd.Timestamp, pd.Series] = {}
    for end in pd.date_range(days[0], days[-1], freq="ME"):
        basket = chosen(price.loc[:end], caps.loc[:end], volume.loc[:end], list(baskets.values())[-1] if baskets else None)
        if basket is not None:
            baskets[end] = basket
    level, worth, ends = {}, 1.0, [*baskets, days[-1]]
    for end, following in zip(baskets, ends[1:], strict=True):
        quotes = price.loc[end - pd.Timedelta(days=3) : following, baskets[end].index].ffill().loc[end:]
        held = (worth * baskets[end] / quotes.iloc[0] * quotes).sum(axis=1)
        level |= held.to_dict()
        worth = held.iloc[-1]
    return pd.Series(level)


def chosen(price: pd.DataFrame, caps: pd.DataFrame, volume: pd.DataFrame, before: pd.Series | None) -> pd.Series | None:
    """Weights bought on the last day; None where nothing is bought."""
    quotes = price.iloc[-4:].ffill().iloc[-1].dropna()
    if quotes.empty or (before is not None and before.index.isin(quotes.index).sum() < len(before) / 2):
        return None
    sizes = caps.iloc[-4:].ffill().iloc[-1].reindex(quotes.index).dropna()
    if len(sizes) >= 0.9 * min(50, len(quotes)):
        return limited(sizes.nlargest(50))
    lately = volume.iloc[-90:].reindex(columns=quotes.index)
    traded = lately.median()[lately.count() >= 45].nlargest(50)
    return traded * 0 + 1 / len(traded) if len(traded) else None


def limited(sizes: pd.Series) -> pd.Series:
    """In proportion to size, the largest cut to a quarter until none is above."""
    for cut in range(len(sizes)):
        rest = sizes.iloc[cut:] / sizes.iloc[cut:].sum() * (1 - 0.25 * cut)
        if rest.iloc[0] <= 0.25:
            return pd.concat([sizes.iloc[:cut] * 0 + 0.25, rest])
    return sizes * 0 + 1 / len(sizes)


def raw_dates(closes: pd.Series, kind: str, quiet: int) -> list[pd.Timestamp]:
    """Breakouts, session by session."""
    values, dates, last = closes.to_list(), [], 0 if kind == "record" else 251
    for number, value in enumerate(values):
        past = values[:number] if kind == "record" else values[number - 252 : number] if number >= 252 else []
        if past and value > max(past):
            if number - last > quiet:
                dates.append(closes.index[number])
            last = number
    return dates


def move(closes: pd.Series, day: pd.Timestamp, days: int, last: pd.Timestamp) -> list[float]:
    """Return at the horizon and at the highest close until then; none where that isn't known."""
    end = day + pd.Timedelta(days=days)
    if day < closes.index[0] or end > last:
        return []
    within = closes[(closes.index > day) & (closes.index <= end)]
    return [closes.asof(end) / closes.asof(day) - 1, within.max() / closes.asof(day) - 1]


def passage(level: pd.Series, day: pd.Timestamp, rise: float) -> int | None:
    """Days to the first close so much higher, None where not within 180."""
    if day < level.index[0]:
        return None
    ahead = level[(level.index > day) & (level.index <= day + pd.Timedelta(days=180))]
    above = ahead[ahead >= (1 + rise) * level[day]]
    return (above.index[0] - day).days if len(above) else None


def outcomes(level: pd.Series, rise: float, first: int, last: int) -> pd.Series:
    """Of every day whose window is over: did the first passage fall in it?"""

    def highest(days: int) -> pd.Series:
        return level[::-1].rolling(days).max()[::-1].shift(-1) if days else level * 0

    bar = (1 + rise) * level
    came = (highest(last) >= bar) & ~(highest(first - 1) >= bar)
    return came[: level.index[-1] - pd.Timedelta(days=last)].astype(float)


@pytest.mark.parametrize("kind", ["record", "52-week high"])
@pytest.mark.parametrize("quiet", [126, 252, 504])
def test_breakouts_are_found_by_rule_failures_included(found: Breakouts, raw: Closes, kind: str, quiet: int) -> None:
    events = {pd.Timestamp(event.day): event for event in found.events if (event.kind, event.quiet) == (kind, quiet)}
    assert list(events) == raw_dates(raw["^RUT"], kind, quiet)
    if (kind, quiet) == BREAKOUT_RULE:
        assert [f"{day:%Y-%m-%d}" for day, event in events.items() if event.hits["day 1 to 90"] is False] == ["2016-11-14"]


def test_every_number_of_an_event_can_be_counted_from_the_raw_files(found: Breakouts, raw: Closes) -> None:
    level = raw["altcoins"]
    for event in found.events:
        day = pd.Timestamp(event.day)
        assert event.close == raw["^RUT"][day]
        for market, rows in event.followed.items():
            assert [row.days for row in rows] == [30, 60, 90, 180]
            for row in rows:
                expected = move(raw[market], day, row.days, LAST if market in ("altcoins", "BTC") else AS_OF)
                told = [number for number in (row.value, row.highest) if number is not None]
                assert told == pytest.approx(expected, rel=1e-9), (event.day, market, row.days)
        wait = passage(level, day, 0.3)
        over = level.index[0] <= day <= LAST - pd.Timedelta(days=90)
        assert event.first_passage_days == wait
        assert event.days_seen == (min((LAST - day).days, 180) if day >= level.index[0] else 0)
        assert event.hits["day 1 to 90"] is ((wait is not None and wait <= 90) if over else None)
        assert event.hits["day 30 to 90"] is ((wait is not None and 30 <= wait <= 90) if over else None)
        assert (event.unknown is None) == over


def test_every_number_of_the_grid_can_be_counted_from_the_raw_files(found: Breakouts, raw: Closes) -> None:
    assert len(found.grid) == 90
    for row in found.grid:
        came = outcomes(raw["altcoins"], row.rise, row.first_day, row.last_day)
        chosen_days = [day for day in raw_dates_of(found, row.kind, row.quiet) if day in came.index]
        hits, n = int(came[chosen_days].sum()), len(chosen_days)
        places = came.index.get_indexer(chosen_days)
        turned = came.to_numpy()[(places[:, None] + np.arange(len(came))) % len(came)].sum(axis=0) >= hits
        exact = binomtest(hits, n).proportion_ci(0.95, method="exact")
        expected = {
            "n": n,
            "hits": hits,
            "rate": hits / n,
            "low": exact.low,
            "high": exact.high,
            "base_rate": came.mean(),
            "difference": hits / n - came.mean(),
            "p": np.mean(turned),
            "rotations": len(came),
            "independent": len(came) // row.last_day,
        }
        assert {name: asdict(row)[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)


def raw_dates_of(found: Breakouts, kind: str, quiet: int) -> list[pd.Timestamp]:
    """The dates of a rule; that they are right is tested above."""
    return [pd.Timestamp(event.day) for event in found.events if (event.kind, event.quiet) == (kind, quiet)]


def test_the_articles_dates_stand_beside_the_rules_and_are_not_matched(found: Breakouts) -> None:
    told = {row.said: row for row in found.article}
    assert [told[said].records for said in ("2017", "2021")] == [[], []]
    assert [told[said].last_record_breakout for said in ("2017", "2021")] == ["2016-11-14", "2020-11-13"]
    assert [told[said].over for said in ("2017", "2021", "January 2026")] == [True, True, False]
