"""Coins whose unit changes: 1,000 old ones become one new one, its price is 1,000 times the old, and nobody is richer.

Prices are kept in the unit that was stored first, as bars are after a split, so that a day's past never changes. A change is
applied where it is stated, in `redenominations.csv` of the folder or the home or in `KNOWN`, and where price and market cap say it
together: the price jumps and the market cap doesn't. Where a price jumps and nothing says why, the coin's rows are held back until
its old level is back. Ratios below five to one are not looked for: coins have moved as far in a day.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.arrays import Bools, Floats, Ints
from core.errors import BadInput
from sources.schemas import SHEETS, checked
from sources.series import COIN_PRICE
from sources.store import Store
from sources.tables import read_table

NAME, FILE = "redenominations", "redenominations.csv"
MOVE, FAR, HUGE = np.log([4.0, 20.0, 100.0])
WINDOW, ENOUGH = 5, 3  # quotes on each side that tell the number of coins; of those since the jump
NEAR_THE_DAY = 31  # days between the day stated and the jump; also the longest gap over which a jump is judged
CAP_STAYS, CAP_NEARLY_STAYS = np.log([1.05, 1.35])
ROUND, STEADY = np.log([1.03, 1.5])
ROUGHLY, A_QUARTER, TWICE, THRICE = np.log([1.1, 1.25, 2.0, 3.0])
FIVE, FIVE_OR_TEN, TEN = np.log([5.0, np.sqrt(50.0), 10.0])
LARGEST = 700.0  # whose exponential is still a number
IN_REACH = 75  # half as many again as the index holds: no smaller coin is in it
LISTED = 10
FEW = 100  # coins that are read by name and not with all others
LONG_AGO = 400  # days before which no stored quote is set beside a new one


@dataclass(frozen=True)
class Stated:
    """That `ratio` old coins became one new one on a day, so that the price was multiplied by it; 1 says that the price moved.

    `names` are the asset and its symbol; none means whatever coin jumps alike. `file` is who says so, empty for this project.
    """

    names: tuple[str, ...]
    day: pd.Timestamp
    ratio: float
    file: str = ""

    @property
    def who(self) -> str:
        """Who states it, for the user."""
        return self.file or "the table in altrally"


KNOWN = (
    Stated(("xaurum", "XAUR"), pd.Timestamp("2016-08-22"), 1 / 8000),
    Stated(("vechain", "VET"), pd.Timestamp("2018-07-25"), 1 / 100),
    Stated(("polkadot", "DOT"), pd.Timestamp("2020-08-21"), 1 / 100),
    Stated(("elrond-egld", "elrond", "EGLD"), pd.Timestamp("2020-09-04"), 1000.0),
    Stated(("aave", "AAVE"), pd.Timestamp("2020-10-03"), 100.0),
    Stated(("pundi-x", "PUNDIX"), pd.Timestamp("2021-03-30"), 1000.0),
    Stated(("bittorrent", "BTT"), pd.Timestamp("2022-01-18"), 1 / 1000),
)


@dataclass(frozen=True)
class Before:
    """What is stored of coins: the last quotes up to the first day that comes, and the last day of each coin.

    `quotes`: symbol, observed, close, market_cap.
    """

    quotes: pd.DataFrame
    last: Mapping[str, pd.Timestamp]


NOTHING = Before(pd.DataFrame({"symbol": [], "observed": [], "close": [], "market_cap": []}), {})


@dataclass(frozen=True)
class Units:
    """What is known of units before rows come: what is stated, what is stored, and the file in which the user may state more."""

    stated: tuple[Stated, ...] = KNOWN
    stored: Callable[[str, pd.DataFrame], Before] = field(default=lambda universe, rows: NOTHING)
    file: str = FILE

    def strangers(self, names: Iterable[str]) -> list[str]:
        """Coins of which the user states something and that aren't among `names`."""
        known = {name.casefold() for name in names}
        return [one.names[0] for one in self.stated if one.file and one.names[0].casefold() not in known]


class OneUnit(NamedTuple):
    """Rows with their prices in one unit, which of them are held back, what was changed, and words for the user by coin."""

    frame: pd.DataFrame
    held: Bools
    changes: list[Stated]
    notes: list[tuple[str, str]]


class Change(NamedTuple):
    """A change of unit between the quote at `place` and the one before it; `stated` is None where price and market cap say it."""

    place: int
    ratio: float
    stated: Stated | None


