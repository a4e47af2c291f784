"""The compiled loops count what the library of reference counts, and what the plain formulas count, to a bit."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bottleneck as bn
import numba
import numpy as np
import pandas as pd
import pytest
from numba.core.caching import CacheImpl

from features import breadth, numba_kernels, transforms, volume
from features.transforms import EQUAL

DAYS = pd.bdate_range("2010-01-04", periods=700, unit="us")
FORMULAS: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.Series]] = {
    "above_50": lambda price, shares: breadth.above_mean(price, 50),
    "above_200": lambda price, shares: breadth.above_mean(price, 200),
    "highs_less_lows": lambda price, shares: breadth.highs_less_lows(price),
    "advances_less_declines": lambda price, shares: breadth.advances_less_declines(price),
    "rising_volume": volume.rising_volume,
    "surging_names": volume.surging_names,
}


def walks() -> pd.DataFrame:
    """Prices with late births, deaths, single gaps, long gaps, ties of cents and names that never move."""
    rng, (days, names) = np.random.default_rng(3), (len(DAYS), 150)
    cells = np.round(20 * np.exp(rng.normal(0, 0.02, (days, names)).cumsum(axis=0)), 1)
    row = np.arange(days)[:, None]
    cells[(row < rng.integers(0, days // 2, names)) | (row > rng.integers(days // 3, 2 * days, names))] = np.nan
    cells[rng.random(cells.shape) < 0.02] = np.nan
    cells[days // 4 : days // 2, :5] = np.nan
    cells[:, 5:10] = 7.3
    cells[:, 10] = np.nan
    return pd.DataFrame(cells, DAYS, [f"N{name}" for name in range(names)])


def volumes(price: pd.DataFrame) -> pd.DataFrame:
    """Shares traded, missing on days of their own."""
    rng = np.random.default_rng(4)
    shares = pd.DataFrame(rng.lognormal(8, 1, price.shape), price.index, price.columns)
    return shares.where(rng.random(price.shape) > 0.03)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every panel is large enough."""
    monkeypatch.setattr(transforms, "LARGE", 0)
    monkeypatch.setattr(volume, "LARGE", 0)


def arrays(*frames: pd.DataFrame) -> list[np.ndarray]:
    return [np.ascontiguousarray(frame.to_numpy().T) for frame in frames]


class TestAgainstPandas:
    @pytest.mark.parametrize(("rows", "least"), [(50, 37), (200, 150), (5, 5), (3, 1), (900, 300)])
    def test_names_above_their_mean(self, rows: int, least: int) -> None:
        price = walks()
        mean = price.rolling(rows, min_periods=least).mean().where(price.notna())
        higher, known = numba_kernels.names_above_mean(*arrays(price), rows, least, EQUAL)
        np.testing.assert_array_equal(higher, (price > mean + EQUAL * mean).sum(axis=1))
        np.testing.assert_array_equal(known, mean.notna().sum(axis=1))

    @pytest.mark.parametrize(("rows", "least"), [(252, 189), (7, 7), (2, 1), (1, 1), (900, 300)])
    def test_names_at_their_extremes(self, rows: int, least: int) -> None:
        price = walks()
        past = price.rolling(rows, min_periods=least)
        highs, lows, known = numba_kernels.names_at_extremes(*arrays(price), rows, least)
        np.testing.assert_array_equal(highs, (price >= past.max()).sum(axis=1))
        np.testing.assert_array_equal(lows, (price <= past.min()).sum(axis=1))
        np.testing.assert_array_equal(known, (past.max().notna() & price.notna()).sum(axis=1))

    def test_names_that_moved(self) -> None:
        price = walks()
        change = price.diff()
        rose, fell, known = numba_kernels.names_moved(*arrays(price))
        np.testing.assert_array_equal(rose, (change > 0).sum(axis=1))
        np.testing.assert_array_equal(fell, (change < 0).sum(axis=1))
        np.testing.assert_array_equal(known, change.notna().sum(axis=1))
        assert (rose + fell < known).any(), "some prices stand still"

    def test_names_that_surge(self) -> None:
        price = walks()
        shares = volumes(price)
        typical, change = shares.rolling(50, min_periods=38).mean().where(shares.notna()), price.diff()
        surging, known = numba_kernels.names_surging(*arrays(price, shares), 50, 38, 2.0)
        np.testing.assert_array_equal(surging, ((shares >= 2 * typical) & (change > 0)).sum(axis=1))
        np.testing.assert_array_equal(known, (typical.notna() & change.notna()).sum(axis=1))

    def test_dollars_traded(self) -> None:
        price = walks()
        shares = volumes(price)
        traded = (price * shares).where(price.diff().notna())
        rose, everything, names = numba_kernels.dollars_traded(*arrays(price, shares))
        np.testing.assert_allclose(rose, traded.where(price.diff() > 0).sum(axis=1), rtol=1e-12)
        np.testing.assert_allclose(everything, traded.sum(axis=1), rtol=1e-12)
        np.testing.assert_array_equal(names, traded.notna().sum(axis=1))

    @pytest.mark.parametrize(("rows", "least"), [(50, 37), (700, 500), (4, 2)])
    def test_a_running_mean_has_the_bits_of_bottleneck(self, rows: int, least: int) -> None:
        for values in arrays(walks())[0]:
            mean = np.empty(values.size)
            numba_kernels.running_mean(values, rows, least, mean)
            expected = np.where(np.isnan(values), np.nan, bn.move_mean(values, rows, least))
            np.testing.assert_array_equal(mean, expected)


