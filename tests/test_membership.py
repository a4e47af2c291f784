"""A constituent counts while it was a member, as known by then; where nobody knows when that was, it is said."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from core.progress import silent
from features.breadth import advances_less_declines
from sources.fetch import FetchReport, fetch
from sources.membership import members_only, sentence
from sources.series import COIN_PRICE, STOCK_PRICE, STOCK_VOLUME
from sources.store import Store

TODAY = pd.Timestamp("2020-06-01 12:00")
FAR = pd.Timestamp("2030-01-01")
DAYS = pd.bdate_range("2020-01-01", "2020-03-31", unit="us")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six names, rising every day."""
    place = tmp_path / "drop"
    place.mkdir()
    rows = [f"{day:%Y-%m-%d},{name},{10 + n},100,False" for name in "ABCDEF" for n, day in enumerate(DAYS)]
    (place / "constituents.csv").write_text("\n".join(["date,ticker,close,volume,delisted", *rows, ""]))
    return place


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "store.duckdb") as opened:
        yield opened


def fetched(store: Store, folder: Path, *stays: str, today: pd.Timestamp = TODAY) -> FetchReport:
    """Fetch with a file of `stays`, none if there are none."""
    if stays:
        (folder / "membership.csv").write_text("\n".join(["ticker,from,to", *stays, ""]))
    return fetch(store, "files", path=folder, today=today, progress=silent)


def held(store: Store, as_of: pd.Timestamp = FAR) -> dict[str, tuple[str, str]]:
    """First and last day with a price, by name."""
    price = store.read_panel(STOCK_PRICE, as_of)
    return {name: tuple(f"{day:%m-%d}" for day in (column.dropna().index[[0, -1]])) for name, column in price.items()}  # type: ignore[misc]


def test_without_a_file_every_name_counts_on_every_day(store: Store, folder: Path) -> None:
    fetched(store, folder)
    assert set(held(store).values()) == {("01-01", "03-31")}
    assert store.stays(FAR).empty


def test_a_name_counts_from_the_day_it_joined_to_the_day_it_left(store: Store, folder: Path) -> None:
    fetched(store, folder, "A,2019-01-01,", "B,2020-02-03,2020-02-28", "C,2020-01-15,")
    assert held(store) == {"A": ("01-01", "03-31"), "B": ("02-03", "02-28"), "C": ("01-15", "03-31")}
    assert set(store.read_panel(STOCK_VOLUME, FAR)) == set("ABC")


def test_a_name_may_return(store: Store, folder: Path) -> None:
    fetched(store, folder, "A,2020-01-01,2020-01-10", "A,2020-03-02,")
    price = store.read_panel(STOCK_PRICE, FAR)["A"]
    assert price.index[price.notna()].equals(DAYS[(DAYS <= "2020-01-10") | (DAYS >= "2020-03-02")])


def test_breadth_counts_members_only(store: Store, folder: Path) -> None:
    text = (folder / "constituents.csv").read_text()
    falling = [f"{day:%Y-%m-%d},Z{k},{900 - n},100,False" for k in range(9) for n, day in enumerate(DAYS)]
    (folder / "constituents.csv").write_text(text + "\n".join([*falling, ""]))
    fetched(store, folder, *(f"{name},2019-01-01," for name in "ABCDE"), "Z0,2020-03-02,")
    net = advances_less_declines(store.read_panel(STOCK_PRICE, FAR))
    assert net.loc["2020-02-28"] == pytest.approx(1.0)
    after = (DAYS > "2020-03-02").sum()  # on its first day as a member it has no price of the day before
    assert net.iloc[-1] == pytest.approx(((21 - after) * 1.0 + after * 4 / 6) / 21)


def test_what_was_a_member_by_then_does_not_change_when_the_future_arrives(store: Store, folder: Path) -> None:
    fetched(store, folder, "A,2019-01-01,2020-03-02", "B,2020-02-03,", "C,2020-03-16,")
    day = pd.Timestamp("2020-02-14")
    then, later = store.read_panel(STOCK_PRICE, day), store.read_panel(STOCK_PRICE, FAR).loc[:day]
    pd.testing.assert_frame_equal(then, later[["A", "B"]])
    assert store.stays(day)["ticker"].tolist() == ["A", "B"]


def test_that_a_name_left_is_known_from_the_day_it_was_told(store: Store, folder: Path) -> None:
    fetched(store, folder, "A,2019-01-01,")
    before = store.snapshot(TODAY)
    fetched(store, folder, "A,2019-01-01,2020-02-28", today=pd.Timestamp("2020-06-15"))
    assert held(store, pd.Timestamp("2020-06-14")) == {"A": ("01-01", "03-31")}
    assert held(store, pd.Timestamp("2020-06-15")) == {"A": ("01-01", "02-28")}
    assert store.snapshot(TODAY) == before
    assert store.snapshot(pd.Timestamp("2020-06-15")) != before


