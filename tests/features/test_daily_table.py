"""The kept table is the built one, bit for bit, or it isn't used."""

from pathlib import Path
from shutil import copyfile

import pandas as pd
import pytest

from features import daily_table as kept
from features.build import FeatureTable, build
from features.daily_table import FIRST_DAY, MOST_FILES, daily_table
from sources.store import Store

DAY = pd.Timestamp("2024-12-31")


@pytest.fixture
def store(simulated_home: Path, tmp_path: Path) -> Store:
    copyfile(simulated_home / "store.duckdb", tmp_path / "store.duckdb")
    return Store.open(tmp_path / "store.duckdb")


def files(store: Store) -> list[Path]:
    return sorted(store.cache.glob("*"))


def require_equal(left: FeatureTable, right: FeatureTable) -> None:
    """Raise where any bit differs."""
    pd.testing.assert_frame_equal(left.features, right.features, check_exact=True)
    pd.testing.assert_frame_equal(left.composites, right.composites, check_exact=True)


def test_the_kept_table_is_the_built_one_to_the_bit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store:
        fresh = build(store, DAY, start=FIRST_DAY)
        require_equal(daily_table(store, DAY), fresh)
        monkeypatch.delattr(kept, "build")
        require_equal(daily_table(store, DAY), fresh)


def test_a_changed_row_changes_the_table(store: Store) -> None:
    with store:
        daily_table(store, DAY)
        store._connection.execute("DELETE FROM bars WHERE observed > DATE '2024-12-20'")
        require_equal(daily_table(store, DAY), build(store, DAY, start=FIRST_DAY))
        assert len(files(store)) == 2


def test_changed_code_or_packages_build_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store:
        daily_table(store, DAY)
        monkeypatch.setattr(kept, "code_digest", lambda: "another version")
        daily_table(store, DAY)
        assert len(files(store)) == 2


@pytest.mark.parametrize("damage", [b"", b"\0", b"cut"])
def test_a_damaged_file_is_built_anew_and_mended(store: Store, damage: bytes) -> None:
    with store:
        fresh = daily_table(store, DAY)
        (file,) = files(store)
        whole = file.read_bytes()
        file.write_bytes(whole[:-9] + damage if damage else damage)
        require_equal(daily_table(store, DAY), fresh)
        assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_no_error(store: Store) -> None:
    with store:
        store.cache.write_text("a file where the folder should be")
        require_equal(daily_table(store, DAY), build(store, DAY, start=FIRST_DAY))


def test_only_the_newest_files_stay(store: Store) -> None:
    with store:
        for number in range(MOST_FILES + 2):
            daily_table(store, FIRST_DAY + pd.Timedelta(days=number))
        assert len(files(store)) == MOST_FILES
