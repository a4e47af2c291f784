"""What each command does, between the options a user typed and the page that is printed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from altrally.settings import Home
from sources.errors import BadInput
from sources.store import Store


def now() -> pd.Timestamp:
    """The clock, read once here and passed in everywhere else. UTC, without a zone."""
    return pd.Timestamp.now("UTC").tz_localize(None)


def day(text: str | None, option: str) -> pd.Timestamp | None:
    """A day as typed, YYYY-MM-DD."""
    if text is None:
        return None
    try:
        return pd.Timestamp(pd.to_datetime(text, format="%Y-%m-%d"))
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a day; write it as YYYY-MM-DD.") from None


def to_json(value: Any) -> str:
    """JSON as the contract has it; a number that can't be had is null, never NaN."""
    return json.dumps(value, indent=2, allow_nan=False, default=str)


def emit(value: Any) -> None:
    """Print JSON for programs, bare, so that it can be piped."""
    print(to_json(value))  # noqa: T201


@contextmanager
def progress_bar() -> Iterator[Any]:
    """A bar on standard error: `report(label, done, total)`; a total of 0 means it isn't known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def report(label: str, done: int, total: int) -> None:
            bars.update(task, description=label, completed=done, total=total or None)

        yield report


@contextmanager
def opened(home: Home, *, read_only: bool = True) -> Iterator[Store]:
    """The home's store."""
    if not read_only:
        home.folder.mkdir(parents=True, exist_ok=True)
    with Store.open(home.store, read_only=read_only) as store:
        yield store


def last_day(store: Store, typed: pd.Timestamp | None) -> pd.Timestamp:
    """The day a job stands at: as typed, if it is over; else the last one the store knows."""
    from altrally.score import default_as_of, require_past

    if typed is None:
        return default_as_of(store, now())
    require_past(typed, now())
    return typed


def fetch(home: Home, provider: str, path: Path | None) -> None:
    """Bring what is new into the store, and say line by line what came and what was dropped."""
    from altrally.render import fetch_table, market_banner, show
    from sources.fetch import fetch as bring
    from sources.providers import require_provider

    require_provider(provider)
    with opened(home, read_only=False) as store, progress_bar() as report:
        brought = bring(store, provider, path=path, today=now().normalize(), progress=report)
        market = store.market
    show(market_banner(market), fetch_table(brought.lines), *(f"[yellow]{warning}[/]" for warning in brought.warnings))


def features(home: Home, *, as_json: bool) -> None:
    """The catalogue, with the coverage of this home's store where there is one."""
    from altrally.render import feature_list, show
    from features.catalogue import catalogue

    with opened(home) as store:
        listed = catalogue(store, last_day(store, None))
    if as_json:
        emit(listed.to_dict("records"))
    else:
        show(feature_list(listed))


def score(home: Home, as_of: str | None, *, in_sample: bool, as_json: bool) -> None:
    """Issue a forecast."""
    from altrally.score import score as forecast
    from models.registry import load_champion

    typed = day(as_of, "--as-of")
    champion = load_champion(home.tracking_uri, home.folder)
    with opened(home) as store:
        issued = forecast(store, champion, last_day(store, typed), in_sample=in_sample)
    if as_json:
        emit(issued.to_json())
        return
    from altrally.render import score_page, show

    show(score_page(issued))
