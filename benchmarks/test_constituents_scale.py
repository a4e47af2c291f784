"""Constituents at full size: 3,382 names × 25 years, generated, from a drop-in folder through the store to breadth.

    python -m pytest benchmarks/test_constituents_scale.py -s

A child process does each job and tells its seconds and its peak memory, so that both are those of the job alone.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.progress import silent
from sources.batches import Batch
from sources.files import batches
from sources.store import Store

NAMES, YEARS = 3_382, 25
LAST = pd.Timestamp("2024-12-31")
TODAY = pd.Timestamp("2025-01-02")

MEASURED = """
import json, re, sys, time
from pathlib import Path
import pandas as pd
from features import build as builder
from features.registry import FEATURES
from sources.store import Store

names = ["breadth_above_50", "breadth_above_200", "new_highs_less_lows", "net_advances"]
chosen = [FEATURES[name] for name in names]
first, last = pd.Timestamp(sys.argv[2]), pd.Timestamp(sys.argv[3])
seconds = []
for _ in range(int(sys.argv[4])):
    begun, cpu = time.perf_counter(), time.process_time()
    with Store.open(Path(sys.argv[1]), read_only=True) as store:
        days = pd.date_range(first, last, unit="us")
        found = builder.compute(chosen, builder.load(store, chosen, last, first), days)
    assert found.iloc[-1].notna().all(), found.iloc[-1]
    seconds.append((time.perf_counter() - begun, time.process_time() - cpu))
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024**2  # getrusage keeps the parent's
print(json.dumps({"seconds": seconds, "peak_gib": peak}))
"""


def constituents(names: int, years: int) -> pd.DataFrame:
    """Rows of the drop-in file: walks, a third of the names born late, a third gone early; prices to 5 significant digits."""
    rng = np.random.default_rng(5)
    days = pd.bdate_range(LAST - pd.DateOffset(years=years), LAST, unit="us")
    born = np.where(rng.random(names) < 0.33, rng.integers(0, len(days), names), 0)
    gone = np.where(rng.random(names) < 0.33, rng.integers(0, len(days), names), len(days))
    born, gone = np.minimum(born, gone), np.maximum(born, gone)
    frames = []
    for name in range(names):
        alive = days[born[name] : gone[name]]
        close = (20 * np.exp(rng.normal(0, 0.02, len(alive)).cumsum())).astype(np.float32).astype(np.float64)
        volume = rng.integers(10_000, 1_000_000, len(alive)).astype(np.float64)
        dead = gone[name] < len(days)
        frames.append(pd.DataFrame({"date": alive, "ticker": f"N{name:05}", "close": close, "volume": volume, "delisted": dead}))
    return pd.concat(frames, ignore_index=True).astype({"ticker": "category"})


def stored(folder: Path, names: int, years: int) -> Path:
    """The file of a store into which a folder of that size was fetched."""
    folder.mkdir()
    constituents(names, years).to_parquet(folder / "constituents.parquet", index=False)
    file = folder / "store.duckdb"
    with Store.open(file) as store:
        store.claim_market("files")
        for batch in batches(store, path=folder, today=TODAY, progress=silent):
            assert isinstance(batch, Batch)
            store.append(batch, TODAY)
    return file


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Path]:
    """Stores by number of names and years, each made once."""
    place, made = tmp_path_factory.mktemp("scale"), dict[tuple[int, int], Path]()

    def of(names: int, years: int) -> Path:
        if (names, years) not in made:
            made[names, years] = stored(place / f"{names}x{years}", names, years)
        return made[names, years]

    return of


def measured(file: Path, first: pd.Timestamp, rounds: int) -> dict[str, Any]:
    """Seconds of each round, wall and processor, and the peak memory of a process that makes breadth from `first` on."""
    asked = [sys.executable, "-c", MEASURED, file, f"{first:%Y-%m-%d}", f"{LAST:%Y-%m-%d}", str(rounds)]
    found: dict[str, Any] = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    wall, cpu = zip(*found["seconds"], strict=True)
    said = {"wall": sorted(wall), "cpu": sorted(cpu), "peak_gib": found["peak_gib"]}
    print(file.parent.name, f"since {first:%Y-%m-%d}", {name: np.round(value, 3).tolist() for name, value in said.items()})
    return said


def test_from_the_store_to_breadth(stores: Callable[[int, int], Path]) -> None:
    found = measured(stores(NAMES, YEARS), LAST - pd.DateOffset(years=YEARS), 5)
    assert found["peak_gib"] <= 1.0
    assert found["cpu"][0] <= 2.0, "of both threads together: an idle machine needs less"


def test_ten_times_as_many_names_cost_at_most_eleven_times_as_much(stores: Callable[[int, int], Path]) -> None:
    few, many = (measured(stores(names, YEARS), LAST - pd.DateOffset(years=YEARS), 5) for names in (NAMES // 10, NAMES))
    assert many["cpu"][0] <= 11 * few["cpu"][0]


def test_a_day_costs_the_same_however_long_the_past(stores: Callable[[int, int], Path]) -> None:
    short, long = (measured(stores(NAMES, years), LAST, 5) for years in (5, YEARS))
    assert long["cpu"][0] <= 1.5 * short["cpu"][0]


def one_more_day(file: Path, day: pd.Timestamp) -> float:
    """Processor seconds of storing a session of every name."""
    symbols = [f"N{name:05}" for name in range(NAMES)]
    rows = pd.DataFrame({"observed": day, "known": day, "symbol": symbols, "close": 1.0, "volume": 2.0})
    begun = time.process_time()
    with Store.open(file) as store:
        assert store.append(Batch("constituents", "bars", rows, "files", "stock"), day) == NAMES
    return time.process_time() - begun


def test_storing_a_day_costs_the_same_however_long_the_past(stores: Callable[[int, int], Path]) -> None:
    days = pd.bdate_range("2025-01-01", periods=5, unit="us")
    short, long = ([one_more_day(stores(NAMES, years), day) for day in days] for years in (5, YEARS))
    print("a day stored", {"behind 5 years": np.round(sorted(short), 3).tolist(), "25": np.round(sorted(long), 3).tolist()})
    assert min(long) <= 1.5 * min(short)
