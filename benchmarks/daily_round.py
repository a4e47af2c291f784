"""What a round of the daily job costs on its first days and after ten years of days: `python benchmarks/daily_round.py`.

The soak (`pytest -m long tests/faults/test_soak.py`) lives those years; this
lays them into a store and a ledger and lives the days after.
Both homes hold all the history that features reach back to, so that what differs is what the years left behind.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import pandas as pd

from altrally.api import tracking_place
from altrally.forecast import Score, inputs_known, score
from altrally.issue import champion_of
from altrally.ledger import Ledger
from altrally.watch import Watch, one_round
from core.home import Home
from core.progress import silent
from sources.batches import Batch
from sources.fetch import PROVIDERS, fetch
from sources.layout import batches
from sources.simulated import simulate
from sources.store import Store
from training.settings import TrainSettings
from training.train import train

FIRST, YEARS, ROUNDS = pd.Timestamp("2018-03-28"), 10, 9
LATER = FIRST + pd.DateOffset(years=YEARS)
DAY, MORNING, OVERLAP = pd.Timedelta(days=1), pd.Timedelta(days=1, hours=6), pd.Timedelta(days=10)


def main() -> None:
    """One line a home: median processor seconds of a round without a training."""
    market = simulate(start="2011-01-01", end=f"{LATER + pd.Timedelta(days=ROUNDS):%Y-%m-%d}", stocks=2, coins=8)
    PROVIDERS["simulated"] = arriving({name: frame.sort_values("date") for name, frame in market.items()})
    with TemporaryDirectory() as folder:
        for name, day in (("first days", FIRST), (f"after {YEARS} years", LATER)):
            home = prepared(Home(Path(folder) / name), day)
            with Ledger.open(home.ledger) as ledger:
                lines = ledger.head().lines
            print(f"{name:16} {median(seconds(home, day)):.2f} s a round  {lines:6} lines in the ledger", flush=True)


def arriving(market: dict[str, pd.DataFrame]) -> Callable[..., Iterator[Batch]]:
    """A provider of what is known by `today`: all of it at first, then the last days again and what is new."""

    def deliver(store: Store, *, today: pd.Timestamp, **asked: Any) -> Iterator[Batch]:
        since = pd.Timestamp("2000-01-01") if store.market is None else today.normalize() - OVERLAP
        spans = {name: frame["date"].searchsorted([since, today.normalize()]) for name, frame in market.items()}
        return batches({name: frame.iloc[slice(*spans[name])] for name, frame in market.items()}, "simulated")

    return deliver


def prepared(home: Home, day: pd.Timestamp) -> Home:
    """Fetched and trained on the eve of `day`, with a forecast in the ledger for every day since `FIRST`."""
    with Store.open(home.store) as store:
        fetch(store, "simulated", today=day, progress=silent)
        asked = TrainSettings(models=("hazard",), draws=2, rotations=5)
        train(store, asked, until=day - DAY, place=tracking_place(home), progress=silent)
        said = score(inputs_known(store, day - DAY), champion_of(home))
    fill(home, said, pd.date_range(FIRST, day - 2 * DAY))
    return home


def fill(home: Home, said: Score, days: pd.DatetimeIndex) -> None:
    """The same forecast for each day, and its outcomes where they are known by the last."""
    with Ledger.open(home.ledger) as ledger:
        for day in days:
            line = replace(said, as_of=f"{day:%Y-%m-%d}")
            ledger.append_score(line, inputs={}, issued_at=day + MORNING, code_version="benchmark")
        came = [
            outcome(said, day, row.days) for day in days for row in said.horizons if day + pd.Timedelta(days=row.days) < days[-1]
        ]
        ledger.append_outcomes(came, LATER)


def outcome(said: Score, day: pd.Timestamp, days: int) -> dict[str, Any]:
    """Nothing came of it."""
    end = day + pd.Timedelta(days=days)
    dates = {"as_of": f"{day:%Y-%m-%d}", "label_end": f"{end:%Y-%m-%d}", "known": f"{end + DAY:%Y-%m-%d}"}
    return {**dates, "market": said.market, "outcome": said.outcome, "days": days, "event": 0, "snapshot": said.snapshot}


def seconds(home: Home, day: pd.Timestamp) -> Iterator[float]:
    """What each round costs; the first, which imports, and one with a training don't count."""
    for number in range(ROUNDS):
        start = process_time()
        done = one_round(Watch(home), now=day + number * DAY + MORNING, place=tracking_place(home), progress=silent)
        if number and not done.decisions:
            yield process_time() - start


if __name__ == "__main__":
    main()
