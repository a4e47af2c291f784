"""A market held in memory for one study, read as a store would be; nothing is written."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from sources.batches import Batch
from sources.series import Panel, Series

DAY = "datetime64[us]"
NO_ROWS = pd.DataFrame({"observed": [], "known": [], "value": []}).astype({"observed": DAY, "known": DAY, "value": "float64"})
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
        found = self.series.get((series.universe or "", series.code))
        if found is None or series.field not in found:
            return NO_ROWS
        kept = found[known_by(found, as_of, start) & found[series.field].notna()]
        rows = (
            kept[["observed", "known", series.field]].set_axis(["observed", "known", "value"], axis=1).astype({"value": "float64"})
        )
        return rows.sort_values(["known", "observed"], kind="stable", ignore_index=True)

    def read_panel(self, panel: Panel, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.DataFrame:
        """As `Store.read_panel`."""
        bars = self.bars[panel.universe]
        kept = known_by(bars, as_of, start) & bars[panel.field].notna()
        if panel.asset_class is not None:
            kept &= bars["asset_class"] == panel.asset_class
        if panel.symbols:
            kept &= bars["symbol"].isin(panel.symbols)
        return bars[kept].set_index(["observed", "symbol"])[panel.field].unstack().astype("float64")  # noqa: PD010 (a row a cell)

    def has_vintages(self, series: Series) -> bool:
        """Never: only first versions are held."""
        return False

    def snapshot(self, as_of: pd.Timestamp) -> str:
        """Names what is held."""
        return self.name


def hold(batches: Iterable[Batch], market: str, name: str) -> Memory:
    """Keep what `batches` bring, each row a first version."""
    bars: dict[str, list[pd.DataFrame]] = {}
    series: dict[tuple[str, str], pd.DataFrame] = {}
    for batch in batches:
        universe, code = (batch.universe or "", "series" if batch.table == "observations" else "symbol")
        bars.setdefault(universe, []).append(batch.frame.rename(columns={code: "symbol"}))
    tables = {universe: pd.concat([part.astype({"symbol": "str"}) for part in parts]) for universe, parts in bars.items()}
    for universe, table in tables.items():
        series |= {(universe, str(code)): rows for code, rows in table.groupby("symbol")}
    return Memory(market, name, tables, series)


def known_by(rows: pd.DataFrame, as_of: pd.Timestamp, start: pd.Timestamp | None) -> pd.Series:
    """Rows known by the end of `as_of`, of days observed since `start`."""
    return (rows["known"] <= as_of) & (rows["observed"] >= (start or FIRST_DAY))
