"""Daily bars from Yahoo through yfinance, ticker by ticker: `Ticker.history` says why nothing came, `yfinance.download` doesn't.

Yahoo restates the past at every dividend and split. What is stored stays: a later answer is brought to the stored level by its
ratio on days that both have.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from typing import NamedTuple

import numpy as np
import pandas as pd

from core.errors import FetchFailed, SourceUnreachable
from core.progress import Progress
from sources.anomalies import Far, gone_message, held_back, held_back_message, is_beyond, still_since
from sources.batches import Batch, Deliveries, Skipped, nothing_new, together
from sources.due import last_session, over_in
from sources.http import Health, Site, answers
from sources.layout import LAGS
from sources.redenomination import Units, ranges_in_one_unit
from sources.series import FUND_PRICE, SERIES, Panel
from sources.store import Store
from sources.yahoo_client import FIELDS, NoSuchTicker, history, quiet, session_of

OVERLAP = pd.Timedelta(days=10)
LATELY = pd.Timedelta(days=40)
FAR_AHEAD = pd.Timedelta(days=90)
FIRST_DAY = pd.Timestamp("1987-01-01")  # ^RUT begins in September of that year
FAR_OFF = pd.Timestamp("2200-01-01")
A_SESSION = 0.1
NONE_LOST: dict[str, pd.Series] = {}
GONE_AFTER = A_MONTH = pd.Timedelta(days=30)
PRICES = ["open", "high", "low", "close"]
NOISE = 1e-5  # Yahoo sends 32-bit prices
LARGEST_DENOMINATOR = 10
LEAST_UNIT = 50
NAMED = 3
NOTHING = pd.DataFrame(columns=list(FIELDS), index=pd.DatetimeIndex([]), dtype="float64")


@dataclass(frozen=True)
class TickerRequest:
    """One ticker of Yahoo and the symbol it is stored under."""

    ticker: str
    symbol: str


@dataclass(frozen=True)
class Shelf:
    """Where bars are stored: the universe, the label they are reported under, and the running moment.

    `units`: the units of coins, whose changes are undone; None for anything else.
    """

    store: Store
    universe: str
    label: str
    today: pd.Timestamp
    units: Units | None = None

    def last_days(self) -> dict[str, pd.Timestamp]:
        """The last day with a close of every stored symbol."""
        extent = self.store.extent(self.today + FAR_AHEAD)
        closes = extent[(extent["universe"] == self.universe) & (extent["field"] == "close")]
        return {symbol: pd.Timestamp(day) for symbol, day in zip(closes["code"], closes["last"], strict=True)}

    def stored(self, since: pd.Timestamp, symbols: tuple[str, ...] = ()) -> dict[str, pd.DataFrame]:
        """Latest stored bars from `since` on, of `symbols` or of all: by field, observed days × symbols."""
        lag = LAGS[self.universe]
        panels = {name: Panel(name, "yahoo", self.universe, name, "", lag, symbols=symbols) for name in FIELDS}
        until = self.today + FAR_AHEAD
        return {name: self.store.read_panel(panel, until, since, of_members=False) for name, panel in panels.items()}

    def bars(self, symbol: str, since: pd.Timestamp) -> pd.DataFrame:
        """Latest stored bars of one symbol from `since` on: observed days × fields."""
        return _bars(symbol, self.stored(since, (symbol,)))


@dataclass(frozen=True)
class Overlap:
    """What is stored of the days that are asked for again: read at once where it is of late, one by one where it is long ago."""

    shelf: Shelf
    lately: dict[str, pd.DataFrame]
    lost: dict[str, pd.Timestamp]

    def since(self, symbol: str, last: pd.Timestamp | None) -> pd.Timestamp:
        """From when bars of a symbol are asked for: a little before its last day, or before the first session it lacks of late."""
        return min(_since(last), self.lost.get(symbol, FAR_OFF) - OVERLAP)

    def is_due(self, one: TickerRequest, last: pd.Timestamp | None) -> bool:
        """Whether Yahoo may have a bar of a ticker that the store lacks."""
        over = last_session(one.ticker, over_in(one.ticker, self.shelf.today))
        return last is None or last < over or one.symbol in self.lost

    def bars(self, symbol: str, last: pd.Timestamp | None) -> pd.DataFrame:
        """Stored bars of one symbol from `since` on: observed days × fields."""
        if last is None:
            return NOTHING
        since = self.since(symbol, last)
        if since < self.shelf.today - LATELY:
            return self.shelf.bars(symbol, since)
        return _bars(symbol, self.lately).loc[since:]


def _bars(symbol: str, panels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    found = {name: panel[symbol].dropna() for name, panel in panels.items() if symbol in panel}
    return pd.DataFrame(found, columns=list(FIELDS), dtype="float64").sort_index()


@dataclass(frozen=True)
class Spliced:
    """Bars at the stored level, indexed by observed day, and the split that was undone (1 if there was none)."""

    bars: pd.DataFrame
    split: Fraction

    @property
    def words(self) -> Iterator[str]:
        """What was undone, for the user."""
        if is_unit(self.split):
            times = f"{1 / self.split} times" if self.split < 1 else f"1/{self.split} of"
            yield f"now comes at {times} the stored level: another unit? Bars are kept at the level stored."
        elif self.split != 1:
            ratio = f"{self.split.numerator}-for-{self.split.denominator}"
            yield f"was split {ratio} after it was first stored; bars are kept at the level before that."


class BelievedBars(NamedTuple):
    """What a close may do in a day: moves too `far` are held back, if `confirmed` until the days that follow agree."""

    far: Far
    confirmed: bool


BELIEVED = {
    "fund": BelievedBars(is_beyond(1.8), False),
    "index": BelievedBars(is_beyond(20.0), False),
    "coin": BelievedBars(is_beyond(20.0), False),
}


def fund_tickers() -> list[TickerRequest]:
    """Every fund and index that a declared series or the panel of small caps needs."""
    declared = {series.code for series in SERIES.values() if series.provider == "yahoo"} | set(FUND_PRICE.symbols)
    return [TickerRequest(ticker, ticker) for ticker in sorted(declared)]


def deliveries(
    shelf: Shelf, asked: Sequence[TickerRequest], site: Site, progress: Progress
) -> Generator[Batch | Skipped, None, set[str]]:
    """Bars from a little before the last stored day: a batch for each new ticker, one for all others; what didn't come is told.

    Returns the tickers that may well come another time.
    """
    last, lately = shelf.last_days(), shelf.stored(shelf.today - LATELY)
    lost = lost_sessions(lately["close"], asked) if shelf.universe == "fund" else NONE_LOST
    overlap = Overlap(shelf, lately, {str(symbol): days.index[0] for symbol, days in lost.items()})
    yield from _lost_words(shelf, lost)
    missed = Missed(shelf, last)
    awake = [one for one in asked if not missed.is_resting(one)]
    wanted = [one for one in awake if overlap.is_due(one, last.get(one.symbol))]
    yield from nothing_new(shelf.label, len(awake) - len(wanted))
    left, again, later = dict.fromkeys(wanted), set[str](), list[Batch]()
    with quiet(), closing(_histories(overlap, wanted, last, site)) as coming:
        for one, bars in coming:
            progress(shelf.label, len(wanted) - len(left), len(wanted))
            del left[one]
            if isinstance(bars, pd.DataFrame):
                for found in _judged(overlap, one, last.get(one.symbol), bars, len(wanted), again):
                    if isinstance(found, Batch) and one.symbol in last:
                        later.append(found)
                    else:
                        yield found
            else:
                missed.note(one, bars)
    yield from together(later)
    for one in left:
        missed.note(one, SourceUnreachable(site.health.given_up))
    yield from missed.words(site.health, len(wanted))
    return again | missed.again


@dataclass
class Missed:
    """The tickers without an answer, and what was said of them. One whose bars ended long ago is asked for once a month."""

    shelf: Shelf
    last: dict[str, pd.Timestamp]
    errors: dict[TickerRequest, FetchFailed] = field(default_factory=dict)

    @property
    def again(self) -> set[str]:
        """The tickers that may come another time."""
        return {one.ticker for one, error in self.errors.items() if not isinstance(error, NoSuchTicker)}

    def ended(self, one: TickerRequest) -> bool:
        """Whether what is stored of it ends long ago, as that of a liquidated fund does."""
        last = self.last.get(one.symbol)
        return last is not None and self.shelf.today - last > GONE_AFTER

    def is_resting(self, one: TickerRequest) -> bool:
        """Whether it ended, and was looked for within a month."""
        looked = self.shelf.store.noted(_looked_for(self.shelf, one)) if self.ended(one) else None
        return looked is not None and self.shelf.today - pd.Timestamp(looked) < A_MONTH

    def note(self, one: TickerRequest, error: FetchFailed) -> None:
        """Remember that `one` did not come, and why."""
        self.errors[one] = error
        if self.ended(one) and not isinstance(error, SourceUnreachable):
            self.shelf.store.note(_looked_for(self.shelf, one), f"{self.shelf.today:%Y-%m-%d}")

    def words(self, health: Health, of: int) -> Iterator[Skipped]:
        """A line each where few did not come; one for all that did not for the same reason, or since the site was given up."""
        by_reason: dict[str, list[TickerRequest]] = {}
        for one, error in self.errors.items():
            given_up = health.given_up and not isinstance(error, NoSuchTicker)
            reason = health.given_up if given_up else str(error).replace(f" of {one.ticker}:", ":")
            by_reason.setdefault(reason, []).append(one)
        for reason, tickers in by_reason.items():
            unreached = any(isinstance(self.errors[one], SourceUnreachable) for one in tickers)
            if len(tickers) > NAMED or unreached:
                names = ", ".join(sorted(one.ticker for one in tickers)[:NAMED]) + (", …" if len(tickers) > NAMED else "")
                came = f"{len(tickers)} of {of} tickers did not come: {names}."
                yield Skipped(self.shelf.label, f"{reason} {came}", gone=unreached and not health.sound)
            else:
                yield from (Skipped(one.ticker, self._alone(one)) for one in tickers)

    def _alone(self, one: TickerRequest) -> str:
        month = " It is asked for again in a month." if self.ended(one) else ""
        return f"{self.errors[one]}{_kept(self.last.get(one.symbol))}{month}"


def _looked_for(shelf: Shelf, one: TickerRequest) -> str:
    return f"looked for {shelf.universe} {one.ticker}"


def lost_sessions(closes: pd.DataFrame, asked: Sequence[TickerRequest]) -> dict[str, pd.Series]:
    """The sessions of late that a symbol has no bar of, though it has bars before and after: an entry a day, by symbol.

    `closes`: stored days × symbols. A session is a day of which two symbols have bars, or more than `A_SESSION` of a few: on a
    closing day of the exchange at most one has, whatever the calendar says.
    """
    there = closes.notna()
    open_days = pd.DatetimeIndex(closes.index[(there.sum(axis=1) > 1) | (there.mean(axis=1) > A_SESSION)])
    lost = {}
    for symbol in {one.symbol for one in asked} & set(closes.columns):
        close = closes[symbol].dropna()
        missing = open_days[(open_days > close.index[0]) & (open_days < close.index[-1])].difference(close.index)
        if len(missing):
            lost[symbol] = pd.Series(True, missing)
    return lost


def _lost_words(shelf: Shelf, lost: dict[str, pd.Series]) -> Iterator[Skipped]:
    """Each lost session, told once."""
    by_day = pd.DataFrame(lost).sort_index() if lost else pd.DataFrame()
    for day, row in by_day.iterrows():
        names, key = sorted(row.dropna().index), f"lost session {day:%Y-%m-%d}"
        if shelf.store.noted(key) is None:
            shelf.store.note(key, f"{shelf.today:%Y-%m-%d}")
            named = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            yield Skipped(
                shelf.label, f"Yahoo sent no bar of {day:%Y-%m-%d} for {len(names)} tickers ({named}); it is asked for again."
            )


def _histories(
    overlap: Overlap, asked: Sequence[TickerRequest], last: dict[str, pd.Timestamp], site: Site
) -> Generator[tuple[TickerRequest, pd.DataFrame | FetchFailed], None, None]:
    """As they come, until all came or the site is given up."""
    session = session_of(site)

    def bars_of(one: TickerRequest) -> pd.DataFrame:
        return history(one.ticker, overlap.since(one.symbol, last.get(one.symbol)), overlap.shelf.today, site, session)

    return answers(bars_of, takewhile(lambda one: not site.health.given_up, asked), site.patience)


def _since(last: pd.Timestamp | None) -> pd.Timestamp:
    return FIRST_DAY if last is None else last - OVERLAP


def _kept(last: pd.Timestamp | None) -> str:
    return "" if last is None else f" The store keeps its bars up to {last:%Y-%m-%d}."


def _judged(
    overlap: Overlap, one: TickerRequest, last: pd.Timestamp | None, history: pd.DataFrame, of: int, again: set[str]
) -> Deliveries:
    """The batch of one ticker and what was odd about it; a ticker that doesn't fit what is stored is told and put into `again`."""
    shelf = overlap.shelf
    bars, dropped = closed_bars(history, over_in(one.ticker, shelf.today))
    if shelf.units is not None:
        bars, across = in_stored_unit(bars, one.symbol, shelf.units)
        dropped |= {"range across a redenomination": across} if across else {}
    stored = overlap.bars(one.symbol, last)
    try:
        spliced = splice(bars, stored, one.ticker)
    except FetchFailed as error:
        again.add(one.ticker)
        yield Skipped(one.ticker, f"{error}{_kept(last)}")
        return
    level, closes = spliced.bars["close"], stored["close"].dropna()
    held = held_back(level, closes, **BELIEVED[_kind(shelf, one)]._asdict())
    for words in (
        *spliced.words,
        *gone_message(history.index, closes.index, overlap.since(one.symbol, last)),
        *_held_words(shelf, one, held_back_message(level, closes, held)),
        *_still_words(shelf, one, bars),
    ):
        yield Skipped(one.ticker, words)
    dropped |= {"held back": int(held.sum())} if held.any() else {}
    frame = spliced.bars[~held].rename_axis("observed").reset_index()
    frame = frame.assign(symbol=one.symbol, known=frame["observed"] + LAGS[shelf.universe])
    yield Batch(shelf.label, "bars", frame, "yahoo", shelf.universe, dropped, of, daily=True)


