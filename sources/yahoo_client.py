"""yfinance as this project asks it: one ticker's daily bars, and in plain words why there are none."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TextIO
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from core.errors import FetchFailed
from sources.http import ASKER, BUSY, Site, TransientError, attempts, given_up, retry_after

ADDRESS = "https://query2.finance.yahoo.com"
CHART = "/v8/finance/chart/"
COOKIE_ADDRESS, CRUMB_ADDRESS = "https://fc.yahoo.com", "https://query1.finance.yahoo.com/v1/test/getcrumb"
NO_CRUMB = "none"
CRUMB = re.compile(r"[^\s<{]{1,40}")  # a refusal comes as a sentence, a page or JSON, at times with HTTP 200
UNAUTHORISED = 401
FIELDS = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "adj_close": "Adj Close", "volume": "Volume"}


class NoSuchTicker(FetchFailed):
    """Yahoo knows no such ticker, or has no bars of it."""


def history(ticker: str, since: pd.Timestamp, today: pd.Timestamp, site: Site, session: Any) -> pd.DataFrame:
    """Daily bars of `ticker` from `since` to before `today`: days × open, high, low, close, adj_close, volume; split-adjusted.

    To be called within `quiet`. Raises `NoSuchTicker`, `SourceUnreachable`, or `FetchFailed`, also where the answer is empty:
    Yahoo's way to say it is too much.
    """
    try:
        for attempt in attempts(site):
            with attempt:
                rows = _once(ticker, since, today, site, session)
                break
    except TransientError as passing:
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
        raise TransientError("it asks for fewer requests (HTTP 429)", refused=True) from None
    except YFTickerMissingError as error:
        why = site.hidden(error.rationale).rstrip(".")
        raise NoSuchTicker(
            f"{site.name} has no bars of it ({why}): the ticker is wrong or gone, or was asked for too often."
        ) from None
    except OSError as error:
        raise _refused(site, error) from None
    except LookupError:
        raise TransientError("its answer holds no bars") from None
    except (ValueError, TypeError, AttributeError, YFException) as error:
        raise TransientError(f"its answer isn't readable ({site.hidden(str(error)) or type(error).__name__})") from None
    return rows


def _refused(site: Site, error: OSError) -> TransientError:
    """What a failure of the connection, or an HTTP status, means: curl's errors are OSErrors."""
    from curl_cffi.requests.exceptions import Timeout

    if isinstance(error, Timeout):
        return TransientError("no whole answer in time", reached=False)
    status = getattr(getattr(error, "response", None), "status_code", 0)
    return TransientError(f"HTTP {status}" if status else site.hidden(str(error)), reached=bool(status))


class Hush(logging.Filter):
    """Nothing that yfinance says from a thread that asks is printed: a thread may still wait when its fetch was interrupted."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record may be printed."""
        return record.threadName != ASKER


HUSH = Hush()


@contextmanager
def quiet() -> Iterator[None]:
    """yfinance raises its errors instead of printing them, and what it warns of, which is its own code, isn't shown."""
    import yfinance as yf

    talk, hide, show = logging.getLogger("yfinance"), yf.config.debug.hide_exceptions, warnings.showwarning
    level = talk.level
    talk.addFilter(HUSH)

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

    yfinance asks for a cookie and a crumb before anything else, drops what a refusal says (how long to wait) and asks several times
    more. The chart API needs neither, so both are answered here; only where Yahoo says HTTP 401 are they asked for, once for all
    that wait. Nor may yfinance keep pickled cookies on disk.
    """
    from curl_cffi.requests import Response, Session
    from yfinance import cache

    cache._TzCacheManager._tz_cache = Zones()
    cache._CookieCacheManager._Cookie_cache = cache._CookieCacheDummy()

    class Frank(Session):  # type: ignore[type-arg]
        crumb = ""
        renewing = Lock()
        renewed = -1

        def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
            if not urlsplit(url).path.startswith(CHART):
                return _said(Response(), url, NO_CRUMB)
            site.take_turn()
            crumb = self.crumb
            asked = {name: value for name, value in (options.get("params") or {}).items() if name != "crumb"}
            options |= {"params": asked | ({"crumb": crumb} if crumb else {}), "timeout": site.time_left}
            answer = super().request(method, _address(site, url), *args, **options)
            if answer.status_code == UNAUTHORISED:
                self.renew(crumb)
            _judge(site, answer)
            return answer

        def renew(self, used: str) -> None:
            """A cookie and a crumb of Yahoo's own, unless they were renewed already and nothing sound came since."""
            with self.renewing:
                if self.crumb != used or self.renewed == site.health.sound:
                    return
                self.renewed = site.health.sound
                for url in (COOKIE_ADDRESS, CRUMB_ADDRESS):
                    answer = super().request("GET", _address(site, url), timeout=site.time_left)
                self.crumb = answer.text if answer.status_code == 200 and CRUMB.fullmatch(answer.text) else ""

    return Frank(impersonate="chrome")


def _said(response: Any, url: str, body: str) -> Any:
    response.url, response.status_code, response.content = url, 200, body.encode()
    return response


def _address(site: Site, url: str) -> str:
    """Where to ask: yfinance names the several hosts of Yahoo, a server of our own is one."""
    return url if site.address == ADDRESS else site.address + (urlsplit(url).path or "/")


def _judge(site: Site, answer: Any) -> None:
    status = answer.status_code
    if status == 404:
        raise NoSuchTicker(f"{site.name} has no such ticker (HTTP 404): it is wrong or gone.")
    if status == UNAUTHORISED:
        advice = "It is no fault of the ticker. Fetch again in an hour."
        raise TransientError("HTTP 401, it refuses the crumb it gave itself", refused=True, advice=advice)
    if status in BUSY:
        asked = " (it asks for fewer requests)" if status == 429 else ""
        raise TransientError(f"HTTP {status}{asked}", wait=retry_after(answer.headers), refused=status == 429)
