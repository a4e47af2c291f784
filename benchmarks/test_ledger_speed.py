"""The ledger at 10,000 lines: one more line, fsync and head included, and the whole chain followed."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from altrally.forecast import Driver, HorizonForecast, Score
from altrally.ledger import Ledger

LINES = 10_000
BLOCKS = ("breadth", "breakout", "volume", "liquidity", "ladder", "crypto_state")
NUMBERS = count()


def append(ledger: Ledger) -> None:
    """A forecast as large as a real one, of a day that has none yet."""
    as_of = pd.Timestamp("2000-01-01") + pd.Timedelta(days=next(NUMBERS))
    score = Score(
        as_of=f"{as_of:%Y-%m-%d}",
        market="files",
        snapshot="64acf7a19a56f8ff",
        model={"name": "hazard", "version": "8", "run_id": "1174ddf094e24f0e8cd7fa5cc302f42a"},
        outcome={"kind": "first_passage", "threshold": 0.3},
        horizons=[HorizonForecast(days, 0.5208333333333334, 0.28125, 0.6484375, 0.3229166666666667) for days in (30, 60, 90)],
        skill={"shown": False},
        drivers=[Driver(block, 0.3404056705822746) for block in BLOCKS],
        neutral=[],
        in_sample=False,
        freshness=[],
    )
    inputs = dict.fromkeys(BLOCKS, 0.7780162980216298)
    ledger.append_score(score, inputs=inputs, issued_at=as_of + pd.Timedelta(days=1), code_version="0.1.0")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of 10,000 lines."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with Ledger.open(path) as ledger:
        for _ in range(LINES):
            append(ledger)
    return path


@pytest.mark.benchmark(group="ledger of 10,000 lines")
def test_append(benchmark: Callable[..., Any], full: Path) -> None:
    with Ledger.open(full) as ledger:
        benchmark(append, ledger)


@pytest.mark.benchmark(group="ledger of 10,000 lines")
def test_verify(benchmark: Callable[..., Any], full: Path) -> None:
    with Ledger.open(full) as ledger:
        assert benchmark(ledger.verify).lines >= LINES