def _kind(shelf: Shelf, one: TickerRequest) -> str:
    return "coin" if shelf.universe != "fund" else "index" if one.ticker.startswith("^") else "fund"


def _held_words(shelf: Shelf, one: TickerRequest, lines: Iterator[str]) -> Iterator[str]:
    """What was held back; of coins, whose new level may last, once a month and with what to do."""
    if shelf.units is None:
        yield from lines
        return
    told = shelf.store.noted(_held_for(one))
    if told is None or shelf.today - pd.Timestamp(told) >= A_MONTH:
        for words in lines:
            shelf.store.note(_held_for(one), f"{shelf.today:%Y-%m-%d}")
            yield f"{words} If one coin became another number of coins, state it (date,asset,ratio) in {shelf.units.file}."


def _still_words(shelf: Shelf, one: TickerRequest, bars: pd.DataFrame) -> Iterator[str]:
    """That a price stands still, once for as long as it does."""
    since, key = still_since(bars), f"stands still {shelf.universe} {one.symbol}"
    close = 0.0 if since is None else float(bars["close"].iloc[-1])
    if since is not None and shelf.store.noted(key) != f"{close:g}":
        shelf.store.note(key, f"{close:g}")
        yield (
            f"stands still at {close:g} since {since:%Y-%m-%d}, without a trade: gone, halted, traded little, or stuck at Yahoo. "
            "Stored as it came; look it up elsewhere."
        )


