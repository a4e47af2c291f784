"""FRED: latest values and every vintage of revised series from its API, which needs a free key; without one fredgraph.csv.

fredgraph.csv times out for many cloud addresses while the API answers, so with a key it is only the second door.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain, takewhile
from threading import Lock
from typing import Any

import httpx
import pandas as pd

from core.errors import FetchFailed, SourceUnreachable
from core.progress import Progress
from sources.anomalies import another_unit, gone_message, held_back, held_back_message
from sources.batches import Batch, Deliveries, Skipped, nothing_new, together
from sources.database import VINTAGES
from sources.due import is_due
from sources.http import Site, TransientError, answers, as_json, ask, client_of
from sources.reader import observed
from sources.series import SERIES, Series
from sources.store import Store

LABEL, VINTAGE_LABEL = "FRED", "FRED vintages"
OVERLAP = pd.Timedelta(days=30)
STEADY = 2.0
VINTAGES_A_REQUEST = 2000
ROWS_A_PAGE = 100_000
MOST_ROWS = 20_000_000
VINTAGE_HISTORY_FROM = "2000-01-01"
FAR_AHEAD = pd.Timedelta(days=90)
REFUSED = "told that revised series need a key"
HISTORY_BEGINS = {
    "WALCL": 2002, "WTREGEN": 2002, "WRESBAL": 2002, "TREAST": 2002, "WSHOMCB": 2002, "RRPONTSYD": 2003, "BAMLH0A0HYM2": 1996,
    "BAMLC0A0CM": 1996, "DFII10": 2003, "DGS10": 1962, "DGS2": 1976, "T10Y2Y": 1976, "DFF": 1954, "BAA10Y": 1986,
}  # fmt: skip

DAY_COLUMN = "date"  # DATE until 2024, observation_date since
DAYS_OF_A_PERIOD = {"observed": "date", "known": "realtime_start"}


def deliveries(store: Store, *, graph: Site, vintages: Site, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Every declared FRED series. Revised ones come with their vintages if `vintages` holds a key, else they are refused."""
    declared = [series for series in SERIES.values() if series.provider == "fred"]
    steady = [series for series in declared if not series.revised]
    due = [series for series in steady if is_due(series, observed(store, series, today + FAR_AHEAD), today)]
    yield from nothing_new(LABEL, len(steady) - len(due))
    yield from latest_values(store, due, graph, today, progress, api=vintages if vintages.secret else None)
    revised = [series for series in declared if series.revised]
    if vintages.secret:
        yield from all_vintages(store, revised, vintages, today, progress)
    else:
        if store.noted(REFUSED) is None:  # news once; after that `status` says it
            store.note(REFUSED, f"{today:%Y-%m-%d}")
            yield from refused(revised)


def refused(revised: Iterable[Series]) -> Iterator[Skipped]:
    """Without vintages a revised series would show the past what only the future knew."""
    for series in revised:
        yield Skipped(
            series.code, "is revised after the fact; its vintages need a free key in FRED_API_KEY. Nothing of it was stored."
        )


def latest_values(
    store: Store, wanted: list[Series], site: Site, today: pd.Timestamp, progress: Progress, *, api: Site | None = None
) -> Deliveries:
    """Batches of series that are never revised, each from a little before its last stored day; from `api` first if it is given."""
    stored = {series: observed(store, series, today + FAR_AHEAD) for series in wanted}
    since = {series: values.index.max() - OVERLAP if len(values) else None for series, values in stored.items()}
    pending, unreached, later = dict.fromkeys(wanted), "", list[Batch]()
    with ExitStack() as clients:
        doors = Doors([(clients.enter_context(client_of(door)), door) for door in (api, site) if door is not None])
        series_to_request = takewhile(lambda series: not (unreached or site.health.given_up), wanted)
        with closing(answers(lambda series: doors.values(series, since[series]), series_to_request, site.patience)) as coming:
            for series, rows in coming:
                progress(LABEL, len(wanted) - len(pending), len(wanted))
                if isinstance(rows, SourceUnreachable):
                    unreached = str(rows)
                    continue
                del pending[series]
                try:
                    for delivery in _latest(rows, series, stored[series], since[series], today, len(wanted)):
                        if isinstance(delivery, Batch) and since[series] is not None:
                            later.append(delivery)
                        else:
                            yield delivery
                except FetchFailed as error:
                    yield Skipped(series.code, str(error))
    yield from together(later)
    if pending:
        why = f"{site.health.given_up or unreached} {len(pending)} series were not asked for."
        yield Skipped(LABEL, why, gone=not site.health.sound)