@dataclass(frozen=True)
class Quotes:
    """Quotes in order of coin and day: number of the coin among `names`, day since 1970, log price, log market cap, row.

    The market cap is NaN where it isn't known; the row is -1 for what is stored.
    """

    names: pd.Index
    coin: Ints
    day: Ints
    price: Floats
    cap: Floats
    row: Ints

    def jump(self) -> Floats:
        """Change of the log price since the coin's quote before, 0 for its first one and within what is stored."""
        change = np.diff(self.price, prepend=self.price[:1])
        change[(np.diff(self.coin, prepend=-1) != 0) | (self.row < 0)] = 0.0
        return change

    def rest(self, place: int) -> slice:
        """From `place` to the coin's last quote."""
        return slice(place, int(np.searchsorted(self.coin, self.coin[place] + 1)))

    def name(self, place: int) -> str:
        """The coin of a quote."""
        return str(self.names[self.coin[place]])

    def when(self, place: int) -> pd.Timestamp:
        """The day of a quote."""
        return pd.Timestamp(np.datetime64(int(self.day[place]), "D"))


def units_of(store: Store, stated: Sequence[Stated], file: Path, today: pd.Timestamp) -> Units:
    """The units of what `store` holds, where the user states changes in `file`."""
    return Units((*stated, *KNOWN), partial(stored_before, store, today), str(file))


def stated_in(folder: Path) -> list[Stated]:
    """What the file `redenominations.csv` of a folder states, nothing where there is none. Raises `BadInput`."""
    file = folder / FILE
    return read_stated(file) if file.is_file() else []


def read_stated(file: Path) -> list[Stated]:
    """The rows of a file of date, asset, ratio. Raises `BadInput`."""
    rows = checked(NAME, read_table(file, SHEETS[NAME].columns).frame, name=str(file))
    if rows.left_out:
        raise BadInput(f"{file}: {rows.notes[-1]}")
    empty = np.flatnonzero(~(rows.frame["ratio"] > 0))
    if empty.size:
        raise BadInput(f"{file}: data row {empty[0] + 1} states no ratio above 0; write how many old coins became one new one.")
    days, assets, ratios = (rows.frame[name] for name in ("date", "asset", "ratio"))
    return [Stated((asset,), day, ratio, file.name) for day, asset, ratio in zip(days, assets, ratios, strict=True)]


def stored_before(store: Store, today: pd.Timestamp, universe: str, rows: pd.DataFrame) -> Before:
    """What `store` holds of the coins in `rows` (symbol, observed) of a universe, about their first day."""
    if store.market is None or rows.empty:
        return NOTHING
    firsts = rows.groupby("symbol", observed=True)["observed"].min()
    named = tuple(map(str, firsts.index)) if len(firsts) <= FEW else ()
    every = replace(COIN_PRICE, universe=universe, asset_class=None, symbols=named)
    since, until = firsts.min() - pd.Timedelta(days=LONG_AGO), today + pd.Timedelta(days=NEAR_THE_DAY)
    close, cap = (store.read_panel(replace(every, field=name), until, since) for name in ("close", "market_cap"))
    coin, day = np.nonzero(close.notna().to_numpy().T)
    ends = np.flatnonzero(np.diff(coin, append=-1))
    last = dict(zip(close.columns[coin[ends]], close.index[day[ends]], strict=True))
    early = close.index[day] <= pd.DatetimeIndex(firsts.reindex(close.columns))[coin]
    coin, day = coin[early], day[early]
    tail = np.searchsorted(coin, coin, side="right") - np.arange(len(coin)) <= WINDOW
    symbols, days = close.columns[coin[tail]], close.index[day[tail]]
    caps = cap.reindex(index=close.index, columns=close.columns).to_numpy()[day[tail], coin[tail]]
    prices = close.to_numpy()[day[tail], coin[tail]]
    return Before(pd.DataFrame({"symbol": symbols, "observed": days, "close": prices, "market_cap": caps}), last)


def in_one_unit(rows: pd.DataFrame, units: Units) -> OneUnit:
    """Bars of universe 'coin' with every close in the unit stored first: symbol, observed, close, and market_cap where known.

    Rows after a jump that nothing explains are held back: those of coins that may be in the index, and no others.
    """
    before = units.stored("coin", rows)
    quotes = _quotes(rows, before.quotes)
    jump = quotes.jump()
    supply = _supply(quotes, np.flatnonzero(np.abs(jump) > MOVE))
    changes = _stated_changes(quotes, jump, units.stated)
    changes |= _evident_changes(jump, supply, changes)
    for change in changes.values():
        quotes.price[quotes.rest(change.place)] -= np.log(change.ratio)
    held, begun = _held_back(quotes, supply, changes)
    flags = np.zeros(len(rows), dtype=bool)
    flags[quotes.row[held]] = True
    done = [change for change in changes.values() if change.ratio != 1]
    notes = [*_change_notes(quotes, done, before.last), *_unmatched(quotes, units.stated, done)]
    notes += _held_notes(quotes, jump, held, begun, units.file)
    found = [Stated((), quotes.when(change.place), change.ratio) for change in done]
    return OneUnit(_rescaled(rows, quotes, done), flags, found, notes)


