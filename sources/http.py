"""One polite way to ask web APIs, several requests at a time: retries with limits, waits as asked, and no secret in a message."""

import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Any, TypeVar

import httpx
import pandas as pd
import stamina
from stamina.instrumentation import set_on_retry_hooks

from core.errors import FetchFailed, SourceUnreachable

BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_QUOTE = 200
LOOKS, LONGEST_LOOK = 3, 5.0
REFUSALS = 16
LEAST_WAIT = 1.0
AGENT = "altrally (daily statistical forecasts, one home; python-httpx)"

Read = TypeVar("Read")


@dataclass(frozen=True)
class RetryPolicy:
    """How long a source is tried, in seconds: `attempts` tries, waits that double from `first_wait` to `longest_wait`.

    A whole answer must be there within `timeout`. At most `burst` requests go out in any `burst` times `pause`, so that free
    services are asked no faster than they allow and a short fetch waits for nothing; `at_once` may be unanswered at a time where
    many things are asked for. A site without one sound answer for `budget` is asked no more in this fetch. `sleep` is how time is
    waited for, `clock` how it is read.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 30.0
    pause: float = 0.7  # Coin Metrics counts 10 requests in 6 s, as they arrive
    burst: int = 10
    at_once: int = 8
    budget: float = 120.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@dataclass
class Health:
    """How a site does during one fetch, seen by all that is asked of it, from several threads too.

    `sound`: whole answers so far; `troubled`: the moment from which nothing sound came, None while all is well; `refused`: refusals
    in a row; `given_up`: the line that says why it is asked no more; `date`: the moment its own clock said, UTC. `turns`: when the
    last requests went out. `tell` hears what the user should know while waiting.
    """

    sound: int = 0
    troubled: float | None = None
    refused: int = 0
    given_up: str = ""
    date: pd.Timestamp | None = None
    turns: deque[float] = field(default_factory=deque, repr=False)
    queue: Lock = field(default_factory=Lock, repr=False)
    tell: Callable[[str], None] = field(default=lambda words: None, repr=False)


@dataclass(frozen=True)
class Site:
    """One web API: its name in messages, its address, and a secret that no message, log line or traceback shows."""

    name: str
    address: str
    patience: RetryPolicy
    secret: str = field(default="", repr=False)
    health: Health = field(default_factory=Health, compare=False, repr=False)

    @property
    def time_left(self) -> float:
        """Seconds that an answer may take now: the time limit of a request, or what is left of the budget."""
        waited = 0.0 if self.health.troubled is None else self.patience.clock() - self.health.troubled
        return min(self.patience.timeout, max(self.patience.budget - waited, LEAST_WAIT))

    def take_turn(self) -> None:
        """Wait until one more request is within the pace of this site."""
        patience, turns = self.patience, self.health.turns
        with self.health.queue:
            now = patience.clock()
            turn = max(now, turns[0] + patience.burst * patience.pause) if len(turns) == patience.burst else now
            turns.append(turn)
            if len(turns) > patience.burst:
                turns.popleft()
        if turn > now:
            patience.sleep(turn - now)

    def answered(self, *, sound: bool) -> None:
        """Record an answer of the site, sound or not."""
        self.health.sound += sound
        self.health.troubled, self.health.refused = None, 0

    def failed(self, failure: "TransientError", since: float) -> None:
        """An attempt begun at `since` failed; a site in trouble for too long, or that goes on refusing, is given up."""
        health = self.health
        if health.given_up:
            return
        health.troubled = since if health.troubled is None else health.troubled
        health.refused = health.refused + 1 if failure.refused else 0
        waited = self.patience.clock() - health.troubled
        if health.refused >= REFUSALS:
            health.given_up = (
                f"{self.name} refused {health.refused} requests in a row, with {self.hidden(str(failure))}, and is asked no more. "
                f"Fetch again {f'after {failure.wait:.0f} s' if failure.wait else 'in an hour'}."
            )
        elif waited >= self.patience.budget:
            what = "can't be reached" if not failure.reached else "gave no sound answer"
            self.give_up(f"{what} for {waited:.0f} s ({self.hidden(str(failure))})")
        elif not failure.reached:
            seconds_left = self.patience.budget - waited
            health.tell(f"{self.name} doesn't answer; it is given up in {seconds_left:.0f} s")

    def give_up(self, why: str) -> None:
        """Stop requests to this site for the rest of the fetch."""
        self.health.given_up = f"{self.name} {why}. Check the network and fetch again."

    def hidden(self, text: str) -> str:
        """`text` on one line, shortened, without the secret."""
        line = " ".join(text.split())[:LONGEST_QUOTE]
        return line.replace(self.secret, "***") if self.secret else line


class TransientError(Exception):
    """A failure that may pass: `wait` is how many seconds the site asked for; `reached` if it answered at all.

    `refused`: it answered that it won't, as it does to whoever asks too often. `advice` is what to do where it doesn't pass.
    """

    def __init__(
        self, reason: str, *, wait: float | None = None, reached: bool = True, refused: bool = False, advice: str = ""
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.reached = reached
        self.refused = refused
        self.advice = advice


class _QueryHider(logging.Filter):
    """httpx logs every address it asks; what follows the question mark may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.copy_with(query=None) if isinstance(arg, httpx.URL) else arg for arg in record.args)
        return True


