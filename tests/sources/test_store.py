"""Laws of the store: nothing stored is ever altered, and a day sees only what was known at its end."""

import multiprocessing
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from altrally.repair import repair
from core.errors import BadInput, Damaged, MissingData, OtherVersion, StoreUnusable
from core.home import Home
from sources.batches import Batch
from sources.database import clear_errors
from sources.series import (
    BTC,
    COIN_PRICE,
    ETH,
    FED_ASSETS,
    FINANCIAL_CONDITIONS,
    FUND_PRICE,
    HY_SPREAD,
    IWM,
    IWM_CLOSE,
    IWM_VOLUME,
    RUT,
    STOCK_PRICE,
    TREASURY_ACCOUNT,
)
from sources.store import Store

DAY = pd.Timestamp
FETCHED = DAY("2020-02-01 09:30")
LATER = DAY("2020-03-01 09:30")
FAR = DAY("2030-01-01")


def days(*texts: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(texts).as_unit("us")


def funds(close: tuple[float, ...] = (100.0, 101.0, 50.0), **columns: object) -> Batch:
    """IWM on two days, IJR on the second."""
    observed = days("2020-01-01", "2020-01-02", "2020-01-02")
    frame = pd.DataFrame({"symbol": ["IWM", "IWM", "IJR"], "observed": observed, "known": observed, "adj_close": close, **columns})
    return Batch("prices", "bars", frame, "files", "fund")


def assets(value: tuple[float, ...] = (4.0, 5.0), source: str = "files") -> Batch:
    frame = pd.DataFrame(
        {"series": ["WALCL"] * 2, "observed": days("2020-01-01", "2020-01-08"), "known": days("2020-01-03", "2020-01-10")}
    )
    return Batch("fred", "observations", frame.assign(value=value), source)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as opened:
        opened.claim_market("files")
        yield opened


def test_appending_twice_stores_once(store: Store) -> None:
    assert [store.append(batch, FETCHED) for batch in (funds(), assets())] == [3, 2]
    before = store.snapshot(FAR)
    assert [store.append(batch, LATER) for batch in (funds(), assets())] == [0, 0]
    assert store.snapshot(FAR) == before


def test_a_restated_value_becomes_known_on_the_day_it_was_fetched(store: Store) -> None:
    store.append(funds(), FETCHED)
    store.append(assets(), FETCHED)
    assert store.append(funds((100.0, 99.0, 50.0)), LATER) == 1
    assert store.append(assets((4.0, 6.0)), LATER) == 1
    rows = store.read(IWM, FAR)
    assert rows["value"].tolist() == [100.0, 101.0, 99.0]
    assert rows["known"].tolist() == [DAY("2020-01-01"), DAY("2020-01-02"), DAY("2020-03-01")]
    assert store.read(FED_ASSETS, FAR)["value"].tolist() == [4.0, 5.0, 6.0]


def test_reading_as_of_a_day_never_returns_what_was_known_later(store: Store) -> None:
    store.append(funds(), FETCHED)
    store.append(funds((100.0, 99.0, 50.0)), LATER)
    eve, day = DAY("2020-02-29"), DAY("2020-03-01")
    assert store.read(IWM, eve)["value"].tolist() == [100.0, 101.0]
    assert store.read_panel(FUND_PRICE, eve)["IWM"].tolist() == [100.0, 101.0]
    assert store.read_panel(FUND_PRICE, day)["IWM"].tolist() == [100.0, 99.0]
    assert store.read_panel(FUND_PRICE, DAY("2020-01-01")).columns.tolist() == ["IWM"]
    assert store.read(IWM, DAY("2019-12-31")).empty


def test_release_lag_hides_the_newest_value(store: Store) -> None:
    store.append(assets(), FETCHED)
    assert store.read(FED_ASSETS, DAY("2020-01-09"))["value"].tolist() == [4.0]
    assert store.read(FED_ASSETS, DAY("2020-01-10"))["value"].tolist() == [4.0, 5.0]


def test_a_value_restated_twice_and_back_keeps_every_version(store: Store) -> None:
    for close, when in ((101.0, "2020-02-01"), (99.0, "2020-03-01"), (101.0, "2020-04-01")):
        store.append(funds((100.0, close, 50.0)), DAY(when))
    assert store.read(IWM, FAR)["value"].tolist() == [100.0, 101.0, 99.0, 101.0]
    assert [store.read_panel(FUND_PRICE, DAY(day)).loc["2020-01-02", "IWM"] for day in ("2020-03-31", "2020-04-01")] == [
        99.0,
        101.0,
    ]


def test_append_never_alters_older_lines(store: Store) -> None:
    store.append(funds(), FETCHED)
    store.append(assets(), FETCHED)
    older = lines(store)
    store.append(funds((1.0, 2.0, 3.0)), LATER)
    store.append(assets((7.0, 8.0)), LATER)
    assert older < lines(store)


def lines(store: Store) -> set[tuple[object, ...]]:
    return {row for table in ("bars", "observations") for row in store._run(f"SELECT * FROM {table}").fetchall()}


def test_an_absent_column_leaves_what_is_stored(store: Store) -> None:
    store.append(funds(volume=[10.0, 20.0, 30.0]), FETCHED)
    assert store.append(funds(), LATER) == 0
    assert store.append(funds((100.0, 99.0, 50.0)), LATER) == 1
    assert store.read(IWM_VOLUME, FAR)["value"].tolist() == [10.0, 20.0, 20.0]


def test_a_missing_value_withdraws_what_is_stored_from_that_day_on(store: Store) -> None:
    store.append(funds(), FETCHED)
    assert store.append(funds((100.0, float("nan"), 50.0)), LATER) == 1
    assert store.read_panel(FUND_PRICE, DAY("2020-02-29"))["IWM"].tolist() == [100.0, 101.0]
    assert store.read_panel(FUND_PRICE, FAR)["IWM"].isna().tolist() == [False, True]
    assert store.read(IWM, FAR)["value"].isna().tolist() == [False, False, True]


def test_snapshot_ignores_order_time_of_fetching_and_provider(tmp_path: Path) -> None:
    names = []
    for number, (batches, fetched_at) in enumerate(
        [((funds(), assets()), FETCHED), ((assets(source="fred"), funds()), LATER), (one_by_one(funds()), FETCHED)]
    ):
        with Store.open(tmp_path / f"{number}.duckdb") as store:
            store.claim_market("files")
            for batch in batches:
                store.append(batch, fetched_at)
            if number == 2:
                store.append(assets(), LATER)
            names.append(store.snapshot(FAR))
    assert len(set(names)) == 1
    assert len(names[0]) == 16
    int(names[0], 16)


def one_by_one(batch: Batch) -> list[Batch]:
    """Last row first, each alone."""
    rows = [batch.frame.iloc[[n]] for n in reversed(range(len(batch.frame)))]
    return [Batch(batch.label, batch.table, row, batch.source, batch.universe) for row in rows]


def test_snapshot_changes_with_content_and_not_with_what_is_known_later(store: Store) -> None:
    store.append(funds(), FETCHED)
    store.append(assets(), FETCHED)
    early, late = store.snapshot(DAY("2020-02-15")), store.snapshot(FAR)
    store.append(funds((100.0, 101.0, 50.5)), LATER)
    assert store.snapshot(DAY("2020-02-15")) == early
    assert store.snapshot(FAR) != late


@pytest.mark.parametrize(
    "other",
    [
        funds((100.0, 101.0, 50.0000001)),
        funds(volume=[1.0, 2.0, 3.0]),
        Batch("x", "bars", funds().frame.assign(known=days("2020-01-01", "2020-01-02", "2020-01-03")), "files", "fund"),
        Batch("x", "bars", funds().frame.assign(symbol=["IWM", "IWM", "KRE"]), "files", "fund"),
        Batch("x", "bars", funds().frame.rename(columns={"adj_close": "volume"}), "files", "fund"),
        Batch("x", "bars", funds().frame.assign(asset_class="coin"), "files", "fund"),
        Batch("x", "bars", funds().frame, "files", "stock"),
    ],
    ids=["value", "field added", "known", "symbol", "field moved", "class", "universe"],
)
def test_any_difference_of_content_changes_the_snapshot(tmp_path: Path, other: Batch) -> None:
    names = []
    for number, batch in enumerate((funds(), other)):
        with Store.open(tmp_path / f"{number}.duckdb") as store:
            store.append(batch, FETCHED)
            names.append(store.snapshot(FAR))
    assert names[0] != names[1]


def test_vintages_are_read_as_they_were_published(store: Store) -> None:
    frame = pd.DataFrame(
        {
            "series": ["NFCI"] * 3,
            "observed": days("2020-01-03", "2020-01-03", "2020-01-10"),
            "known": days("2020-01-08", "2020-01-15", "2020-01-15"),
            "value": [-0.5, -0.4, -0.3],
        }
    )
    final = Batch("fred", "observations", frame.iloc[[2]].assign(known=days("2020-01-16"), value=-9.0), "files")
    store.append(final, FETCHED)
    assert not store.has_vintages(FINANCIAL_CONDITIONS)
    vintages = Batch("vintages", "observations", frame, "alfred")
    assert [store.append(vintages, FETCHED), store.append(vintages, LATER)] == [3, 0]
    assert store.has_vintages(FINANCIAL_CONDITIONS)
    assert store.read(FINANCIAL_CONDITIONS, DAY("2020-01-14"))["value"].tolist() == [-0.5]
    assert store.read(FINANCIAL_CONDITIONS, FAR)["value"].tolist() == [-0.5, -0.4, -0.3]
    assert not store.has_vintages(IWM)


def test_panels_are_sorted_filtered_and_missing_where_nothing_was_said(store: Store) -> None:
    observed = days("2020-01-02", "2020-01-01", "2020-01-02", "2020-01-01")
    frame = pd.DataFrame(
        {
            "symbol": pd.Categorical(["zcash", "zcash", "aave", "tether"]),
            "observed": observed,
            "known": observed + pd.Timedelta(days=1),
            "close": [2.0, 1.0, 3.0, 1.0],
            "asset_class": ["coin", "coin", "coin", "stablecoin"],
        }
    )
    store.append(Batch("crypto", "bars", frame, "files", "coin"), FETCHED)
    store.append(funds(), FETCHED)
    panel = store.read_panel(COIN_PRICE, FAR)
    expected = pd.DataFrame({"aave": [float("nan"), 3.0], "zcash": [1.0, 2.0]}, index=days("2020-01-01", "2020-01-02"))
    pd.testing.assert_frame_equal(panel, expected, check_names=False, check_freq=False)
    assert store.read_panel(COIN_PRICE, FAR, start=DAY("2020-01-02")).index.tolist() == [DAY("2020-01-02")]
    assert store.asset_classes("coin") == {"aave": "coin", "tether": "stablecoin", "zcash": "coin"}
    assert store.read_panel(STOCK_PRICE, FAR).empty
    assert isinstance(store.read_panel(STOCK_PRICE, FAR).index, pd.DatetimeIndex)


def test_a_symbol_that_comes_later_finds_its_place(store: Store) -> None:
    store.append(funds(), FETCHED)
    store.append(Batch("x", "bars", funds().frame, "files", "stock"), FETCHED)
    store.append(Batch("x", "bars", funds().frame.iloc[[2]].assign(symbol="KRE", adj_close=7.0), "files", "fund"), LATER)
    panel = store.read_panel(FUND_PRICE, FAR)
    assert panel.loc["2020-01-02"].to_dict() == {"IJR": 50.0, "IWM": 101.0, "KRE": 7.0}


def test_two_rows_for_one_day_are_refused_and_nothing_of_the_batch_stays(store: Store) -> None:
    store.append(assets(), FETCHED)
    before = store.snapshot(FAR)
    twice = Batch("prices", "bars", funds().frame.assign(symbol="IWM"), "files", "fund")
    with pytest.raises(BadInput, match="IWM has two rows for 2020-01-02"):
        store.append(twice, FETCHED)
    assert store.snapshot(FAR) == before
    assert store.asset_classes("fund") == {}
    assert store.append(funds(), FETCHED) == 3


def test_one_home_holds_one_market(store: Store) -> None:
    assert store.market == "files"
    store.claim_market("files")
    with pytest.raises(StoreUnusable, match="holds the 'files' market"):
        store.claim_market("live")
    with pytest.raises(BadInput, match="No market 'paper'"):
        store.claim_market("paper")
    assert store.market == "files"


def test_inventory_tells_what_is_there_and_what_is_not(store: Store) -> None:
    store.append(funds(close=(1.0, float("nan"), 3.0)), FETCHED)
    store.append(assets(), FETCHED)
    rows = store.inventory(FAR).set_index("name")
    assert rows.loc["WALCL", ["first", "last", "known_last", "rows"]].tolist() == [
        DAY("2020-01-01"),
        DAY("2020-01-08"),
        DAY("2020-01-10"),
        2,
    ]
    assert rows.loc["fund price", ["rows", "symbols"]].tolist() == [2, 2]
    assert rows.loc["coin price", "rows"] == 0
    assert pd.isna(rows.loc["coin price", "last"])
    assert store.inventory(DAY("2020-01-05")).set_index("name").loc["WALCL", "rows"] == 1


def test_reading_an_empty_home_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"Nothing fetched yet .* run `altrally fetch`"):
        Store.open(tmp_path / "store.duckdb", read_only=True)
    assert not list(tmp_path.iterdir())
    Store.open(tmp_path / "store.duckdb").close()
    with pytest.raises(MissingData, match="Nothing fetched yet"):
        Store.open(tmp_path / "store.duckdb", read_only=True)


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("content", [b"date,close\n2020-01-01,1\n" * 1000, b"\0" * 20_000], ids=["text", "zeros"])
def test_a_file_that_is_no_store_is_refused_in_one_line(tmp_path: Path, content: bytes, read_only: bool) -> None:
    path = tmp_path / "store.duckdb"
    path.write_bytes(content)
    with pytest.raises(StoreUnusable, match="move it away") as caught:
        Store.open(path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def flip_a_byte(path: Path) -> None:
    """One in each block of 256 KB after the three headers: some blocks hold nothing any more, and damage to them harms nobody."""
    content = bytearray(path.read_bytes())
    for place in range(3 * 4096 + 25_000, len(content), 2**18):
        content[place] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_byte])