def _held_for(one: TickerRequest) -> str:
    return f"ranges of {one.symbol} held back"


def in_stored_unit(bars: pd.DataFrame, symbol: str, units: Units) -> tuple[pd.DataFrame, int]:
    """Bars of a coin (days × fields) with every price in the unit stored first, by what is stated; and the ranges made missing."""
    rows = bars.rename_axis("observed").reset_index().assign(symbol=symbol)
    kept, across = ranges_in_one_unit(rows, units, ())
    level = kept.set_index("observed")[list(bars.columns)]
    return level.assign(adj_close=bars["adj_close"] * (level["close"] / bars["close"])), across


def closed_bars(bars: pd.DataFrame, today: pd.Timestamp) -> tuple[pd.DataFrame, dict[str, int]]:
    """Bars of days that are over and have a close, with what isn't above zero missing; and counts of what was left out.

    `today`: the running moment, by the clock that ends the days.
    """
    running = bars.index >= today.normalize()
    unquoted = bars["close"].isna() & ~running
    kept = bars[~running & ~unquoted]
    counts = {"running day": int(running.sum()), "no close yet": int(unquoted.sum())}
    return kept.where(kept > 0), {reason: count for reason, count in counts.items() if count}


def splice(fetched: pd.DataFrame, stored: pd.DataFrame, ticker: str) -> Spliced:
    """`fetched` brought to the level of `stored`, both observed days × fields.

    A split divides every past close and multiplies volume; a dividend lowers every past adjusted close. The first is undone by
    the median ratio of closes, the second by the ratio of adjusted closes on the last common day. A stored day keeps what it holds
    unless Yahoo corrected it by more than rounding; its adjusted close then moves with its close. Raises `FetchFailed` without a
    common day.
    """
    if stored.empty or stored["close"].isna().all():
        return Spliced(fetched, Fraction(1))
    common = fetched.index.intersection(stored.index[stored["close"].notna()])
    if common.empty:
        raise FetchFailed(
            f"Yahoo's bars of {ticker} don't reach back to {stored.index.max():%Y-%m-%d}, the last stored day. Try again later."
        )
    split = as_split(float((stored["close"] / fetched["close"])[common].median()))
    level = fetched.assign(**{name: fetched[name] * float(split) for name in PRICES})
    if not is_unit(split):
        level["volume"] = fetched["volume"] / float(split)
    sound = common[~BELIEVED["fund"].far(np.log((stored["close"] / level["close"])[common].to_numpy()))]
    adjusted = (stored["adj_close"] / fetched["adj_close"])[sound].dropna()
    level["adj_close"] = fetched["adj_close"] * _exact(float(adjusted.iloc[-1]) if len(adjusted) else float(split))
    return Spliced(_keeping(stored.loc[common], level), split)