_HIDER = _QueryHider()


def client_of(site: Site) -> httpx.Client:
    """An HTTP client of `site`, to be used as a context manager."""
    logging.getLogger("httpx").addFilter(_HIDER)
    who = {"User-Agent": AGENT}
    return httpx.Client(base_url=site.address.rstrip("/") + "/", timeout=site.patience.timeout, follow_redirects=True, headers=who)


def ask(client: httpx.Client, site: Site, path: str, params: dict[str, str], *, what: str, read: Callable[[str], Read]) -> Read:
    """The body of `path` as `read` understands it, tried again while the site is busy or sends what can't be read.

    `what` names the thing asked for in messages; `read` raises `Passing`. Raises `SourceUnreachable` where the site never answered
    and `FetchFailed` where its answer can't be used.
    """
    try:
        for attempt in attempts(site):
            with attempt:
                return read(_judged(site, _once(client, site, path, params, what)))
    except TransientError as passing:
        failure = passing
    raise given_up(site, failure, what)


def look(site: Site) -> None:
    """See in a few seconds that `site` answers, whatever it says; it is given up if not. Raises `SourceUnreachable`."""
    hurried = replace(site.patience, attempts=LOOKS, timeout=min(site.patience.timeout, LONGEST_LOOK))
    try:
        for attempt in retries(hurried):
            with attempt, client_of(replace(site, patience=hurried)) as client:
                _heard(client, site)
    except TransientError as passing:
        failure = passing
    else:
        return
    site.give_up(f"can't be reached ({site.hidden(str(failure))})")
    raise SourceUnreachable(site.health.given_up)


def attempts(site: Site) -> Iterator[Any]:
    """As `retries`, with each outcome recorded in the site's health. Raises `SourceUnreachable` where it is asked no more."""
    for attempt in retries(site.patience):
        if site.health.given_up:
            raise SourceUnreachable(site.health.given_up)
        yield Noted(attempt, site)


class Noted:
    """One attempt of a request: a context manager that records its outcome in the health of a site."""

    def __init__(self, attempt: Any, site: Site) -> None:
        self.attempt, self.site, self.since = attempt, site, site.patience.clock()

    def __enter__(self) -> None:
        self.attempt.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, TransientError):
            self.site.failed(error, self.since)
        elif error is None or isinstance(error, FetchFailed):
            self.site.answered(sound=error is None)
        return bool(self.attempt.__exit__(kind, error, trace))


def retries(patience: RetryPolicy) -> Iterator[Any]:
    """Attempts of one request, each a context manager; only `TransientError` is tried again, after the wait that it asks for."""
    requested_wait: list[float | None] = [None]

    def worth_another(error: Exception) -> bool | float:
        if not isinstance(error, TransientError) or (error.wait or 0.0) > patience.longest_wait:
            return False
        requested_wait[0] = error.wait
        return 0.0  # we wait ourselves, so that time can be passed in

    set_on_retry_hooks([])  # stamina would log what it calls, arguments and all
    due = 0.0
    for attempt in stamina.retry_context(
        on=worth_another,
        attempts=patience.attempts,
        timeout=None,
        wait_initial=patience.first_wait,
        wait_max=patience.longest_wait,
    ):
        if attempt.num > 1:
            patience.sleep(due if requested_wait[0] is None else requested_wait[0])
        due = attempt.next_wait + random.uniform(0.0, min(patience.first_wait, 1.0))
        yield attempt


def given_up(site: Site, failure: TransientError, what: str) -> FetchFailed:
    """The error that says `what` could not be had, and whether it is any use to ask the site for something else."""
    if site.health.given_up:
        return SourceUnreachable(site.health.given_up)
    if not failure.reached:
        return SourceUnreachable(f"{site.name} can't be reached ({site.hidden(str(failure))}). Check the network and fetch again.")
    advice = failure.advice or f"Try again {f'after {failure.wait:.0f} s' if failure.wait else 'later'}."
    return FetchFailed(f"{site.name} gave no {what}: {site.hidden(str(failure))}. {advice}")