def test_a_damaged_store_is_refused_in_one_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        store.claim_market("files")
        store.append(funds(), FETCHED)
    damage(path)
    with pytest.raises(StoreUnusable, match="move it away") as caught, Store.open(path, read_only=True) as store:
        store.read(IWM, FAR)
    assert "\n" not in str(caught.value)


def by_another_duckdb(path: Path) -> None:
    """Give a file the storage version, and the sum of its first header, that a later DuckDB would write."""
    content = bytearray(path.read_bytes())
    (version,) = struct.unpack_from("<Q", content, VERSION_AT)
    assert header_sum(content) == struct.unpack_from("<Q", content)[0], "the file is read as DuckDB writes it"
    struct.pack_into("<Q", content, VERSION_AT, version + 1_000)
    struct.pack_into("<Q", content, 0, header_sum(content))
    path.write_bytes(content)


VERSION_AT, HEADER = 12, 4096


def header_sum(content: bytes) -> int:
    """DuckDB's sum of its first header: its words of 8 bytes, multiplied and combined."""
    total = 5381
    for (word,) in struct.iter_unpack("<Q", content[8:HEADER]):
        total ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return total


def test_a_store_of_another_duckdb_is_not_damaged(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Store.open(home.store) as store:
        store.claim_market("files")
        store.append(funds(), FETCHED)
    by_another_duckdb(home.store)
    before = home.store.read_bytes()
    with pytest.raises(OtherVersion, match="was written by another version of DuckDB") as caught:
        Store.open(home.store, read_only=True)
    assert "\n" not in str(caught.value)
    assert "move it away" not in str(caught.value)
    (finding,) = repair(home)
    assert "another version of DuckDB" in finding.why
    assert finding.done.startswith("left as it is")
    assert home.store.read_bytes() == before


@pytest.mark.parametrize(
    "error",
    [
        duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block of size 256.0 KiB"),
        duckdb.IOException("IO Error: Cannot open file: Permission denied"),
        duckdb.IOException("IO Error: Could not write file: No space left on device"),
        OSError(24, "Too many open files"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_machine_lacks_is_no_damage(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(StoreUnusable, match="can't be used now") as caught, clear_errors(tmp_path / "store.duckdb"):
        raise error
    assert not isinstance(caught.value, Damaged)


def test_another_duckdb_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    duckdb.connect(str(path)).execute("CREATE TABLE theirs (a INTEGER)").close()
    with pytest.raises(StoreUnusable, match="not a store of altrally"):
        Store.open(path)


def in_another_process(task, *args: object) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=task, args=args)
    process.start()
    process.join(30)
    return process.exitcode


def opens_locked(path: Path) -> None:
    try:
        Store.open(path, read_only=True)
    except StoreUnusable as error:
        os._exit(7 if "in use by another" in str(error) and "\n" not in str(error) else 1)


def dies_while_appending(path: Path) -> None:
    with Store.open(path) as store:
        store.claim_market("files")
        store.append(assets(), FETCHED)
        with store._transaction():
            store._append_bars(funds(), FETCHED)
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_store_that_is_being_written_is_refused_in_one_line(store: Store) -> None:
    assert in_another_process(opens_locked, store.path) == 7


def test_a_killed_append_leaves_whole_batches_only(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    assert in_another_process(dies_while_appending, path) == -signal.SIGKILL
    with Store.open(path, read_only=True) as store:
        assert store.read(IWM, FAR).empty
        assert len(store.read(FED_ASSETS, FAR)) == 2
    with Store.open(path) as store:
        assert [store.append(batch, LATER) for batch in (assets(), funds())] == [0, 3]
        repeated = store.snapshot(FAR)
    with Store.open(tmp_path / "whole.duckdb") as whole:
        whole.append(assets(), FETCHED)
        whole.append(funds(), FETCHED)
        assert whole.snapshot(FAR) == repeated


@pytest.fixture(scope="module")
def market(reference_home: Path):
    with Store.open(reference_home / "store.duckdb", read_only=True) as opened:
        yield opened


@pytest.mark.reference
@pytest.mark.parametrize(
    ("series", "day", "value", "known"),
    [
        (RUT, "2021-11-08", 2442.74, "2021-11-08"),
        (IWM_CLOSE, "2020-03-18", 99.97, "2020-03-18"),
        (HY_SPREAD, "2020-03-23", 10.87, "2020-03-27"),
        (BTC, "2017-12-17", 19_141, "2017-12-18"),
        (BTC, "2021-11-08", 67_567, "2021-11-09"),
        (ETH, "2021-11-08", 4_812, "2021-11-09"),
    ],
)
def test_reference_facts_come_out(market: Store, series, day: str, value: float, known: str) -> None:
    row = market.read(series, FAR).set_index("observed").loc[day]
    assert row["value"] == pytest.approx(value, rel=5e-5)
    assert row["known"] == DAY(known)


@pytest.mark.reference
def test_the_treasury_account_peaks_in_the_last_week_of_july_2020(market: Store) -> None:
    rows = market.read(TREASURY_ACCOUNT, DAY("2021-01-01"))
    peak = rows.loc[rows["value"].idxmax()]
    assert peak["observed"] == DAY("2020-07-29")
    assert peak["value"] == pytest.approx(1.817e6, rel=5e-4)
    assert peak["known"] == DAY("2020-07-31")


@pytest.mark.reference
def test_a_window_of_all_constituents_equals_the_whole_cut_down(market: Store) -> None:
    start, as_of = DAY("2019-06-03"), DAY("2020-06-30")
    window = market.read_panel(STOCK_PRICE, as_of, start)
    whole = market.read_panel(STOCK_PRICE, DAY("2024-12-31")).loc[start:as_of].dropna(axis=1, how="all")
    pd.testing.assert_frame_equal(window, whole, check_freq=False)
