"""The past doesn't change when the future arrives: what was known by the end of a day decides its score.

That no single feature looks ahead is asked in test_leakcheck.
"""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from altrally.forecast import inputs_known
from features.build import COMPOSITE_LOOKBACK, build, compute, load, matrix
from features.composites import composites
from features.registry import FEATURES
from sources.series import Series
from sources.store import Store

KINDS = ("removed", "multiplied", "shuffled", "missing")
DAYS = pd.date_range("2018-01-01", "2021-01-05", unit="us", name="day")
CUTS_A_KIND = 50
SCORED_DAYS = 10


@pytest.fixture(scope="module")
def market(small_home: Path) -> Path:
    """The store of a small simulated market."""
    return small_home / "store.duckdb"


@pytest.fixture(scope="module")
def truth(market: Path) -> pd.DataFrame:
    """Every feature as it is."""
    with Store.open(market, read_only=True) as store:
        return compute(FEATURES.values(), load(store, FEATURES.values(), DAYS[-1], DAYS[0]), DAYS)


def in_place(frame: pd.DataFrame, later: np.ndarray, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    """A copy whose `later` rows hold other values."""
    changed = frame.copy()
    cells = changed.iloc[later].to_numpy(dtype=float)
    changed.iloc[later] = {"multiplied": cells * 1000, "shuffled": rng.permutation(cells), "missing": np.full(cells.shape, np.nan)}[
        kind
    ]
    return changed


def cuts(seed: int, count: int) -> list[pd.Timestamp]:
    """Random days, the last of them left out so that something is known later."""
    return sorted(pd.Timestamp(day) for day in np.random.default_rng(seed).choice(DAYS[90:-30], count, replace=False))


def test_every_feature_says_something_in_this_market(truth: pd.DataFrame) -> None:
    assert list(truth) == list(FEATURES)
    assert truth.columns[truth.loc[: DAYS[400]].isna().all()].empty
    assert composites(truth, FEATURES.values()).notna().any().all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_composite_changes_when_the_future_does(truth: pd.DataFrame, kind: str) -> None:
    whole = composites(truth, FEATURES.values())
    for seed, cut in enumerate(cuts(KINDS.index(kind), CUTS_A_KIND)):
        later, rng = truth.index > cut, np.random.default_rng(seed)
        other = truth[~later] if kind == "removed" else in_place(truth, later, kind, rng)
        pd.testing.assert_frame_equal(composites(other, FEATURES.values()).loc[:cut], whole.loc[:cut], check_exact=True)


def poison_store(file: Path, cut: pd.Timestamp, kind: str) -> None:
    """Spoil every stored row that became known after `cut`, behind the store's back."""
    tables = {
        "observations": ("series", ["value"]),
        "bars": ("symbol_id", ["open", "high", "low", "close", "adj_close", "volume", "market_cap"]),
    }
    with duckdb.connect(str(file)) as connection:
        for table, (key, columns) in tables.items():
            connection.execute(spoil(table, key, columns, kind), {"cut": cut.date()})


def spoil(table: str, key: str, columns: list[str], kind: str) -> str:
    """SQL that spoils the later rows of a table."""
    if kind == "removed":
        return f"DELETE FROM {table} WHERE known > $cut"
    if kind == "shuffled":
        ordered = ", ".join(
            f"row_number() OVER (PARTITION BY {key} ORDER BY {by}) AS {name}" for name, by in (("a", "rowid"), ("b", "hash(rowid)"))
        )
        return f"""UPDATE {table} SET {", ".join(f"{name} = other.{name}" for name in columns)}
            FROM (SELECT rowid AS row, {key}, {ordered} FROM {table} WHERE known > $cut) AS mine
            JOIN (SELECT *, {ordered} FROM {table} WHERE known > $cut) AS other ON mine.{key} = other.{key} AND mine.a = other.b
            WHERE {table}.rowid = mine.row"""
    new = {"multiplied": "{0} * 1000", "missing": "NULL"}[kind]
    return f"UPDATE {table} SET {', '.join(f'{name} = {new.format(name)}' for name in columns)} WHERE known > $cut"


def require_same_inputs(market: Path, folder: Path, day: pd.Timestamp, kind: str) -> None:
    """What a score reads at the end of `day` is the same bit for bit, whatever was stored later."""
    spoilt_file = folder / "store.duckdb"
    shutil.copy(market, spoilt_file)
    poison_store(spoilt_file, day, kind)
    with Store.open(market, read_only=True) as store, Store.open(spoilt_file, read_only=True) as other:
        known, again = inputs_known(store, day), inputs_known(other, day)
    pd.testing.assert_frame_equal(known.row.X, again.row.X, check_exact=True)
    pd.testing.assert_frame_equal(known.row.neutral, again.row.neutral)
    assert (known.snapshot, known.freshness) == (again.snapshot, again.freshness)
    assert known.row.X.notna().to_numpy().mean() > 0.9


@pytest.mark.parametrize(("day", "kind"), [(day, KINDS[number % 4]) for number, day in enumerate(cuts(7, SCORED_DAYS))])
def test_no_score_changes_when_the_future_does(market: Path, tmp_path: Path, day: pd.Timestamp, kind: str) -> None:
    require_same_inputs(market, tmp_path, day, kind)


@pytest.mark.long
def test_no_score_of_200_days_changes_when_the_future_does(market: Path, tmp_path: Path) -> None:
    for number, day in enumerate(cuts(8, 200)):
        require_same_inputs(market, tmp_path, day, KINDS[number % 4])


def test_a_score_that_knows_values_before_their_release_is_caught(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, early = Store.read, pd.Timedelta(days=30)

    def hasty(self: Store, series: Series, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.DataFrame:
        rows = read(self, series, as_of + early, start)
        return rows.assign(known=rows["known"] - early)

    monkeypatch.setattr(Store, "read", hasty)
    with pytest.raises(AssertionError):
        require_same_inputs(market, tmp_path, pd.Timestamp("2020-06-03"), "removed")


def test_a_day_built_alone_is_the_day_of_a_long_build(simulated_home: Path) -> None:
    """Running sums that begin on another day differ in their last bits; no more."""
    days = pd.DatetimeIndex(["2019-03-10", "2021-07-04", "2024-12-29"])
    with Store.open(simulated_home / "store.duckdb", read_only=True) as store:
        long = matrix(build(store, days[-1], start=days[0] - COMPOSITE_LOOKBACK), days)
        for day in days:
            alone = matrix(build(store, day, start=day - COMPOSITE_LOOKBACK), pd.DatetimeIndex([day]))
            pd.testing.assert_frame_equal(alone.X, long.X.loc[[day]], rtol=0, atol=1e-9, check_freq=False)
            pd.testing.assert_frame_equal(alone.neutral, long.neutral.loc[[day]], check_freq=False)
