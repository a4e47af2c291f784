"""yfinance as this project asks it: one ticker's daily bars, and in plain words why there are none."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from sources.errors import FetchFailed
from sources.http import BUSY, Passing, Site, asked_wait, given_up, retries

ADDRESS = "https://query2.finance.yahoo.com"
CHART = "/v8/finance/chart/"
FIELDS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"}


class NoSuchTicker(FetchFailed):
    """Yahoo knows no such ticker, or has no bars of it."""


def history(ticker: str, since: pd.Timestamp, today: pd.Timestamp, site: Site, session: Any) -> pd.DataFrame:
    """Daily bars of `ticker` from `since` to before `today`: days × open, high, low, close, adj_close, volume; split-adjusted.

    To be called within `quiet`. Raises `NoSuchTicker`, `SourceUnreachable`, or `FetchFailed`, also where the answer is empty:
    Yahoo's way to say it is too much.
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
    from yfinance.data import YfData
    from yfinance.exceptions import YFException, YFRateLimitError, YFTickerMissingError

    span = {"start": f"{since:%Y-%m-%d}", "end": f"{today:%Y-%m-%d}", "interval": "1d", "timeout": site.patience.timeout}
    YfData.cache_get.cache_clear()  # it would answer from memory, bad answers too
    try:
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
    except (ValueError, TypeError, AttributeError, YFException) as error:
        raise Passing(f"its answer isn't readable ({site.hidden(str(error)) or type(error).__name__})") from None
    return rows


def _refused(site: Site, error: OSError) -> Passing:
    """What a failure of the connection, or an HTTP status, means: curl's errors are OSErrors."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return Passing(f"HTTP {status}" if status else site.hidden(str(error)), reached=bool(status))


@contextmanager
def quiet() -> Iterator[None]:
    """yfinance raises its errors instead of printing them, and what it warns of, which is its own code, isn't shown."""
    import yfinance as yf

    talk, hide, show = logging.getLogger("yfinance"), yf.config.debug.hide_exceptions, warnings.showwarning
    level = talk.level

    def unless_its_own(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if "yfinance" not in filename:
            show(message, category, filename, lineno, file, line)

    talk.setLevel(logging.CRITICAL)
    yf.config.debug.hide_exceptions = False
    warnings.showwarning = unless_its_own  # a filter would be lost: its threads change filters under each other
    try:
        yield
    finally:
        talk.setLevel(level)
        yf.config.debug.hide_exceptions = hide
        warnings.showwarning = show


class Zones:
    """The time zone of a ticker, for yfinance: it would ask for each, and keep it in a database that several threads break."""

    def lookup(self, ticker: str) -> str:
        """Coins live in UTC, funds and indices in New York."""
        return "UTC" if ticker.endswith("-USD") else "America/New_York"

    def store(self, ticker: str, zone: str) -> None:
        """Nothing is kept."""


def session_of(site: Site) -> Any:
    """The session yfinance shall use: like its own, but it asks `site`, within our patience, and says at once what can't be had.

    yfinance drops what a refusal says (how long to wait) and asks several times more. Nor may it keep pickled cookies on disk.
    """
    from curl_cffi.requests import Session
    from yfinance import cache

    cache._TzCacheManager._tz_cache = Zones()
    cache._CookieCacheManager._Cookie_cache = cache._CookieCacheDummy()

    class Frank(Session):  # type: ignore[type-arg]
        def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
            options["timeout"] = site.patience.timeout
            answer = super().request(method, _address(site, url), *args, **options)
            if urlsplit(url).path.startswith(CHART):
                _judge(site, answer)
            return answer

    return Frank(impersonate="chrome")


def _address(site: Site, url: str) -> str:
    """Where to ask: yfinance names the several hosts of Yahoo, a server of our own is one."""
    return url if site.address == ADDRESS else site.address + (urlsplit(url).path or "/")


def _judge(site: Site, answer: Any) -> None:
    if answer.status_code == 404:
        raise NoSuchTicker(f"{site.name} has no such ticker (HTTP 404): it is wrong or gone.")
    if answer.status_code in BUSY:
        asked = " (it asks for fewer requests)" if answer.status_code == 429 else ""
        raise Passing(f"HTTP {answer.status_code}{asked}", wait=asked_wait(answer.headers))
