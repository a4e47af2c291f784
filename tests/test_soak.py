"""Years lived by the daily job: what it keeps stays consistent, it hoards no memory, the cost of a round stays flat."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import pandas as pd
from faulting import begun, champions, cheapen, content, orphans, place_of, rounds, statuses

from altrally.ledger import LIVE, SCORE, Ledger
from altrally.settings import Home
from altrally.watch import Watch, one_round
from sources import providers
from sources.batches import Batch
from sources.fetch import fetch
from sources.layout import batches
from sources.progress import Progress, silent
from sources.simulated import simulate
from sources.store import Store
from training.settings import TrainSettings
from training.train import train

FIRST = pd.Timestamp("2018-03-27")
YEAR = 365
OVERLAP = pd.Timedelta(days=10)
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def arriving(market: dict[str, pd.DataFrame]) -> Callable[..., Iterator[Batch]]:
    """A provider of what is known by `today`: all of it at first, then the last days again and what is new, as live ones do."""

    def deliver(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Iterator[Batch]:
        day = today.normalize()
        since = pd.Timestamp("2000-01-01") if store.market is None else day - OVERLAP
        return batches({stem: between(frame, since, day) for stem, frame in market.items()}, "simulated")

    return deliver


def live_on(home: Home, first: pd.Timestamp, out: Path) -> None:
    """Two more rounds by a process that is new, each with a training; how much it then holds goes to `out`."""
    cheapen()
    providers.PROVIDERS["simulated"] = arriving(world_until(first + pd.Timedelta(days=3)))
    for day in (first, first + pd.Timedelta(days=2)):
        now = day + pd.Timedelta(days=1, hours=6)
        assert one_round(Watch(home, retrain_days=1), now=now, place=place_of(home), progress=silent).decisions
    out.write_text(str(resident()))


def between(frame: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """Rows of a frame sorted by date, from `since` to before `until`."""
    first, last = frame["date"].searchsorted([since, until])
    return frame.iloc[first:last]


def live(home: Home, count: int, out: Path) -> None:
    """That many rounds, each on the morning after its day; what each cost goes to `out`."""
    cheapen()
    market = world_until(FIRST + pd.Timedelta(days=count))
    providers.PROVIDERS["simulated"] = arriving(market)
    with Store.open(home.store) as store:
        fetch(store, "simulated", today=FIRST, progress=silent)
        asked = TrainSettings(models=("hazard",), draws=2, rotations=5)
        train(store, asked, until=FIRST - pd.Timedelta(days=1), place=place_of(home), progress=silent)
    with out.open("w", encoding="utf-8", buffering=1) as file:
        for day in pd.date_range(FIRST, periods=count):
            start = process_time()
            done = one_round(Watch(home), now=day + pd.Timedelta(days=1, hours=6), place=place_of(home), progress=silent)
            row = {
                "day": f"{day:%Y-%m-%d}",
                "seconds": process_time() - start,
                "memory": resident(),
                "trained": bool(done.decisions),
            }
            file.write(json.dumps(row | {"troubles": done.troubles}) + "\n")
    with Store.open(Home(home.folder / "at once").store) as store:
        fetch(store, "simulated", today=day + pd.Timedelta(days=1, hours=6), progress=silent)


def world_until(last: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Eight coins, and no more of the rest than their features read."""
    whole = simulate(start="2014-01-01", end=f"{last:%Y-%m-%d}", stocks=2, coins=8)
    return {stem: frame[frame["date"] >= "2013-01-01"].sort_values("date", kind="stable") for stem, frame in whole.items()}


def resident() -> int:
    """Bytes in memory; 0 where the system doesn't say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * PAGE if file.exists() else 0


@rounds("soak")
def test_years_of_rounds_leave_everything_consistent_and_cost_no_more_in_the_end(tmp_path: Path, count: int) -> None:
    home, out = Home(tmp_path / "home"), tmp_path / "rounds.jsonl"
    child = begun(live, home, count, out)
    child.join()
    assert child.exitcode == 0
    lived = pd.DataFrame(json.loads(line) for line in out.read_text().splitlines())
    assert len(lived) == count
    assert not lived["troubles"].any()
    assert content(home) == content(Home(home.folder / "at once"))
    with Ledger.open(home.ledger) as ledger:
        ledger.verify()
        scores = [line for line in ledger.lines() if line.kind == SCORE]
    assert [line.body["as_of"] for line in scores] == list(lived["day"])
    assert {line.record for line in scores} == {LIVE}
    assert set(statuses(home)) == {"FINISHED"}
    assert champions(home) == 1
    assert [file for file in orphans(home) if not file.startswith("at once")] == []
    days = pd.DatetimeIndex(lived["day"])
    assert list(days[lived["trained"]]) == list(due(days))
    if count > 2 * YEAR:
        is_flat(lived)
        hoards_nothing(lived, home, days[-1] + pd.Timedelta(days=2), tmp_path / "memory")


def due(days: pd.DatetimeIndex) -> Iterator[pd.Timestamp]:
    """When a training is due: once the last one is more than 90 days old, or of an earlier quarter."""
    last = FIRST - pd.Timedelta(days=1)
    for day in days:
        if day - last > pd.Timedelta(days=90) or day.to_period("Q") > last.to_period("Q"):
            last = day
            yield day


def is_flat(lived: pd.DataFrame) -> None:
    """A round of the last year without a training costs about what one of the first did."""
    plain = lived.loc[~lived["trained"], "seconds"]
    assert plain.tail(YEAR).median() < 1.5 * plain.head(YEAR).median()


def hoards_nothing(lived: pd.DataFrame, home: Home, day: pd.Timestamp, out: Path) -> None:
    """After years a process holds hardly more than a new one that does the same with as much history."""
    child = begun(live_on, home, day, out)
    child.join()
    assert child.exitcode == 0
    assert lived["memory"].tail(YEAR).median() <= 1.25 * int(out.read_text())