def as_split(ratio: float) -> Fraction:
    """Stored over fetched close as a split: a simple ratio, met within a thousandth. Else 1: Yahoo corrected its prices."""
    larger = max(ratio, 1.0 / ratio)
    split = Fraction(larger).limit_denominator(LARGEST_DENOMINATOR)
    if abs(float(split) / larger - 1.0) > 1e-3:
        return Fraction(1)
    return split if ratio > 1.0 else 1 / split


def is_unit(split: Fraction) -> bool:
    """Whether so large a split is rather another unit (cents for dollars), which leaves volume as it is."""
    return max(split, 1 / split) >= LEAST_UNIT


def _exact(ratio: float) -> float:
    """1 where `ratio` differs from it by rounding only, so that values stay what they were, bit for bit."""
    return 1.0 if abs(ratio - 1.0) < NOISE else ratio


def _keeping(stored: pd.DataFrame, level: pd.DataFrame) -> pd.DataFrame:
    """`level` with the `stored` values on days where it says the same, or says nothing."""
    fresh = level.loc[stored.index]
    same = fresh.isna() | ((fresh / stored - 1.0).abs() <= NOISE)
    kept = fresh.where(~same, stored)
    moved = stored["adj_close"] * (kept["close"] / stored["close"])
    kept["adj_close"] = moved.where(stored["adj_close"].notna(), fresh["adj_close"])
    return pd.concat([kept, level.drop(index=stored.index)]).sort_index()
