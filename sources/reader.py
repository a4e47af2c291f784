"""What features and outcomes ask of whatever holds the data: a store on disk, or a simulated market in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from sources.batches import Batch
from sources.series import Panel, Series


class Reader(Protocol):
    """Answers as of a day; `sources.store.Store` says what each answer is."""

    @property
    def market(self) -> str | None: ...

    @property
    def cache(self) -> Path | None: ...

    def contents(self) -> str: ...

    def read(self, series: Series, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.DataFrame: ...

    def read_panel(
        self, panel: Panel, as_of: pd.Timestamp, start: pd.Timestamp | None = None, *, on_time: bool = False
    ) -> pd.DataFrame: ...

    def has_vintages(self, series: Series) -> bool: ...

    def snapshot(self, as_of: pd.Timestamp) -> str: ...


def observed(reader: Reader, series: Series, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.Series:
    """Values of a series by observed day, in order, the latest version known by `as_of`."""
    versions = reader.read(series, as_of, start)
    return versions.drop_duplicates("observed", keep="last").set_index("observed")["value"].sort_index()


CARRY = 3
"""Days a coin's quote or market cap may be old and still be one."""


def latest_values(frame: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DataFrame:
    """The value (days × symbols) at the end of each of `days`, or the newest up to `CARRY` days older."""
    values = frame.reindex(days)
    for age in range(1, CARRY + 1):
        values = values.fillna(frame.reindex(days - pd.Timedelta(days=age)).set_axis(days))
    return values


DAY = "datetime64[us]"
NO_ROWS = pd.DataFrame({"observed": [], "known": [], "value": []}).astype({"observed": DAY, "known": DAY, "value": "float64"})
DAY_LONG = np.timedelta64(1, "D")
FIRST_DAY = pd.Timestamp("1900-01-01")


@dataclass(frozen=True)
class Memory:
    """First versions only: `bars` by universe, `series` by universe ("" for macro observations) and code; `name` names it all."""

    market: str
    name: str
    bars: Mapping[str, pd.DataFrame]
    series: Mapping[tuple[str, str], pd.DataFrame]

    def read(self, series: Series, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.DataFrame:
        """As `Store.read`."""
        rows_of_series = self.series.get((series.universe or "", series.code))
        if rows_of_series is None or series.field not in rows_of_series:
            return NO_ROWS
        known_rows = rows_of_series[known_by(rows_of_series, as_of, start) & rows_of_series[series.field].notna()]
        rows = (
            known_rows[["observed", "known", series.field]]
            .set_axis(["observed", "known", "value"], axis=1)
            .astype({"value": "float64"})
        )
        return rows.sort_values(["known", "observed"], kind="stable", ignore_index=True)

    def read_panel(
        self, panel: Panel, as_of: pd.Timestamp, start: pd.Timestamp | None = None, *, on_time: bool = False
    ) -> pd.DataFrame:
        """As `Store.read_panel`; all of it came on time."""
        bars = self.bars[panel.universe]
        wanted = known_by(bars, as_of, start) & bars[panel.field].notna()
        if panel.asset_class is not None:
            wanted &= bars["asset_class"] == panel.asset_class
        if panel.symbols:
            wanted &= bars["symbol"].isin(panel.symbols)
        return wide(bars.loc[wanted, ["observed", "symbol", panel.field]], panel.field)

    def has_vintages(self, series: Series) -> bool:
        """Never: only first versions are held."""
        return False

    def snapshot(self, as_of: pd.Timestamp) -> str:
        """Names what is held."""
        return self.name

    @property
    def cache(self) -> None:
        """None: nothing is written to disk."""
        return None

    def contents(self) -> str:
        """Names what is held."""
        return self.name


def hold(batches: Iterable[Batch], market: str, name: str) -> Memory:
    """Keep what `batches` bring, each row a first version."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for batch in batches:
        code = "series" if batch.table == "observations" else "symbol"
        parts.setdefault(batch.universe or "", []).append(batch.frame.rename(columns={code: "symbol"}))
    bars = {universe: pd.concat(frames).astype({"symbol": "category"}) for universe, frames in parts.items()}
    series = {
        (universe, str(code)): rows for universe, table in bars.items() for code, rows in table.groupby("symbol", observed=True)
    }
    return Memory(market, name, bars, series)


def wide(rows: pd.DataFrame, field: str) -> pd.DataFrame:
    """One value a day and symbol, scattered into observed days × symbols, both sorted; only those with a value."""
    calendar = pd.date_range(rows["observed"].min(), rows["observed"].max(), name="observed", unit="us")
    place = (rows["observed"].to_numpy() - calendar[0].to_datetime64()) // DAY_LONG
    codes, symbols = rows["symbol"].cat.codes.to_numpy(), pd.Index(rows["symbol"].cat.categories.astype("str"), name="symbol")
    cells = np.full((len(calendar), len(symbols)), np.nan)
    cells[place, codes] = rows[field]
    there = ~np.isnan(cells)
    return pd.DataFrame(cells, calendar, symbols).loc[there.any(axis=1), there.any(axis=0)].sort_index(axis=1)


def known_by(rows: pd.DataFrame, as_of: pd.Timestamp, start: pd.Timestamp | None) -> pd.Series:
    """Rows known by the end of `as_of`, of days observed since `start`."""
    return (rows["known"] <= as_of) & (rows["observed"] >= (start or FIRST_DAY))