class Doors:
    """The ways to FRED in their order, used by several threads; one that doesn't open is not tried again in this fetch."""

    def __init__(self, doors: list[tuple[httpx.Client, Site]]) -> None:
        self.doors, self.lock = doors, Lock()

    def values(self, series: Series, since: pd.Timestamp | None) -> pd.DataFrame:
        """Observed, value since a day through the first door that opens."""
        while True:
            door = self.doors[0]
            client, site = door
            try:
                return _of_api(client, site, series, since) if site.secret else _of_graph(client, site, series, since)
            except FetchFailed:
                with self.lock:
                    if door is self.doors[-1]:
                        raise
                    if door is self.doors[0]:
                        del self.doors[0]


def _of_graph(client: httpx.Client, site: Site, series: Series, since: pd.Timestamp | None) -> pd.DataFrame:
    params = {"id": series.code} | ({"cosd": f"{since:%Y-%m-%d}"} if since is not None else {})
    return ask(client, site, "graph/fredgraph.csv", params, what=series.code, read=lambda body: read_graph(site, body, series.code))


def _of_api(client: httpx.Client, site: Site, series: Series, since: pd.Timestamp | None) -> pd.DataFrame:
    params = {"series_id": series.code} | ({"observation_start": f"{since:%Y-%m-%d}"} if since is not None else {})
    rows = _api(client, site, "fred/series/observations", params, series.code, "observations")
    return _periods(site, rows, series.code)[["observed", "value"]]


def _latest(
    rows: pd.DataFrame | FetchFailed, series: Series, stored: pd.Series, since: pd.Timestamp | None, today: pd.Timestamp, of: int
) -> Deliveries:
    if isinstance(rows, FetchFailed):
        raise rows
    running, missing = rows["observed"] >= today.normalize(), rows["value"].isna()
    kept = rows[~running & ~missing]
    if kept.empty:
        since_when = f" since {since:%Y-%m-%d}; what is stored stays" if since is not None else ""
        raise FetchFailed(f"FRED sent no value{since_when}. Try again later.")
    values = kept.set_index("observed")["value"]
    held = _held(values, stored, since)
    for words in _oddities(series, values, stored, held, since):
        yield Skipped(series.code, words)
    frame = kept[~held.to_numpy()].assign(series=series.code, known=lambda kept: kept["observed"] + series.release_lag)
    dropped = _counted(**{"missing": int(missing.sum()), "running day": int(running.sum()), "held back": int(held.sum())})
    yield Batch(LABEL, "observations", frame, "fred", dropped=dropped, of=of, daily=True)


def _held(values: pd.Series, stored: pd.Series, since: pd.Timestamp | None) -> pd.Series:
    """Which values came in another unit than those stored lately; where those swing by more than twice it can't be told."""
    lately = stored[stored.index >= since] if since is not None else stored
    if lately.empty or lately.min() <= 0 or lately.max() > STEADY * lately.min():
        return pd.Series(False, index=values.index)
    return held_back(values, lately, another_unit, confirmed=False)


def _oddities(series: Series, values: pd.Series, stored: pd.Series, held: pd.Series, since: pd.Timestamp | None) -> Iterator[str]:
    if since is None:
        return _shortened(series, values.index.min())
    lately = stored[stored.index >= since]
    return chain(gone_message(values.index, lately.index, since), held_back_message(values, lately, held))


def read_graph(site: Site, body: str, code: str) -> pd.DataFrame:
    """A fredgraph.csv body as observed, value; an empty cell is missing. Raises `Passing` if it isn't one, or is cut off."""
    try:
        if not body.endswith("\n"):
            raise ValueError("it breaks off in the middle of a line")
        rows = pd.read_csv(io.StringIO(body), dtype="str", na_values=["", "."])
        named = [str(name) for name in rows.columns]
        if named[1:] != [code] or DAY_COLUMN not in named[0].lower():
            raise ValueError(f"its columns are {', '.join(named)}")
        observed = pd.to_datetime(rows[named[0]], format="%Y-%m-%d").astype("datetime64[us]")
        return pd.DataFrame({"observed": observed, "value": pd.to_numeric(rows[code])})
    except ValueError as error:
        raise TransientError(f"it answered with something that is no table ({site.hidden(str(error))})") from error


def _shortened(series: Series, first: pd.Timestamp) -> Iterator[str]:
    """A first fetch that brings years less than the series has (ICE spreads come with their last three years only)."""
    begins = HISTORY_BEGINS.get(series.code, first.year)
    if first.year > begins + 1:
        yield f"came from {first:%Y-%m-%d} only, though its history begins in {begins}; the rest stays missing."


