"""A folder of files is read as documented, or refused in one clear line that leaves the store as it was."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from core.errors import AltrallyError, BadInput, FetchFailed, StoreUnusable, UnknownName
from core.progress import Progress, silent
from sources.batches import Batch, Deliveries, Skipped
from sources.fetch import PROVIDERS, FetchReport, fetch
from sources.series import COIN_PRICE, FED_ASSETS, FUND_PRICE, STOCK_PRICE
from sources.store import Store

TODAY = pd.Timestamp("2020-06-01 12:00")
FAR = pd.Timestamp("2030-01-01")
PRICES = "date,ticker,open,high,low,close,adj_close,volume\n"
GOOD_PRICES = PRICES + "2020-01-01,IWM,1,2,0.5,1.5,1.4,100\n2020-01-02,IWM,1,2,0.5,1.6,1.5,\n2020-01-02,IJR,,,,3,3,0\n"
GOOD_FRED = "date,series,value\n2020-01-01,WALCL,4000000\n2020-01-08,WALCL,4100000\n2020-01-08,T10Y2Y,\n"
GOOD_CRYPTO = (
    "date,asset,symbol,asset_class,price,market_cap,volume,mcap_suspect,bad_tick\n"
    "2020-01-01,aave,AAVE,coin,1.0,10,5,False,False\n2020-01-02,aave,AAVE,coin,2.0,20,6,True,False\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "drop"
    place.mkdir()
    for name, text in {"prices": GOOD_PRICES, "fred": GOOD_FRED, "crypto": GOOD_CRYPTO}.items():
        (place / f"{name}.csv").write_text(text)
    return place


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def fetched(store: Store, folder: Path | None, today: pd.Timestamp = TODAY) -> FetchReport:
    return fetch(store, "files", path=folder, today=today, progress=silent)


def test_a_folder_is_fetched_and_told_line_by_line(store: Store, folder: Path) -> None:
    report = fetched(store, folder)
    assert [tuple(line)[:4] for line in report.lines] == [
        ("prices", 3, 3, {"zero or negative": 1}),
        ("fred", 2, 2, {"missing": 1}),
        ("crypto", 2, 2, {"suspect market cap": 1}),
    ]
    assert report.warnings == []
    assert store.market == "files"
    assert store.read(FED_ASSETS, FAR)["value"].tolist() == [4e6, 4.1e6]
    assert store.read_panel(COIN_PRICE, FAR)["aave"].tolist() == [1.0, 2.0]


def test_fetching_again_stores_nothing_and_keeps_the_snapshot(store: Store, folder: Path) -> None:
    fetched(store, folder)
    before = store.snapshot(FAR)
    again = fetched(store, folder, TODAY + pd.Timedelta(days=9))
    assert [line.new for line in again.lines] == [0, 0, 0]
    assert store.snapshot(FAR) == before


def test_a_changed_cell_is_known_from_the_day_of_the_fetch(store: Store, folder: Path) -> None:
    fetched(store, folder)
    before = store.snapshot(TODAY)
    (folder / "prices.csv").write_text(GOOD_PRICES.replace("1.6,1.5", "1.6,1.7"))
    later = TODAY + pd.Timedelta(days=2)
    assert [line.new for line in fetched(store, folder, later).lines] == [1, 0, 0]
    assert store.snapshot(TODAY) == before
    assert store.read_panel(FUND_PRICE, TODAY).loc["2020-01-02", "IWM"] == 1.5
    assert store.read_panel(FUND_PRICE, later).loc["2020-01-02", "IWM"] == 1.7


def test_csv_and_parquet_say_the_same(tmp_path: Path, folder: Path) -> None:
    parquet = tmp_path / "parquet"
    parquet.mkdir()
    for file in folder.iterdir():
        frame = pd.read_csv(file, parse_dates=["date"])
        frame = frame.astype({name: "category" for name in frame if frame[name].dtype == "str"})
        frame.set_index("date").to_parquet(parquet / f"{file.stem}.parquet")
    names = []
    for source in (folder, parquet):
        with Store.open(tmp_path / f"{source.name}.duckdb") as store:
            fetched(store, source)
            names.append(store.snapshot(FAR))
    assert names[0] == names[1]


def test_a_ticker_may_be_called_na_or_true(store: Store, tmp_path: Path) -> None:
    (tmp_path / "constituents.csv").write_text(
        "date,ticker,close,volume,delisted\n2020-01-01,NA,1,,false\n2020-01-01,TRUE,2,5,true\n2020-01-01,007,3,5,0\n"
    )
    fetched(store, tmp_path)
    assert store.read_panel(STOCK_PRICE, FAR).iloc[0].to_dict() == {"007": 3.0, "NA": 1.0, "TRUE": 2.0}
    assert store.asset_classes("stock") == {"007": "survivor", "NA": "survivor", "TRUE": "delisted"}


def test_days_may_carry_a_zone_or_be_plain_dates(store: Store, tmp_path: Path) -> None:
    (tmp_path / "stablecoins.csv").write_text("date,total_usd_best\n2020-01-01T00:00:00Z,5\n2020-01-02T18:30:00-05:00,6\n")
    zoned = pd.DataFrame({"date": [pd.Timestamp("2020-01-01").date()], "series": ["WALCL"], "value": [1]})
    zoned.to_parquet(tmp_path / "fred.parquet")
    fetched(store, tmp_path)
    assert store.extent(FAR).set_index("code")["last"].to_dict() == {
        "WALCL": pd.Timestamp("2020-01-01"),
        "stablecoin_supply": pd.Timestamp("2020-01-02"),
    }


def test_a_misspelt_file_is_pointed_out_and_the_rest_is_read(store: Store, folder: Path) -> None:
    (folder / "fred.csv").rename(folder / "freds.csv")
    (folder / "notes.csv").write_text("a\n1\n")
    report = fetched(store, folder)
    assert [line.label for line in report.lines] == ["prices", "fred", "crypto"]
    assert report.warnings == ["freds.csv: read as fred."]


@pytest.mark.parametrize("names", [("fred2", "crypto_old"), ("freds", "fredd")], ids=" ".join)
def test_a_file_whose_name_may_mean_something_else_is_not_read(store: Store, folder: Path, names: tuple[str, str]) -> None:
    shutil.copy(folder / "fred.csv", folder / f"{names[0]}.csv")
    (folder / "fred.csv").rename(folder / f"{names[1]}.csv")
    report = fetched(store, folder)
    assert [line.label for line in report.lines] == ["prices", "crypto"]
    assert all("not read" in warning for warning in report.warnings)
    assert len(report.warnings) == 2


def test_usual_names_of_tickers_coins_and_columns_are_understood_and_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text("Date;Symbol;Close;Adj Close\n2020-01-02;rut;1,5;1,5\n2020-01-02;DXY;97,1;97,1\n")
    (tmp_path / "crypto.csv").write_text(
        "day,coin,asset_class,close\n2020-01-01,BTC-USD,btc,7000\n2020-01-01,ETH,coin,130\n2020-01-01,aave,coin,1\n"
    )
    report = fetched(store, tmp_path)
    assert store.read_panel(COIN_PRICE, FAR).columns.tolist() == ["aave", "ethereum"]
    assert {"^RUT", "DX-Y.NYB"} <= set(store.extent(FAR)["code"])
    said = " ".join(report.warnings)
    for words in ("'Symbol' is read as 'ticker'", "'rut' as '^RUT'", "decimal comma", "'coin' is read as 'asset'", "'bitcoin'"):
        assert words in said


def test_a_ticker_that_looks_misspelt_is_stored_and_said(store: Store, folder: Path) -> None:
    (folder / "prices.csv").write_text(GOOD_PRICES.replace(",IWM,", ",IWMM,"))
    assert "prices.csv: 'IWMM' is stored, but no feature reads it; did you mean 'IWM'?" in fetched(store, folder).warnings


def test_two_names_of_one_column_are_not_chosen_between(store: Store, tmp_path: Path) -> None:
    (tmp_path / "crypto.csv").write_text("date,coin,symbol,asset_class,price\n2020-01-01,aave,AAVE,coin,1\n")
    with pytest.raises(BadInput, match="has no column 'asset'"):
        fetched(store, tmp_path)


def test_a_file_that_nothing_parts_says_what_it_looks_like(store: Store, tmp_path: Path) -> None:
    (tmp_path / "fred.csv").write_text("date series value\n2020-01-01 WALCL 4000000\n")
    with pytest.raises(BadInput, match="'date series value', isn't parted by a comma, a semicolon"):
        fetched(store, tmp_path)


BROKEN: dict[str, tuple[str, str | bytes, str]] = {
    "negative": (
        "prices.csv",
        PRICES + "2020-01-01,IWM,1,2,1,-3,1,1\n",
        "column 'close' holds -3.0 in data row 1; .* of at least 0",
    ),
    "text in a number": ("prices.csv", PRICES + "2020-01-01,IWM,1,2,1,abc,1,1\n", "column 'close' holds 'abc' .* must be a number"),
    "infinite": ("prices.csv", PRICES + "2020-01-01,IWM,1,2,1,inf,1,1\n", "column 'close' holds inf .* finite"),
    "missing column": ("prices.csv", "date,ticker,close\n2020-01-01,IWM,1\n", "has no column 'adj_close'; it needs date, ticker"),
    "bad day": ("prices.csv", PRICES + "01/31/2020,IWM,1,2,1,1,1,1\n", "column 'date' holds '01/31/2020' .* YYYY-MM-DD"),
    "no day": ("prices.csv", PRICES + ",IWM,1,2,1,1,1,1\n", "column 'date' holds nothing in data row 1"),
    "future": ("prices.csv", PRICES + "2020-06-02,IWM,1,2,1,1,1,1\n", "'date' holds 2020-06-02 .* from 1900-01-01 to 2020-06-01"),
    "no name": ("prices.csv", PRICES + "2020-01-01,,1,2,1,1,1,1\n", "column 'ticker' holds nothing"),
    "twice": (
        "prices.csv",
        PRICES + 2 * "2020-01-01,IWM,1,2,1,1,1,1\n",
        "hold IWM, 2020-01-01 twice .data row 2.; keep one",
    ),
    "no rows": ("prices.csv", PRICES, "has no rows"),
    "empty": ("prices.csv", "", "can't be read as CSV"),
    "wide rows": ("prices.csv", PRICES + "2020-01-01,IWM,1,2,1,1,1,1,9\n", "more cells than its first line has names"),
    "ragged": ("prices.csv", PRICES + "1,2,3,4,5,6,7,8,9,10\n1\n2,2,2,2,2,2,2,2,2,2,2,2,2\n", "prices.csv"),
    "not text": ("prices.csv", b"\xff\xfe\x00\x81" * 50, "can't be read as CSV"),
    "unknown class": ("crypto.csv", GOOD_CRYPTO.replace(",coin,2", ",meme,2"), "'asset_class' holds 'meme' .* one of coin, btc"),
    "flag": ("crypto.csv", GOOD_CRYPTO.replace("True", "maybe"), "'mcap_suspect' holds 'maybe' .* true or false"),
    "corrupt parquet": ("constituents.parquet", b"PAR1 and no more", "constituents.parquet can't be read as Parquet"),
    "both forms": ("prices.parquet", b"PAR1", "holds prices.parquet and prices.csv; keep one"),
}


@pytest.mark.parametrize(("name", "content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_bad_file_is_refused_in_one_line_and_the_store_unharmed(
    store: Store, folder: Path, tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    fetched(store, folder)
    before = store.snapshot(FAR)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput, match=words) as caught:
        fetched(store, folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert store.snapshot(FAR) == before


def test_a_bad_file_stores_nothing_of_the_good_ones_either(store: Store, folder: Path) -> None:
    (folder / "crypto.csv").write_text(GOOD_CRYPTO.replace("2.0", "-2.0"))
    with pytest.raises(BadInput):
        fetched(store, folder)
    assert store.market is None
    assert store.inventory(FAR)["rows"].sum() == 0


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (None, "--path DIR"),
        ("absent", "is not a folder"),
        ("drop/prices.csv", "is not a folder"),
        ("empty", "holds none of the drop-in"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused_with_the_known_names(
    store: Store, folder: Path, tmp_path: Path, place: str | None, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=words) as caught:
        fetched(store, None if place is None else tmp_path / place)
    assert "prices, fred, crypto, crypto_ohlcv, constituents, membership, stablecoins" in str(caught.value)


def test_an_unknown_provider_or_a_path_for_another_is_refused(store: Store, folder: Path) -> None:
    with pytest.raises(UnknownName, match=r"No provider 'file'\. Did you mean 'files'"):
        fetch(store, "file", path=folder, today=TODAY, progress=silent)
    with pytest.raises(BadInput, match="--path names the folder of --provider files"):
        fetch(store, "live", path=folder, today=TODAY, progress=silent)


class StoppedByUserError(Exception):
    """Stands for the user's Ctrl-C, which pytest would take for its own."""