def ranges_in_one_unit(rows: pd.DataFrame, units: Units, found: Sequence[Stated]) -> tuple[pd.DataFrame, int]:
    """Bars of universe 'coin_ohlc' with every price in the unit stored first, by what is stated and was `found` for coins.

    Also the number of ranges made missing: those of a day on which the unit changed hold prices in both. Where the quote before is
    stored already, the unit changed earlier.
    """
    quotes = _quotes(rows, units.stored("coin_ohlc", rows).quotes)
    changes = _stated_changes(quotes, quotes.jump(), (*units.stated, *found))
    done = [change for change in changes.values() if change.ratio != 1]
    if not done:
        return rows, 0
    kept = _rescaled(rows, quotes, done)
    days = kept.index[[quotes.row[change.place] for change in done if quotes.row[change.place - 1] >= 0]]
    kept.loc[days, ["open", "high", "low"]] = np.nan
    return kept, len(days)


def _coins(rows: pd.DataFrame) -> tuple[Ints, pd.Index]:
    """The number of each row's coin, and the names."""
    symbols = rows["symbol"].astype("category").cat
    return symbols.codes.to_numpy().astype(np.int64), symbols.categories


def _quotes(rows: pd.DataFrame, stored: pd.DataFrame) -> Quotes:
    """Rows with a close, and what is stored before them."""
    coin, names = _coins(rows)
    day, price, row = rows["observed"].to_numpy(), rows["close"].to_numpy(np.float64), np.arange(len(rows))
    cap = rows["market_cap"].to_numpy(np.float64) if "market_cap" in rows else np.full(len(rows), np.nan)
    if len(stored):
        coin = np.concatenate([names.get_indexer(pd.Index(stored["symbol"])), coin])
        day = np.concatenate([stored["observed"].to_numpy(), day])
        price, cap = np.concatenate([stored["close"], price]), np.concatenate([stored["market_cap"], cap])
        row = np.concatenate([np.full(len(stored), -1), row])
    kept = np.flatnonzero(price > 0)
    coin, days = coin[kept], day[kept].astype("datetime64[D]").astype(np.int64)
    step = np.diff(coin)
    if not ((step > 0) | ((step == 0) & (np.diff(days) > 0))).all():
        order = np.lexsort((row[kept], days, coin))
        kept, coin, days = kept[order], coin[order], days[order]
    return Quotes(names, coin, days, np.log(price[kept]), np.log(cap[kept]), row[kept])


@dataclass(frozen=True)
class Supply:
    """What the market cap says at the jumps `places`, in logs, NaN where unknown.

    Of the number of coins: its change between the two quotes, its change between the medians of some on each side, and how far
    it swings on one side, without limit where the market cap may have stood still by neglect. And the market cap before.
    """

    places: Ints
    at_once: Floats
    lasting: Floats
    swing: Floats
    cap: Floats


def _supply(quotes: Quotes, places: Ints) -> Supply:
    def around(values: Floats, offsets: Ints) -> Floats:
        at = np.clip(places[:, None] + offsets, 0, len(quotes.coin) - 1)
        found: Floats = np.where(quotes.coin[at] == quotes.coin[places][:, None], values[at], np.nan)
        return found

    number, earlier = quotes.cap - quotes.price, np.arange(-WINDOW, 0)
    sides = around(number, earlier), around(number, np.arange(WINDOW))
    before, after = map(_medians, sides)
    swings = [np.nan_to_num(np.abs(side - _medians(side)[:, None])).max(axis=1, initial=0.0) for side in sides]
    caps, stood = around(quotes.cap, earlier), quotes.cap[places] == quotes.cap[places - 1]
    neglected = stood & (caps != caps[:, -1:]).any(axis=1) & (np.isfinite(sides[1]).sum(axis=1) < ENOUGH)
    at_once = number[places] - number[places - 1]
    return Supply(places, at_once, after - before, np.where(neglected, np.inf, np.maximum(*swings)), _medians(caps))