def test_fetching_again_stores_nothing(store: Store, folder: Path) -> None:
    stays = ("A,2019-01-01,2020-02-28", "B,2020-02-03,")
    fetched(store, folder, *stays)
    assert [line.new for line in fetched(store, folder, *stays).lines] == [0, 0]


@pytest.mark.parametrize(
    ("stays", "words"),
    [
        (("A,2020-07-01,",), r"'from' holds 2020-07-01 .* to 2020-06-01"),
        (("A,2020-01-01,2020-12-31",), r"'to' holds 2020-12-31 .* to 2020-06-01"),
        (("A,2020-03-01,2020-02-01",), "A leaves before it joins"),
        (("A,2020-01-01,", "A,2020-03-01,"), "A joins again before it left"),
        (("A,2020-01-01,2020-02-03", "A,2020-02-03,"), "A joins again before it left"),
        (("A,2020-01-01,", "A,2020-01-01,"), "hold A, 2020-01-01 twice"),
        (("A,,",), r"'from' holds nothing .* YYYY-MM-DD"),
        (("A,2020-01-01,never",), r"'to' holds 'never' .* YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_or_is_of_the_future_is_refused_whole(
    store: Store, folder: Path, stays: tuple[str, ...], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        fetched(store, folder, *stays)
    assert store.market is None


def test_a_list_nobody_ever_left_is_said_to_be_one_of_survivors(store: Store, folder: Path) -> None:
    report = fetched(store, folder, "A,2010-01-01,", "B,2018-06-01,")
    assert report.warnings == ["membership: no name ever leaves in 8 years, so it lists survivors: breadth of the past flatters."]
    assert fetched(store, folder, "A,2010-01-01,2019-01-01", "B,2018-06-01,").warnings == []


def test_a_stay_taken_out_of_the_file_is_told(store: Store, folder: Path) -> None:
    fetched(store, folder, "A,2019-01-01,2020-02-28", "B,2020-02-03,")
    (warning,) = fetched(store, folder, "A,2019-01-01,2020-02-28").warnings
    assert warning.startswith("membership: 1 stays stored before are not in the file any more")


def test_parquet_says_the_same_as_csv(store: Store, folder: Path) -> None:
    stays = pd.DataFrame(
        {"ticker": ["A", "B"], "from": pd.to_datetime(["2020-01-01"] * 2), "to": pd.to_datetime(["2020-02-28", None])}
    )
    stays.to_parquet(folder / "membership.parquet", index=False)
    fetched(store, folder)
    assert held(store) == {"A": ("01-01", "02-28"), "B": ("01-01", "03-31")}


def test_other_universes_have_no_members(store: Store, folder: Path) -> None:
    (folder / "crypto.csv").write_text("date,asset,asset_class,price\n2020-01-01,aave,coin,1.0\n")
    fetched(store, folder, "A,2019-01-01,2019-02-28")
    assert store.read_panel(COIN_PRICE, FAR)["aave"].tolist() == [1.0]
    assert store.read_panel(STOCK_PRICE, FAR).empty


def test_members_only_by_hand() -> None:
    panel = pd.DataFrame(np.arange(8.0).reshape(4, 2), DAYS[:4], ["A", "B"])
    stays = pd.DataFrame(
        {
            "ticker": ["B", "C"],
            "from": pd.DatetimeIndex([DAYS[1], DAYS[0]], dtype="datetime64[us]"),
            "to": pd.DatetimeIndex([DAYS[2], pd.NaT], dtype="datetime64[us]"),
        }
    )
    pd.testing.assert_frame_equal(members_only(panel, stays), panel.iloc[1:3][["B"]], check_freq=False)


@pytest.mark.parametrize(
    ("classes", "stays", "words"),
    [
        ({}, 0, "No constituents: breadth rests on funds"),
        ({"A": "survivor", "B": "survivor"}, 0, "2 constituents, survivors only. On real constituents"),
        ({"A": "survivor", "B": "delisted"}, 0, "2 constituents, 1 of them vanished; when each was a member is not known"),
        ({"A": "survivor", "B": "delisted"}, 3, r"2 constituents, each counted only while it was a member \(1 names in 3 stays\)"),
    ],
)
def test_it_is_said_what_breadth_rests_on(classes: dict[str, str], stays: int, words: str) -> None:
    table = pd.DataFrame({"ticker": ["A"] * stays})

    assert re.match(words, sentence(classes, table))
