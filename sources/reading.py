"""What features and outcomes ask of whatever holds the data: a store on disk, or a simulated market in memory."""

from typing import Protocol

import pandas as pd

from sources.series import Panel, Series


class Reader(Protocol):
    """Answers as of a day; `sources.store.Store` says what each answer is."""

    @property
    def market(self) -> str | None: ...

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
