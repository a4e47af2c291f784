"""Our kernels beside what a user would write instead, in one run: `make bench`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import CircularBlockBootstrap

from evaluation.bootstrap import circular_blocks, random_length_blocks
from features.breadth import above_mean
from sources.batches import Batch
from sources.series import STOCK_PRICE
from sources.store import Store

NAMES, SESSIONS = 1_000, 2_500
DRAWS, ROWS, BLOCK = 10_000, 356, 9


@pytest.fixture(scope="module")
def price() -> pd.DataFrame:
    """Walks of small caps: sessions × names, some of them missing at first."""
    rng = np.random.default_rng(1)
    days = pd.bdate_range("2010-01-01", periods=SESSIONS, name="observed")
    walks = pd.DataFrame(np.exp(rng.normal(0, 0.02, (SESSIONS, NAMES)).cumsum(axis=0)), days, [f"N{n:04}" for n in range(NAMES)])
    return walks.where(np.arange(SESSIONS)[:, None] >= rng.integers(0, 500, NAMES))


@pytest.fixture(scope="module")
def stored(price: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store that holds the same walks."""
    rows = price.melt(var_name="symbol", value_name="close", ignore_index=False).dropna().reset_index()
    file = tmp_path_factory.mktemp("bench") / "store.duckdb"
    with Store.open(file) as store:
        store.claim_market("files")
        store.append(Batch("stocks", "bars", rows.assign(known=rows["observed"]), "files", "stock"), pd.Timestamp("2021-01-01"))
    return file


@pytest.mark.benchmark(group="share above the 200-session mean")
@pytest.mark.parametrize("how", ["ours", "pandas"])
def test_breadth(benchmark: Callable[..., Any], price: pd.DataFrame, how: str) -> None:
    def plain() -> pd.Series:
        mean = price.rolling(200, min_periods=150).mean().where(price.notna())
        known = mean.notna().sum(axis=1)
        return ((price > mean).sum(axis=1) / known).where(known >= 5)

    result = benchmark(above_mean, price, 200) if how == "ours" else benchmark(plain)
    np.testing.assert_allclose(result.dropna(), plain().dropna(), atol=1e-12)


@pytest.mark.benchmark(group="stored rows to days × symbols")
@pytest.mark.parametrize("how", ["ours", "pandas"])
def test_panel(benchmark: Callable[..., Any], stored: Path, price: pd.DataFrame, how: str) -> None:
    query = "SELECT symbol, observed, close FROM bars JOIN symbols ON id = symbol_id WHERE close IS NOT NULL"

    def ours() -> pd.DataFrame:
        with Store.open(stored, read_only=True) as store:
            return store.read_panel(STOCK_PRICE, pd.Timestamp("2030-01-01"))

    def pivot() -> pd.DataFrame:
        with duckdb.connect(stored, read_only=True) as connection:
            rows = connection.sql(query).df()
        return rows.pivot(index="observed", columns="symbol", values="close")  # noqa: PD010  (pivot_table is slower still)

    np.testing.assert_array_equal(benchmark(ours if how == "ours" else pivot), price.dropna(how="all"))


@pytest.mark.benchmark(group="10,000 circular block resamples of a skill score")
@pytest.mark.parametrize("how", ["ours", "stationary, ours", "arch"])
def test_bootstrap(benchmark: Callable[..., Any], how: str) -> None:
    rng = np.random.default_rng(2)
    loss, reference = rng.random(ROWS), 0.5 + rng.random(ROWS)

    def ours(kind: Callable[..., Callable[[np.ndarray], np.ndarray]]) -> np.ndarray:
        sums = kind(ROWS, BLOCK, DRAWS, 3)
        return 1 - sums(loss) / sums(reference)

    def arch() -> np.ndarray:
        bootstrap = CircularBlockBootstrap(BLOCK, loss, reference, seed=3)
        return bootstrap.apply(lambda mine, theirs: np.array([1 - mine.sum() / theirs.sum()]), DRAWS)[:, 0]

    jobs = {"ours": partial(ours, circular_blocks), "stationary, ours": partial(ours, random_length_blocks), "arch": arch}
    assert benchmark(jobs[how]).std() == pytest.approx(ours(circular_blocks).std(), rel=0.15)