class TestFormulas:
    @pytest.mark.parametrize("name", FORMULAS)
    @pytest.mark.parametrize(("names", "days"), [(150, 700), (20, 60), (6, 2), (140, 1)])
    def test_a_large_panel_gives_the_bits_of_a_small_one(
        self, request: pytest.FixtureRequest, name: str, names: int, days: int
    ) -> None:
        price = walks().iloc[:days, -names:]
        plain = FORMULAS[name](price, volumes(price))
        request.getfixturevalue("compiled")
        pd.testing.assert_series_equal(FORMULAS[name](price, volumes(price)), plain, check_exact=True)

    @pytest.mark.usefixtures("compiled")
    @pytest.mark.parametrize("name", FORMULAS)
    def test_two_threads_give_the_bits_of_one(self, name: str) -> None:
        price = walks()
        shares = volumes(price)
        alone = FORMULAS[name](price, shares)
        with ThreadPoolExecutor(2) as pool:
            for beside in pool.map(lambda _: FORMULAS[name](price, shares), range(8)):
                pd.testing.assert_series_equal(beside, alone, check_exact=True)

    @pytest.mark.usefixtures("compiled")
    @pytest.mark.parametrize("name", FORMULAS)
    def test_the_past_does_not_change_when_the_future_arrives(self, name: str) -> None:
        price = walks()
        shares = volumes(price)
        whole = FORMULAS[name](price, shares)
        for days in (1, 51, 252, 253, 505):
            first = FORMULAS[name](price.iloc[:days], shares.iloc[:days])
            pd.testing.assert_series_equal(first, whole.iloc[:days], check_exact=True, check_freq=False)

    @pytest.mark.usefixtures("compiled")
    @pytest.mark.parametrize("name", FORMULAS)
    def test_the_order_of_days_in_memory_is_no_matter(self, name: str) -> None:
        price = walks()
        turned = pd.DataFrame(np.asfortranarray(price.to_numpy()), price.index, price.columns, copy=False)
        expected = FORMULAS[name](price, volumes(price))
        pd.testing.assert_series_equal(FORMULAS[name](turned, volumes(price)), expected, check_exact=True)


class TestKeeping:
    def test_where_machine_code_cannot_be_kept_it_is_made_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CacheImpl, "_locator_classes", [])
        moved = numba_kernels.compiled(numba_kernels.COUNTS(numba_kernels.PANEL))(numba_kernels.names_moved.py_func)
        assert not moved.stats.cache_path
        np.testing.assert_array_equal(moved(*arrays(walks())), numba_kernels.names_moved(*arrays(walks())))

    def test_what_is_kept_and_damaged_is_made_again(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
        source = numba_kernels.names_moved.py_func
        numba_kernels.compiled(numba_kernels.COUNTS(numba_kernels.PANEL))(source)
        kept = [file for file in tmp_path.rglob("*") if file.is_file()]
        assert {file.suffix for file in kept} == {".nbi", ".nbc"}
        for file in kept:
            file.write_bytes(file.read_bytes()[:-40])
            moved = numba_kernels.compiled(numba_kernels.COUNTS(numba_kernels.PANEL))(source)
            np.testing.assert_array_equal(moved(*arrays(walks())), numba_kernels.names_moved(*arrays(walks())))

    def test_a_small_panel_loads_no_compiler(self) -> None:
        asked = "import sys, features.build; sys.exit('numba' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
