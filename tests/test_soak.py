"""Years lived by the daily job: what it keeps stays consistent, its memory and the cost of a round stay flat."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from faulting import begun, champions, cheapen, content, orphans, place_of, quiet, rounds, statuses

from altrally.ledger import LIVE, SCORE, Ledger
from altrally.settings import Home
from altrally.watch import Watch, one_round
from sources import providers
from sources.batches import Batch
from sources.fetch import fetch
from sources.layout import batches
from sources.simulated import simulate
from sources.store import Store
from training.settings import TrainSettings
from training.train import train

FIRST, STEP = pd.Timestamp("2018-03-27"), 7
"""Ten years are lived week by week: a round costs one or two seconds, and 3,653 of them more than an hour and a half."""

OVERLAP = pd.Timedelta(days=10)
PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def arriving(market: dict[str, pd.DataFrame]) -> Callable[..., Iterator[Batch]]:
    """A provider of what is known by `today`: all of it at first, then the last days again and what is new, as live ones do."""

    def deliver(
        store: Store, *, path: Path | None, today: pd.Timestamp, progress: Callable[[str, int, int], None]
    ) -> Iterator[Batch]:
        day = today.normalize()
        since = pd.Timestamp("2000-01-01") if store.market is None else day - OVERLAP - pd.Timedelta(days=STEP)
        return batches({stem: between(frame, since, day) for stem, frame in market.items()}, "simulated")

    return deliver


def between(frame: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> pd.DataFrame:
    """Rows of a frame sorted by date, from `since` to before `until`."""
    first, last = frame["date"].searchsorted([since, until])
    return frame.iloc[first:last]


def live(home: Home, count: int, step: int, out: Path) -> None:
    """That many rounds, each on the morning after its day; what each cost goes to `out`."""
    cheapen()
    market = world_until(FIRST + pd.Timedelta(days=count * step))
    providers.PROVIDERS["simulated"] = arriving(market)
    with Store.open(home.store) as store:
        fetch(store, "simulated", today=FIRST, progress=quiet)
        asked = TrainSettings(models=("hazard",), draws=2, rotations=5)
        train(store, asked, until=FIRST - pd.Timedelta(days=1), place=place_of(home), progress=quiet)
    with out.open("w", encoding="utf-8", buffering=1) as file:
        for day in pd.date_range(FIRST, periods=count, freq=f"{step}D"):
            start = process_time()
            done = one_round(Watch(home), now=day + pd.Timedelta(days=1, hours=6), place=place_of(home), progress=quiet)
            row = {
                "day": f"{day:%Y-%m-%d}",
                "seconds": process_time() - start,
                "memory": resident(),
                "trained": bool(done.decisions),
            }
            file.write(json.dumps(row | {"troubles": done.troubles}) + "\n")
    with Store.open(Home(home.folder / "at once").store) as store:
        fetch(store, "simulated", today=day + pd.Timedelta(days=1, hours=6), progress=quiet)


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
    child = begun(live, home, count, 1 if count < STEP * STEP else STEP, out)
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
    quarters = pd.PeriodIndex(lived["day"], freq="Q")
    assert lived["trained"].sum() == quarters.nunique() - 1
    if count > 200:
        is_flat(lived)


def is_flat(lived: pd.DataFrame) -> None:
    """The last year costs no more than the first: a round without training, and the memory after it."""
    plain = lived[~lived["trained"]]
    first, last = plain.head(52), plain.tail(52)
    assert last["seconds"].median() < 1.5 * first["seconds"].median()
    assert last["memory"].median() < 1.25 * np.maximum(first["memory"].median(), 1)