def provide(monkeypatch: pytest.MonkeyPatch, market: str, *deliveries: Batch | Skipped | Exception) -> None:
    """Make `market` deliver these, raising what is an error."""

    def deliver(store: Store, *, path: Path | None, today: pd.Timestamp, progress: Progress) -> Deliveries:
        for delivery in deliveries:
            if isinstance(delivery, Exception):
                raise delivery
            yield delivery

    monkeypatch.setitem(PROVIDERS, market, deliver)


def batch(label: str, symbol: str, **columns: object) -> Batch:
    observed = pd.DatetimeIndex(["2020-01-01", "2020-01-02"])
    frame = pd.DataFrame({"symbol": symbol, "observed": observed, "known": observed, "adj_close": [1.0, 2.0], **columns})
    return Batch(label, "bars", frame, "yahoo", "fund", {"missing": 1}, 2)


def test_an_interrupted_fetch_leaves_whole_batches_and_its_repeat_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for number, interruption in enumerate([[StoppedByUserError()], []]):
        provide(monkeypatch, "live", batch("funds", "IWM"), *interruption, batch("funds", "IJR"))
        with Store.open(tmp_path / f"{number}.duckdb") as store:
            if interruption:
                with pytest.raises(StoppedByUserError):
                    fetch(store, "live", today=TODAY, progress=silent)
                assert store.read_panel(FUND_PRICE, FAR).columns.tolist() == ["IWM"]
                provide(monkeypatch, "live", batch("funds", "IWM"), batch("funds", "IJR"))
            fetch(store, "live", today=TODAY + pd.Timedelta(days=number), progress=silent)
            names.append(store.snapshot(FAR))
    assert names[0] == names[1]


