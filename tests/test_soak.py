"""Years lived by the daily job: what it keeps stays consistent, it hoards no memory, the cost of a round stays flat.

Ten years take two hours. With a folder named by ALTRALLY_SOAK they are lived there, and the same command goes on after a stop.
"""

import ctypes
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import pandas as pd
from faulting import begun, champions, cheapen, content, orphans, place_of, rounds, statuses

from altrally.ledger import LIVE, SCORE, Ledger
from altrally.watch import Watch, one_round
from core.home import Home
from core.progress import Progress, silent
from sources.batches import Batch
from sources.fetch import PROVIDERS, fetch
from sources.layout import batches
from sources.simulated import simulate
from sources.store import Store
from training.settings import TrainSettings
from training.train import train

FIRST = pd.Timestamp("2018-03-27")
YEAR = 365
TRAININGS = 6
WEIGHED = 12
MALLOC_FIELDS = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]
OVERLAP = pd.Timedelta(days=10)
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def arriving(market: dict[str, pd.DataFrame]) -> Callable[..., Iterator[Batch]]:
    """A provider of what is known by `today`: all of it at first, then the last days again and what is new, as live ones do."""

    def deliver(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Iterator[Batch]:
        day = today.normalize()
        since = pd.Timestamp("2000-01-01") if store.market is None else day - OVERLAP
        return batches({stem: between(frame, since, day) for stem, frame in market.items()}, "simulated")

    return deliver


def train_on(home: Home, first: pd.Timestamp, out: Path) -> None:
    """Rounds by a process that is new, each with a training; what it has in memory and in use after each goes to `out`."""
    cheapen()
    days = pd.date_range(first, periods=TRAININGS, freq="2D")
    PROVIDERS["simulated"] = arriving(world_until(days[-1] + pd.Timedelta(days=1)))
    rows = []
    for day in days:
        now = day + pd.Timedelta(days=1, hours=6)
        assert one_round(Watch(home, retrain_days=1), now=now, place=place_of(home), progress=silent).decisions
        rows.append({"memory": resident(), "in_use": in_use()})
    out.write_text(json.dumps(rows))


def weigh(homes: dict[str, Home], first: pd.Timestamp, out: Path) -> None:
    """Rounds in turn in a home that begins and in one aged to before `first`; what each cost without a training, once warm."""
    cheapen()
    PROVIDERS["simulated"] = arriving(world_until(first + pd.Timedelta(days=WEIGHED)))
    begin(homes["new"])
    rows = []
    for number in range(WEIGHED):
        for name, began in (("new", FIRST), ("aged", first)):
            now, start = began + pd.Timedelta(days=number + 1, hours=6), process_time()
            done = one_round(Watch(homes[name]), now=now, place=place_of(homes[name]), progress=silent)
            assert not done.troubles
            if number and not done.decisions:
                rows.append({"home": name, "seconds": process_time() - start})
    out.write_text(json.dumps(rows))


def between(frame: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """Rows of a frame sorted by date, from `since` to before `until`."""
    first, last = frame["date"].searchsorted([since, until])
    return frame.iloc[first:last]


def live(home: Home, count: int, out: Path) -> None:
    """That many rounds, each on the morning after its day, from where `out` ends; what each cost goes there."""
    cheapen()
    days = pd.date_range(FIRST, periods=count)
    PROVIDERS["simulated"] = arriving(world_until(FIRST + pd.Timedelta(days=count)))
    with out.open("a+", encoding="utf-8", buffering=1) as file:
        file.seek(0)
        before = len(file.readlines())
        if not before:
            begin(home)
        for day in days[before:]:
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
        fetch(store, "simulated", today=days[-1] + pd.Timedelta(days=1, hours=6), progress=silent)


def begin(home: Home) -> None:
    """A store and a champion, as they stand the day before the first."""
    with Store.open(home.store) as store:
        fetch(store, "simulated", today=FIRST, progress=silent)
        asked = TrainSettings(models=("hazard",), draws=2, rotations=5)
        train(store, asked, until=FIRST - pd.Timedelta(days=1), place=place_of(home), progress=silent)


def world_until(last: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Eight coins, and no more of the rest than their features read."""
    whole = simulate(start="2014-01-01", end=f"{last:%Y-%m-%d}", stocks=2, coins=8)
    return {stem: frame[frame["date"] >= "2013-01-01"].sort_values("date", kind="stable") for stem, frame in whole.items()}


def resident() -> int:
    """Bytes in memory; 0 where the system doesn't say."""
    file = Path("/proc/self/statm")
    return int(file.read_text().split()[1]) * PAGE if file.exists() else 0


class MallocInfo(ctypes.Structure):
    """What glibc's mallinfo2 returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLOC_FIELDS)


def in_use() -> int:
    """Bytes asked of glibc and not given back, what it keeps free for later left out; 0 where that can't be told."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = MallocInfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


@rounds("soak")
def test_years_of_rounds_leave_everything_consistent_and_cost_no_more_in_the_end(tmp_path: Path, count: int) -> None:
    folder = Path(os.environ.get("ALTRALLY_SOAK", tmp_path)) if count > YEAR else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    home, out = Home(folder / "home"), folder / "rounds.jsonl"
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
        is_flat(home, days[-1] + pd.Timedelta(days=1), tmp_path)
        hoards_nothing(lived, home, days[-1] + pd.Timedelta(days=2), tmp_path)


def due(days: pd.DatetimeIndex) -> Iterator[pd.Timestamp]:
    """When a training is due: once the last one is more than 90 days old, or of an earlier quarter."""
    last = FIRST - pd.Timedelta(days=1)
    for day in days:
        if day - last > pd.Timedelta(days=90) or day.to_period("Q") > last.to_period("Q"):
            last = day
            yield day


def is_flat(home: Home, day: pd.Timestamp, folder: Path) -> None:
    """After years a round without a training costs about what one of the first days does, done in turn by one process.

    In turn, because over the hours that years take a machine's own speed changes by as much.
    """
    shutil.copytree(home.folder, folder / "aged")
    child = begun(weigh, {"new": Home(folder / "new"), "aged": Home(folder / "aged")}, day, folder / "weighed.json")
    child.join()
    assert child.exitcode == 0
    costs = pd.read_json(folder / "weighed.json").groupby("home")["seconds"].median()
    assert costs["aged"] < 1.5 * costs["new"], costs.to_dict()


def hoards_nothing(lived: pd.DataFrame, home: Home, day: pd.Timestamp, folder: Path) -> None:
    """After years a process has hardly more in memory than a new one after some trainings, and a training leaves nothing in use.

    Some, because what is free glibc keeps apart for each thread, and it takes trainings until a new process keeps as much.
    """
    shutil.copytree(home.folder, folder / "again")
    child = begun(train_on, Home(folder / "again"), day, folder / "trained.json")
    child.join()
    assert child.exitcode == 0
    new = pd.read_json(folder / "trained.json")
    assert lived["memory"].tail(YEAR).median() <= 1.25 * new["memory"].iloc[-1]
    assert new["in_use"].iloc[-1] <= 1.1 * new["in_use"].iloc[1]