def _medians(values: Floats) -> Floats:
    """Of each row, NaN where it has no number."""
    found = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    found[some] = np.nanmedian(values[some], axis=1)
    return found


def _stated_changes(quotes: Quotes, jump: Floats, stated: Sequence[Stated]) -> dict[int, Change]:
    """The jumps that are stated, by place: a coin's change once, where it is most alike. What is stated first counts."""
    changes: dict[int, Change] = {}
    for one in stated:
        near = _near(quotes, jump, one)
        off = np.abs(jump[near] - np.log(one.ratio))
        if one.ratio == 1:
            places = near[off > MOVE]
        elif one.names:
            alike = off <= min(THRICE, abs(np.log(one.ratio)) / 2)
            places = near[alike][np.argsort(off[alike])][:1]
        else:
            places = near[off <= A_QUARTER]
        for place in places.tolist():
            changes.setdefault(place, Change(place, one.ratio, one))
    return changes


def _near(quotes: Quotes, jump: Floats, one: Stated) -> Ints:
    """Places of the named coins' quotes about the day that is stated, or where new quotes follow those stored before it."""
    day = one.day.to_datetime64().astype("datetime64[D]").astype(np.int64)
    away = NEAR_THE_DAY if one.names else 1
    names = {name.casefold() for name in one.names}
    coins = [number for number, name in enumerate(quotes.names) if not names or str(name).casefold() in names]
    places = np.flatnonzero(np.isin(quotes.coin, coins) & (jump != 0.0) & (quotes.day >= day - away))
    seam = quotes.row[places - 1] < 0
    return places[seam | (quotes.day[places - 1] - away <= day) & (quotes.day[places] - away <= day)]


def _evident_changes(jump: Floats, supply: Supply, but: Mapping[int, Change]) -> dict[int, Change]:
    """Jumps of the price that the market cap doesn't share, neither on the day nor lastingly: it stays to 5 percent, or it nearly
    stays and the ratio is round. So is a ratio below `FAR`, 5 or 10.
    """
    price, at_once, lasting = jump[supply.places], -supply.at_once, -supply.lasting
    small = np.copysign(np.where(np.abs(at_once) < FIVE_OR_TEN, FIVE, TEN), at_once)
    goal = np.where(np.abs(price) > FAR, at_once, small)
    stays = (np.abs(price - at_once) <= CAP_STAYS) & (np.abs(at_once - lasting) <= STEADY) & (np.abs(goal - at_once) <= ROUGHLY)
    nearly = (
        (np.abs(price - lasting) <= CAP_NEARLY_STAYS) & (np.abs(_rounded(lasting) - lasting) <= ROUND) & (np.abs(lasting) > MOVE)
    )
    logs = np.where(nearly, _rounded(lasting), goal)
    logs = np.where(np.abs(_rounded(logs) - logs) <= ROUND, _rounded(logs), logs)
    found = np.flatnonzero((nearly | stays) & (supply.swing <= STEADY))
    changes = [Change(int(supply.places[one]), float(f"{np.exp(logs[one]):.3g}"), None) for one in found]
    return {change.place: change for change in changes if change.place not in but}


def _rounded(logs: Floats) -> Floats:
    """The log of the nearest number of one digit and zeros, or of one over it; NaN stays."""
    size = np.exp(np.abs(logs))
    ten = 10.0 ** np.floor(np.log10(size))
    found: Floats = np.copysign(np.log(np.round(size / ten) * ten), logs)
    return found


def _held_back(quotes: Quotes, supply: Supply, explained: Mapping[int, Change]) -> tuple[Bools, list[int]]:
    """Quotes after a jump that nothing explains, until the level before it is back; and where each jump is.

    `quotes` are in one unit already. A move that the market cap shares is believed, unless a coin rises 100 times in a day. Of a
    coin that is quoted for long after a jump in its first days, those are held back.
    """
    moved = quotes.jump()[supply.places]
    shared = np.abs(np.where(np.isfinite(supply.at_once), supply.at_once, supply.lasting)) <= TWICE
    soon = quotes.day[supply.places] - quotes.day[supply.places - 1] <= NEAR_THE_DAY
    odd = (np.abs(moved) > FAR) & ~(shared & (moved < HUGE)) & soon
    places = supply.places[odd][_in_reach(quotes, supply.places[odd], supply.cap[odd])]
    held, begun, done = np.zeros(len(quotes.coin), dtype=bool), list[int](), -1
    for place in places.tolist():
        if place <= done or place in explained:
            continue
        rest = quotes.price[quotes.rest(place)]
        back = np.abs(rest - quotes.price[place - 1]) <= FAR
        first, done = int(np.searchsorted(quotes.coin, quotes.coin[place])), place
        if quotes.row[first] < 0 or place - first > WINDOW or len(rest) < NEAR_THE_DAY:
            first, done = place, place + (int(back.argmax()) if back.any() else len(rest))
        held[first:done] = True
        begun.append(place)
    return held, begun