def test_one_failing_series_is_a_warning_and_lines_add_up_by_label(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    provide(monkeypatch, "live", batch("funds", "IWM"), Skipped("KRE", "gave an empty answer."), batch("funds", "IJR"))
    report = fetch(store, "live", today=pd.Timestamp("2020-01-08"), progress=lambda *step: seen.append(step))
    assert [tuple(line)[:4] for line in report.lines] == [("funds", 4, 4, {"missing": 2})]
    assert report.warnings == ["KRE: gave an empty answer."]
    assert seen == [("funds", 1, 2), ("funds", 2, 2)]


def test_a_fetch_that_brings_nothing_fails_and_claims_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = batch("funds", "IWM")
    provide(monkeypatch, "live", Skipped("IWM", "did not answer."), Batch("funds", "bars", empty.frame.iloc[:0], "yahoo", "fund"))
    with pytest.raises(FetchFailed, match=r"'live' delivered nothing\. IWM: did not answer\."):
        fetch(store, "live", today=TODAY, progress=silent)
    assert store.market is None


def test_a_batch_that_cannot_be_true_is_not_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(monkeypatch, "live", batch("funds", "IWM"), batch("funds", "IJR", adj_close=[1.0, -1.0]))
    with pytest.raises(AltrallyError, match=r"funds: column 'adj_close' holds -1\.0"):
        fetch(store, "live", today=TODAY, progress=silent)
    assert store.read_panel(FUND_PRICE, FAR).columns.tolist() == ["IWM"]


def test_a_home_never_mixes_markets(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched(store, folder)
    before = store.snapshot(FAR)
    provide(monkeypatch, "simulated", batch("funds", "KRE"))
    with pytest.raises(StoreUnusable, match="holds the 'files' market"):
        fetch(store, "simulated", today=TODAY, progress=silent)
    assert store.snapshot(FAR) == before


def test_a_symbol_keeps_its_first_class_and_the_user_is_told(store: Store, folder: Path) -> None:
    fetched(store, folder)
    (folder / "crypto.csv").write_text(GOOD_CRYPTO.replace(",coin,", ",stablecoin,"))
    report = fetched(store, folder)
    assert report.warnings == ["crypto: 1 symbols keep their first class, among them aave"]
    assert store.asset_classes("coin") == {"aave": "coin"}


@pytest.mark.reference
def test_the_reference_market_arrives_whole(reference_home: Path) -> None:
    with Store.open(reference_home / "store.duckdb", read_only=True) as store:
        rows = store.inventory(pd.Timestamp("2024-12-31")).set_index("name")["rows"]
    assert store.path.exists()
    assert (rows > 0).all()
    assert rows["constituent price"] > 10_000_000