def all_vintages(store: Store, wanted: list[Series], site: Site, today: pd.Timestamp, progress: Progress) -> Deliveries:
    """Batches of revised series, one row a value and the day from which it was published."""
    with client_of(site) as client:
        for number, series in enumerate(wanted):
            progress(VINTAGE_LABEL, number, len(wanted))
            stored = store.read(series, today + FAR_AHEAD)
            stored = stored if store.has_vintages(series) else stored.iloc[:0]
            try:
                yield _vintages(client, site, series, stored, len(wanted))
            except SourceUnreachable as error:
                why = f"{error} {len(wanted) - number} series were not asked for."
                yield Skipped(VINTAGE_LABEL, why, gone=not site.health.sound)
                return
            except FetchFailed as error:
                yield Skipped(series.code, str(error))


def _vintages(client: httpx.Client, site: Site, series: Series, stored: pd.DataFrame, of: int) -> Batch:
    """What was published from the last stored vintage on."""
    since = f"{stored['known'].max():%Y-%m-%d}" if len(stored) else VINTAGE_HISTORY_FROM
    days = [day for day in vintage_days(client, site, series.code) if day >= since]
    spans = [days[first : first + VINTAGES_A_REQUEST] for first in range(0, len(days), VINTAGES_A_REQUEST)]
    parts = [part for span in spans for part in real_time_periods(client, site, series.code, span)]
    rows = pd.concat(parts, ignore_index=True) if parts else _periods(site, [], series.code)
    kept = rows.dropna(subset=["value"])
    frame = changes(stored, kept).assign(series=series.code)
    return Batch(VINTAGE_LABEL, "observations", frame, VINTAGES, dropped=_counted(missing=len(rows) - len(kept)), of=of)


def _counted(**reasons: int) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if count}


def vintage_days(client: httpx.Client, site: Site, code: str) -> list[str]:
    """Days on which a value of `code` was published, oldest first."""
    params = {"series_id": code, "limit": "10000"}
    return [str(day) for day in _api(client, site, "fred/series/vintagedates", params, f"vintages of {code}", "vintage_dates")]


def real_time_periods(client: httpx.Client, site: Site, code: str, span: list[str]) -> Iterator[pd.DataFrame]:
    """Values published in the vintages of `span`, page by page: observed, known (first day of their period), value."""
    offset, page, before = 0, ROWS_A_PAGE, list[Any]()
    while page == ROWS_A_PAGE:
        params = {"series_id": code, "realtime_start": span[0], "realtime_end": span[-1], "observation_start": VINTAGE_HISTORY_FROM}
        params |= {"output_type": "1", "limit": str(ROWS_A_PAGE), "offset": str(offset)}
        rows = _api(client, site, "fred/series/observations", params, f"vintages of {code}", "observations")
        if (rows and rows == before) or offset > MOST_ROWS:
            raise FetchFailed(f"{site.name} sends vintages of {code} page after page without an end. Nothing of them was stored.")
        page, offset, before = len(rows), offset + len(rows), rows
        yield _periods(site, rows, code)


def _periods(site: Site, rows: list[dict[str, str]], code: str) -> pd.DataFrame:
    try:
        table = pd.DataFrame(rows, columns=["date", "realtime_start", "value"], dtype="str")
        days = {name: pd.to_datetime(table[column]).astype("datetime64[us]") for name, column in DAYS_OF_A_PERIOD.items()}
        return pd.DataFrame({**days, "value": pd.to_numeric(table["value"].replace(".", None))})
    except ValueError as error:
        raise FetchFailed(f"{site.name} sent no vintages of {code}: {site.hidden(str(error))}.") from None


def changes(stored: pd.DataFrame, fetched: pd.DataFrame) -> pd.DataFrame:
    """Rows of `fetched` (observed, known, value) that say something other than the vintage before them, stored or fetched.

    A request cuts real-time periods at its first day, so a value long known comes back as if it were new: it says nothing new.
    """
    versions = pd.concat([stored.assign(new=False), fetched.assign(new=True)], ignore_index=True)
    ordered = versions.sort_values(["observed", "known", "new"], kind="stable")
    unchanged = ordered.groupby("observed")["value"].shift() == ordered["value"]
    return ordered.loc[ordered["new"] & ~unchanged, ["observed", "known", "value"]].reset_index(drop=True)


def _api(client: httpx.Client, site: Site, path: str, params: dict[str, str], what: str, field: str) -> list[Any]:
    """The list `field` of an answer of the FRED API."""
    secret = {"api_key": site.secret, "file_type": "json"}
    answer = ask(client, site, path, params | secret, what=what, read=lambda body: as_json(site, body))
    if not isinstance(answer.get(field), list):
        raise FetchFailed(f"{site.name} sent no {what}: {site.hidden(str(answer))[:100]}.")
    rows: list[Any] = answer[field]
    return rows