def _heard(client: httpx.Client, site: Site) -> None:
    try:
        date_header = client.head("", follow_redirects=False).headers.get("Date", "")
    except httpx.HTTPError as error:
        raise TransientError(str(error) or type(error).__name__, reached=False) from None
    with suppress(ValueError):
        site.health.date = pd.Timestamp(parsedate_to_datetime(date_header)).tz_localize(None)


def _once(client: httpx.Client, site: Site, path: str, params: dict[str, str], what: str) -> str:
    site.take_turn()
    reason, response, body, timeout = "", None, "", site.time_left
    try:
        with client.stream("GET", path, params=params, timeout=timeout) as response:
            body = _read_in_time(response, timeout)
    except httpx.TimeoutException:
        reason = f"no whole answer within {timeout:.0f} s"
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
    # Raised out here, so that no exception chain holds the request and its address.
    if reason or response is None:
        raise TransientError(reason, reached=response is not None)
    if response.status_code in BUSY:
        raise TransientError(
            f"HTTP {response.status_code}", wait=retry_after(response.headers), refused=response.status_code == 429
        )
    if response.status_code >= 400:
        raise FetchFailed(f"{site.name} gave no {what}: HTTP {response.status_code}{_told(site, body)}.")
    return body


def _read_in_time(response: httpx.Response, timeout: float) -> str:
    """The body. httpx's own limit starts anew with every byte, so a slow drip would never end."""
    end, parts = time.monotonic() + timeout, []
    for part in response.iter_bytes():
        parts.append(part)
        if time.monotonic() > end:
            raise httpx.ReadTimeout("too slow")
    return b"".join(parts).decode(response.charset_encoding or "utf-8", errors="replace")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date; None where absent or unreadable."""
    retry_after = headers.get("Retry-After", "")
    if retry_after.isdigit():
        return float(retry_after)
    try:
        until, now = parsedate_to_datetime(retry_after), parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    return max((until - now).total_seconds(), 0.0)


def _told(site: Site, body: str) -> str:
    """What a JSON error body says, as Coin Metrics and FRED write it."""
    try:
        answer = json.loads(body)
        message = answer["error"]["message"] if "error" in answer else answer["error_message"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f", {site.hidden(str(message)).rstrip('.')}"


def _judged(site: Site, body: str) -> str:
    if not body.strip():
        raise TransientError("it answered with nothing")
    if body.lstrip().startswith("<"):
        raise TransientError("it answered with a web page", advice=f"Open {site.address} in a browser to see why.")
    return body


def as_json(site: Site, body: str) -> dict[str, Any]:
    """A JSON object. Raises `TransientError`."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise TransientError(f"it answered with something that isn't whole JSON ({site.hidden(body)[:60]!r})")
    return answer


ASKER = "altrally asks"
Thing = TypeVar("Thing")
Found = TypeVar("Found")


def answers(
    ask: Callable[[Thing], Found], things: Iterable[Thing], patience: RetryPolicy
) -> Generator[tuple[Thing, Found | FetchFailed], None, None]:
    """Each of `things` with what `ask` returned, or the `FetchFailed` it raised, as they come.

    They are asked for in order, at most `patience.at_once` unanswered at a time. Anything else that is raised is raised here. All
    threads have ended once the last answer came; after an interruption they end, in silence, with the
    request they wait for, and they die with the process: an interruption needn't wait for a source.
    """
    todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    done: SimpleQueue[tuple[Thing, Future[Found]]] = SimpleQueue()
    threads = [Thread(target=_work, args=(todo,), name=ASKER, daemon=True) for _ in range(patience.at_once)]
    for thread in threads:
        thread.start()
    come = partial(_next, done)
    waiting = 0
    try:
        for thing in things:
            if waiting == patience.at_once:
                yield come()
                waiting -= 1
            todo.put(partial(_answer, ask, thing, done))
            waiting += 1
        for _ in range(waiting):
            yield come()
        waiting = 0
    finally:
        for _ in threads:
            todo.put(None)
        for thread in threads if not waiting else ():
            thread.join()


def _work(todo: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := todo.get()) is not None:
        job()


def _answer(ask: Callable[[Thing], Found], thing: Thing, done: "SimpleQueue[tuple[Thing, Future[Found]]]") -> None:
    answer: Future[Found] = Future()
    try:
        answer.set_result(ask(thing))
    except Exception as error:
        answer.set_exception(error)
    done.put((thing, answer))


def _next(done: "SimpleQueue[tuple[Thing, Future[Found]]]") -> tuple[Thing, Found | FetchFailed]:
    thing, answer = done.get()
    failed = answer.exception()
    return thing, failed if isinstance(failed, FetchFailed) else answer.result()