def _in_reach(quotes: Quotes, places: Ints, caps: Floats) -> Bools:
    """Whether the coins at `places` were large enough for an index: among the `IN_REACH` largest of the day before."""
    eve = quotes.day[places - 1]
    that_day = np.isin(quotes.day, eve) & np.isfinite(quotes.cap)
    days, sizes = quotes.day[that_day], quotes.cap[that_day]
    found = np.zeros(len(places), dtype=bool)
    for day in np.unique(eve):
        largest = np.sort(sizes[days == day])[-IN_REACH:]
        found |= (eve == day) & ((len(largest) < IN_REACH) | (caps >= largest.min(initial=np.inf)))
    return found


def _rescaled(rows: pd.DataFrame, quotes: Quotes, changes: Sequence[Change]) -> pd.DataFrame:
    """`rows` with the prices from each change on in the unit before it."""
    if not changes:
        return rows
    fields = [name for name in ("open", "high", "low", "close") if name in rows]
    prices = rows[fields].to_numpy(np.float64, copy=True)
    coin, days = _coins(rows)[0], rows["observed"].to_numpy()
    for place, ratio, _ in sorted(changes, key=lambda change: change.place):
        after = (coin == quotes.coin[place]) & (days >= quotes.when(place).to_datetime64())
        prices[after] = prices[after] / ratio if ratio > 1 else prices[after] * (1 / ratio)
    return rows.assign(**dict(zip(fields, prices.T, strict=True)))


def _times(ratio: float) -> str:
    return f"{ratio:,.4g} to 1" if ratio > 1 else f"1 to {1 / ratio:,.4g}"


def _change_notes(quotes: Quotes, changes: Sequence[Change], last: Mapping[str, pd.Timestamp]) -> Iterator[tuple[str, str]]:
    """Each change once: while nothing since then is stored."""
    for place, ratio, stated in changes:
        name, day = quotes.name(place), quotes.when(place)
        if name not in last or last[name] < day:
            who = f"{stated.who} states" if stated else "price and market cap say"
            yield (
                name,
                f"was redenominated {_times(ratio)} on {day:%Y-%m-%d}, as {who}. Its prices are kept in the unit before that.",
            )


def _unmatched(quotes: Quotes, stated: Sequence[Stated], changes: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """What the user states and the prices of that coin don't show."""
    done = {change.stated for change in changes}
    for one in stated:
        if not one.file or one.ratio == 1 or one in done:
            continue
        coins = [number for number, name in enumerate(quotes.names) if str(name).casefold() == one.names[0].casefold()]
        places = np.flatnonzero(np.isin(quotes.coin, coins))
        if len(places) and quotes.when(places[0]) < one.day <= quotes.when(places[-1]):
            words = f"doesn't change {_times(one.ratio)} about {one.day:%Y-%m-%d}, as {one.who} states"
            yield one.names[0], f"{words}. Nothing was changed: correct that line, or take it away."


def _held_notes(quotes: Quotes, jump: Floats, held: Bools, begun: Sequence[int], file: str) -> Iterator[tuple[str, str]]:
    """What was held back, why, and what the user can do."""
    for place in begun[:LISTED]:
        name, day, size = quotes.name(place), f"{quotes.when(place):%Y-%m-%d}", np.exp(min(abs(jump[place]), LARGEST))
        times = f"{size:,.4g} times" if jump[place] > 0 else f"1/{size:,.4g} of"
        rows = int(np.append(held[place:], False).argmin()) if held[place] else int(np.append(held[:place][::-1], False).argmin())
        yield (
            name,
            f"came at {times} its last price on {day}, and no market cap says why. Its rows {'since' if held[place] else 'before'} "
            f"then ({rows}) were left out. Write the line {day},{name},RATIO (date,asset,ratio) into {file}: RATIO is how many old "
            "coins became one new one, or 1 if the price is right.",
        )
    if len(begun) > LISTED:
        yield "others", f"{len(begun) - LISTED} more coins jumped so, and their rows were left out."
