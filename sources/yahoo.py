"""Daily bars from Yahoo through yfinance, ticker by ticker: `Ticker.history` says why nothing came, `yfinance.download` doesn't.

Yahoo restates the past at every dividend and split. What is stored stays: a later answer is brought to the stored level by its
ratio on days that both have.
"""

import logging
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from sources.batches import Batch, Deliveries, Skipped
from sources.errors import FetchFailed, SourceUnreachable
from sources.http import Passing, Site, given_up, retries
from sources.layout import LAGS
from sources.series import FUND_PRICE, SERIES, Panel
from sources.store import Store

ADDRESS = "https://query2.finance.yahoo.com"
OVERLAP = pd.Timedelta(days=10)
FAR_AHEAD = pd.Timedelta(days=90)
FIRST_DAY = pd.Timestamp("1990-01-01")
FIELDS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"}
PRICES = ["open", "high", "low", "close"]
NOISE = 1e-5  # Yahoo sends 32-bit prices
LARGEST_DENOMINATOR = 10

Progress = Callable[[str, int, int], None]


class NoSuchTicker(FetchFailed):
    """Yahoo knows no such ticker, or has no bars of it."""


@dataclass(frozen=True)
class Asked:
    """One ticker of Yahoo and the symbol it is stored under."""

    ticker: str
    symbol: str


@dataclass(frozen=True)
class Shelf:
    """Where bars are stored: the universe, the label they are reported under, and the running moment."""

    store: Store
    universe: str
    label: str
    today: pd.Timestamp

    def last_days(self) -> dict[str, pd.Timestamp]:
        """The last day with a close of every stored symbol."""
        extent = self.store.extent(self.today + FAR_AHEAD)
        closes = extent[(extent["universe"] == self.universe) & (extent["field"] == "close")]
        return {symbol: pd.Timestamp(day) for symbol, day in zip(closes["code"], closes["last"], strict=True)}

    def bars(self, symbol: str, since: pd.Timestamp) -> pd.DataFrame:
        """Latest stored bars of one symbol from `since` on: observed days × fields."""
        lag = LAGS[self.universe]
        panels = {name: Panel(name, "yahoo", self.universe, name, "", lag, symbols=(symbol,)) for name in FIELDS}
        found = {name: self.store.read_panel(panel, self.today + FAR_AHEAD, since) for name, panel in panels.items()}
        return pd.DataFrame(
            {name: panel[symbol] if symbol in panel else pd.Series(dtype="float64") for name, panel in found.items()}
        )


@dataclass(frozen=True)
class Spliced:
    """Bars at the stored level, indexed by observed day, and the split that was undone (1 if there was none)."""

    bars: pd.DataFrame
    split: Fraction


def fund_tickers() -> list[Asked]:
    """Every fund and index that a declared series or the panel of small caps needs."""
    declared = {series.code for series in SERIES.values() if series.provider == "yahoo"} | set(FUND_PRICE.symbols)
    return [Asked(ticker, ticker) for ticker in sorted(declared)]


def deliveries(shelf: Shelf, asked: Sequence[Asked], site: Site, progress: Progress) -> Generator[Batch | Skipped, None, set[str]]:
    """One batch of bars a ticker, from a little before its last stored day; what could not be had is told, the rest goes on.

    Returns the tickers that may well come another time.
    """
    last, session = shelf.last_days(), session_of(site, shelf.store)
    again: set[str] = set()
    for number, one in enumerate(asked):
        progress(shelf.label, number, len(asked))
        try:
            yield from _ticker(shelf, one, last.get(one.symbol), site, session, len(asked))
        except SourceUnreachable as error:
            yield Skipped(shelf.label, f"{error} {len(asked) - number} tickers were not asked for.")
            return again | {left.ticker for left in asked[number:]}
        except FetchFailed as error:
            again |= set() if isinstance(error, NoSuchTicker) else {one.ticker}
            yield Skipped(one.ticker, str(error))
        time.sleep(site.patience.pause)
    return again


def _ticker(shelf: Shelf, one: Asked, last: pd.Timestamp | None, site: Site, session: Any, of: int) -> Deliveries:
    since = FIRST_DAY if last is None else last - OVERLAP
    bars, dropped = settled(history(one.ticker, since, shelf.today, site, session), shelf.today)
    spliced = splice(bars, pd.DataFrame() if last is None else shelf.bars(one.symbol, since), one.ticker)
    if spliced.split != 1:
        ratio = f"{spliced.split.numerator}-for-{spliced.split.denominator}"
        yield Skipped(one.ticker, f"was split {ratio} after it was first stored; bars are kept at the level before that.")
    frame = spliced.bars.rename_axis("observed").reset_index()
    frame = frame.assign(symbol=one.symbol, known=frame["observed"] + LAGS[shelf.universe])
    yield Batch(shelf.label, "bars", frame, "yahoo", shelf.universe, dropped, of)


def settled(bars: pd.DataFrame, today: pd.Timestamp) -> tuple[pd.DataFrame, dict[str, int]]:
    """Bars of days that are over and have a close, with what isn't above zero missing; and counts of what was left out."""
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
    level = fetched.assign(**{name: fetched[name] * float(split) for name in PRICES}, volume=fetched["volume"] / float(split))
    adjusted = (stored["adj_close"] / fetched["adj_close"])[common].dropna()
    level["adj_close"] = fetched["adj_close"] * _exact(float(adjusted.iloc[-1]) if len(adjusted) else float(split))
    return Spliced(_keeping(stored.loc[common], level), split)


def as_split(ratio: float) -> Fraction:
    """Stored over fetched close as a split: a simple ratio, met within a thousandth. Else 1: Yahoo corrected its prices."""
    larger = max(ratio, 1.0 / ratio)
    split = Fraction(larger).limit_denominator(LARGEST_DENOMINATOR)
    if abs(float(split) / larger - 1.0) > 1e-3:
        return Fraction(1)
    return split if ratio > 1.0 else 1 / split


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


def history(ticker: str, since: pd.Timestamp, today: pd.Timestamp, site: Site, session: Any) -> pd.DataFrame:
    """Daily bars of `ticker` from `since` to before `today`: days × open, high, low, close, adj_close, volume; split-adjusted.

    Raises `NoSuchTicker`, `SourceUnreachable`, or `FetchFailed`, also where the answer is empty: Yahoo's way to say it is too much.
    """
    try:
        for attempt in retries(site.patience):
            with attempt:
                rows = _once(ticker, since, today, site, session)
                break
    except Passing as passing:
        raise given_up(site, passing, f"bars of {ticker}") from None
    if rows.empty or "Adj Close" not in rows:
        raise FetchFailed(
            f"{site.name} sent an empty table from {since:%Y-%m-%d} on; it does so when asked too often. Try again later."
        )
    days = pd.DatetimeIndex(rows.index).tz_localize(None).normalize().as_unit("us")
    return pd.DataFrame({name: rows[column].to_numpy(np.float64) for name, column in FIELDS.items()}, index=days)


def _once(ticker: str, since: pd.Timestamp, today: pd.Timestamp, site: Site, session: Any) -> pd.DataFrame:
    import yfinance as yf
    from yfinance.exceptions import YFException, YFRateLimitError, YFTickerMissingError

    span = {"start": f"{since:%Y-%m-%d}", "end": f"{today:%Y-%m-%d}", "interval": "1d", "timeout": site.patience.timeout}
    try:
        with _raising_quietly():
            rows: pd.DataFrame = yf.Ticker(ticker, session=session).history(**span, auto_adjust=False, actions=False)
    except YFRateLimitError:
        raise Passing("it asks for fewer requests (HTTP 429)") from None
    except YFTickerMissingError as error:
        why = site.hidden(error.rationale).rstrip(".")
        raise NoSuchTicker(
            f"{site.name} has no bars of it ({why}): the ticker is wrong or gone, or was asked for too often."
        ) from None
    except OSError as error:
        raise _refused(site, error) from None
    except LookupError:
        raise Passing("its answer holds no bars") from None
    except (ValueError, YFException) as error:
        raise Passing(f"its answer isn't readable ({site.hidden(str(error)) or type(error).__name__})") from None
    return rows


def _refused(site: Site, error: OSError) -> Exception:
    """What a failure of the connection, or an HTTP status, means: curl's errors are OSErrors."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status == 404:
        return NoSuchTicker(f"{site.name} has no such ticker (HTTP 404).")
    return Passing(f"HTTP {status}" if status else site.hidden(str(error)), reached=bool(status))


@contextmanager
def _raising_quietly() -> Iterator[None]:
    """yfinance raises its errors instead of printing them, and doesn't answer from its memory, where it keeps failures too."""
    import yfinance as yf
    from yfinance.data import YfData

    YfData.cache_get.cache_clear()
    talk, hide = logging.getLogger("yfinance"), yf.config.debug.hide_exceptions
    level = talk.level
    talk.setLevel(logging.CRITICAL)
    yf.config.debug.hide_exceptions = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="yfinance")
            yield
    finally:
        talk.setLevel(level)
        yf.config.debug.hide_exceptions = hide


def session_of(site: Site, store: Store) -> Any:
    """The session yfinance shall use, None for its own; its caches are kept beside the store."""
    import yfinance as yf

    yf.set_tz_cache_location(str(store.path.parent / "yahoo"))
    return None if site.address == ADDRESS else redirected(site.address)


def redirected(address: str) -> Any:
    """A session that asks `address` for what yfinance asks the several hosts of Yahoo for."""
    from curl_cffi.requests import Session

    class Redirected(Session):  # type: ignore[type-arg]
        def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
            return super().request(method, address.rstrip("/") + (urlsplit(url).path or "/"), *args, **options)

    return Redirected()
