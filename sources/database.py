"""The DuckDB file below the store: its tables, the SQL that writes and checks them, its errors, and frames made of query rows."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd
from filelock import FileLock

from core.errors import Damaged, InUse, OtherVersion, StoreUnusable
from core.files import unfinished_path
from sources.batches import BAR_FIELDS
from sources.membership import PREFIX
from sources.series import PANELS, PAST_MIDNIGHT, SERIES, Panel, Series

VINTAGES = "alfred"
LAYOUT = "1"
LOCK_SECONDS = 30
OTHER_STORAGE = "storage version number"
OF_THE_SYSTEM = ("Permission denied", "No space left", "Too many open files", "Read-only file system", "Cannot allocate memory")
"""What DuckDB says where the file may be sound: words of the operating system."""

DAY = "datetime64[us]"
EPOCH_DAY = "(observed - DATE '1970-01-01')::INTEGER"
LAG_DAYS = {panel.universe: panel.release_lag.days for panel in PANELS.values()}
SERIES_LAG_DAYS = {series.code: series.release_lag.days for series in SERIES.values() if series.universe is None}
Column = np.ma.MaskedArray[Any, Any]

TABLES = f"""
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE TABLE symbols (id INTEGER PRIMARY KEY, universe VARCHAR NOT NULL, symbol VARCHAR NOT NULL, asset_class VARCHAR);
CREATE TABLE observations (series VARCHAR NOT NULL, observed DATE NOT NULL, known DATE NOT NULL, value DOUBLE,
    source VARCHAR NOT NULL, fetched_at TIMESTAMP NOT NULL, version INTEGER NOT NULL, digest UBIGINT NOT NULL);
CREATE TABLE bars (symbol_id INTEGER NOT NULL, observed DATE NOT NULL, known DATE NOT NULL,
    {", ".join(f"{name} DOUBLE" for name in BAR_FIELDS)},
    source VARCHAR NOT NULL, fetched_at TIMESTAMP NOT NULL, version INTEGER NOT NULL, digest UBIGINT NOT NULL);
INSERT INTO meta VALUES ('layout', '{LAYOUT}');
"""

BARS = "bars AS rows JOIN symbols ON symbols.id = rows.symbol_id"
BAR_DIGEST = f"""md5_number_lower(concat_ws('|', universe, symbol, coalesce(asset_class, ''), rows.observed, rows.known,
    {", ".join(f"coalesce(rows.{name}::VARCHAR, '')" for name in BAR_FIELDS)}))"""
OBSERVATION_DIGEST = f"""md5_number_lower(concat_ws('|', CASE WHEN {{source}} = '{VINTAGES}' THEN 'vintage' END,
    rows.series, rows.observed, rows.known, coalesce(rows.value::VARCHAR, '')))"""

NEW_OBSERVATIONS = f"""
INSERT INTO observations
WITH stored AS (
    SELECT series, observed, known, value, version FROM observations
    WHERE source <> 'alfred' AND series IN (SELECT DISTINCT series FROM incoming)
    QUALIFY row_number() OVER (PARTITION BY series, observed ORDER BY version DESC) = 1
), changed AS (
    SELECT i.series, i.observed::DATE AS observed, i.value,
        CASE WHEN s.series IS NOT NULL THEN greatest(i.known::DATE, s.known, $today)
            WHEN i.known::DATE < $last_fetch_day AND i.series IN (SELECT series FROM observations WHERE fetched_at < $fetched_at)
            THEN greatest(i.known::DATE, $today - 1) ELSE i.known::DATE END AS known,
        coalesce(s.version + 1, 0) AS version
    FROM incoming i LEFT JOIN stored s ON s.series = i.series AND s.observed = i.observed::DATE
    WHERE s.series IS NULL OR i.value IS DISTINCT FROM s.value
)
SELECT series, observed, known, value, $source, $fetched_at, version, {OBSERVATION_DIGEST.format(source="$source")}
FROM changed AS rows
"""

NEW_VINTAGES = f"""
INSERT INTO observations
WITH stored AS (
    SELECT series, observed, known, value, version FROM observations
    WHERE source = 'alfred' AND series IN (SELECT DISTINCT series FROM incoming)
), last AS (SELECT series, observed, max(version) AS version FROM stored GROUP BY ALL
), matched AS (
    SELECT i.series, i.observed::DATE AS observed, i.known::DATE AS known, i.value,
        coalesce(bool_or(s.known = i.known::DATE AND s.value IS NOT DISTINCT FROM i.value), false) AS is_stored,
        coalesce(bool_or(s.known = i.known::DATE AND s.value IS DISTINCT FROM i.value), false) AS rewritten,
        coalesce(bool_or(s.known > i.known::DATE AND s.value IS NOT DISTINCT FROM i.value), false) AS is_known_later
    FROM incoming i LEFT JOIN stored s ON s.series = i.series AND s.observed = i.observed::DATE GROUP BY ALL
), changed AS (
    SELECT series, observed, CASE WHEN rewritten THEN greatest(known, $today) ELSE known END AS known, value FROM matched
    WHERE NOT is_stored AND NOT (rewritten AND is_known_later)
)
SELECT rows.series, rows.observed, rows.known, rows.value, $source, $fetched_at,
    coalesce(l.version, -1) + row_number() OVER (PARTITION BY rows.series, rows.observed ORDER BY rows.known),
    {OBSERVATION_DIGEST.format(source="$source")}
FROM changed AS rows LEFT JOIN last l ON l.series = rows.series AND l.observed = rows.observed
"""

NO_LIST = f"NOT starts_with(series, '{PREFIX}')"
"""A list of constituents is stored without a fetch, so its time says nothing about requests to the services."""

REWRITTEN = f"""
WITH later AS (SELECT DISTINCT symbol_id, observed FROM bars WHERE version > 0 AND known >= $since
), versions AS (
    SELECT NULL AS universe, series AS code, 'value' AS field, observed, known, source, fetched_at, value,
        lag(value) OVER (PARTITION BY series, source = 'alfred', observed ORDER BY known, version) AS before FROM observations
    WHERE {NO_LIST}
    UNION ALL
    SELECT universe, symbol, field, observed, known, source, fetched_at, value,
        lag(value) OVER (PARTITION BY symbol_id, field, observed ORDER BY version)
    FROM (SELECT bars.* FROM bars JOIN later USING (symbol_id, observed))
        UNPIVOT INCLUDE NULLS (value FOR field IN ({", ".join(BAR_FIELDS)})) JOIN symbols ON symbols.id = symbol_id
)
SELECT universe, code, source, fetched_at, known, string_agg(DISTINCT field, ', ' ORDER BY field) AS fields,
    count(DISTINCT observed) AS days, min(observed) AS first, max(observed) AS last,
    max(abs(value / nullif(before, 0) - 1)) AS largest
FROM versions WHERE before IS NOT NULL AND value IS DISTINCT FROM before AND known >= $since
GROUP BY universe, code, source, fetched_at, known ORDER BY known DESC, universe NULLS FIRST, code
"""


REDATE = """
UPDATE {table} SET known = redated.known, fetched_at = $now, digest = redated.digest FROM (
    SELECT rows.place, rows.known, {digest} AS digest FROM (
        SELECT *, rowid AS place FROM {table} WHERE fetched_at > $now
    ) AS original, LATERAL (
        SELECT original.* REPLACE (greatest(original.observed, least(original.known, $today)) AS known)
    ) AS rows {join}
) AS redated WHERE {table}.rowid = redated.place
"""


def _lag_of(name: str, lags: dict[str, int]) -> str:
    """SQL that says the release lag in days of what `name` holds."""
    cases = " ".join(f"WHEN '{code}' THEN {days}" for code, days in lags.items())
    return f"CASE {name} {cases} END"


LATE = f"""
WITH fetches AS (
    SELECT fetched_at,
        max(fetched_at::DATE) OVER (ORDER BY fetched_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS last_fetch_day
    FROM (SELECT DISTINCT fetched_at FROM bars UNION SELECT DISTINCT fetched_at FROM observations WHERE {NO_LIST})
), firsts AS (SELECT symbol_id, min(fetched_at) AS first_at FROM bars GROUP BY symbol_id
), beginnings AS (SELECT series, min(fetched_at) AS first_at FROM observations GROUP BY series
), first_versions AS (
    SELECT universe, symbol AS code, observed, known, source, fetched_at, {_lag_of("universe", LAG_DAYS)}
        + CASE WHEN symbol IN ('{"', '".join(PAST_MIDNIGHT)}') THEN 1 ELSE 0 END AS lag
    FROM bars JOIN firsts USING (symbol_id) JOIN symbols ON symbols.id = symbol_id
    WHERE version = 0 AND fetched_at >= $since AND fetched_at > first_at
    UNION ALL
    SELECT NULL, series, observed, known, source, fetched_at, {_lag_of("series", SERIES_LAG_DAYS)}
    FROM observations JOIN beginnings USING (series)
    WHERE version = 0 AND fetched_at >= $since AND fetched_at > first_at AND source <> '{VINTAGES}'
)
SELECT universe, code, source, observed, known, fetched_at FROM first_versions JOIN fetches USING (fetched_at)
WHERE observed + lag < least(last_fetch_day, fetched_at::DATE - 1) ORDER BY fetched_at DESC, universe NULLS FIRST, code, observed
"""


def create_file(path: Path) -> None:
    """Create the file under a temporary name and rename it, one process at a time: after a kill it is absent or whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        if path.exists():
            return
        place = unfinished_path(path)
        with closing(duckdb.connect(str(place))) as connection:
            connection.execute(TABLES)
        place.replace(path)


@contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn a DuckDB error about a locked or broken file into an error with one line of advice."""
    try:
        yield
    except (duckdb.ProgrammingError, duckdb.DataError, duckdb.IntegrityError, duckdb.NotSupportedError):
        raise
    except (duckdb.Error, OSError) as error:
        why = str(error).splitlines()[0]
        if isinstance(error, duckdb.ConnectionException | TimeoutError) or "Could not set lock" in why:
            raise InUse(f"{path} is in use by another altrally process; try again when it has finished.") from error
        if OTHER_STORAGE in why:
            way = f"Install that version, or fetch into another --home. (DuckDB says: {why})"
            raise OtherVersion(
                f"{path} was written by another version of DuckDB than {duckdb.__version__}, which is here. {way}"
            ) from error
        if isinstance(error, duckdb.OutOfMemoryException) or any(words in why for words in OF_THE_SYSTEM):
            raise StoreUnusable(f"{path} can't be used now: {why}") from error
        raise unusable_file(path, why) from error


def unusable_file(path: Path, why: str) -> Damaged:
    return Damaged(f"{path} can't be used: {why} If it is damaged, move it away and run `altrally fetch` again.")


def utc_day(moment: pd.Timestamp | None) -> date:
    """The UTC day of `moment`; `date.min` for None."""
    return date.min if moment is None else pd.Timestamp(moment).date()


def insert_bars_sql(fields: list[str]) -> str:
    """SQL that inserts the rows of `incoming` that are new or differ from the latest stored version in one of `fields`."""
    merged = ", ".join(f"i.{name}::DOUBLE AS {name}" if name in fields else f"s.{name} AS {name}" for name in BAR_FIELDS)
    differs = " OR ".join(f"i.{name}::DOUBLE IS DISTINCT FROM s.{name}" for name in fields) or "false"
    return f"""
INSERT INTO bars
WITH stored AS (
    SELECT * FROM bars WHERE symbol_id BETWEEN $low AND $high AND observed BETWEEN $first AND $last
    QUALIFY version = max(version) OVER (PARTITION BY symbol_id, observed)
), followed AS (
    SELECT DISTINCT symbol_id FROM bars WHERE symbol_id BETWEEN $low AND $high AND fetched_at < $fetched_at
), changed AS (
    SELECT i.symbol_id, i.observed::DATE AS observed,
        CASE WHEN s.symbol_id IS NOT NULL THEN greatest(i.known::DATE, s.known, $today)
            WHEN i.known::DATE < $last_fetch_day AND f.symbol_id IS NOT NULL THEN greatest(i.known::DATE, $today - 1)
            ELSE i.known::DATE END AS known,
        {merged}, coalesce(s.version + 1, 0) AS version
    FROM incoming i LEFT JOIN stored s ON s.symbol_id = i.symbol_id AND s.observed = i.observed::DATE
        LEFT JOIN followed f ON f.symbol_id = i.symbol_id
    WHERE s.symbol_id IS NULL OR {differs}
)
SELECT rows.symbol_id, rows.observed, rows.known, {", ".join(f"rows.{name}" for name in BAR_FIELDS)}, $source, $fetched_at,
    rows.version, {BAR_DIGEST}
FROM changed AS rows JOIN symbols ON symbols.id = rows.symbol_id ORDER BY rows.observed, rows.symbol_id
"""


@dataclass(frozen=True)
class PanelGrid:
    """Values of members × days, filled from long rows. Each symbol lies in one piece of memory, as pandas stores frames."""

    members: pd.Series
    days: np.ndarray
    rank: np.ndarray
    cells: np.ndarray
    seen_members: np.ndarray
    seen_days: np.ndarray

    @classmethod
    def of(cls, members: pd.Series, days: np.ndarray) -> Self:
        """`members`: symbols by id; `days`: sorted days since 1970."""
        rank = np.zeros(int(days[-1] - days[0]) + 1 if days.size else 0, dtype=np.int32)
        rank[days - days[0] if days.size else days] = np.arange(days.size)
        seen = np.zeros(len(members), dtype=bool), np.zeros(days.size, dtype=bool)
        return cls(members, days, rank, np.full((len(members), days.size), np.nan), *seen)

    def scatter(self, ids: np.ndarray, days: np.ndarray, values: np.ndarray) -> None:
        """Write `values`, a later row of a cell winning; ids of no member are left out."""
        place = _positions(ids, self.members)
        inside = place >= 0
        if not inside.all():
            place, days, values = place[inside], days[inside], values[inside]
        column = self.rank[days - self.days[0]]
        self.cells[place, column] = values
        self.seen_members[place] = True
        self.seen_days[column] = True

    def frame(self) -> pd.DataFrame:
        """Days × symbols that were written to."""
        members, days = np.flatnonzero(self.seen_members), np.flatnonzero(self.seen_days)
        packed = self.cells.reshape(-1)[: len(members) * len(days)].reshape(len(members), len(days))
        for row, member in enumerate(members):  # in place: a second copy of a large panel costs more time than reading it
            packed[row] = self.cells[member, days]
        index = pd.DatetimeIndex(self.days[days].astype("datetime64[D]").astype(DAY), name="observed")
        columns = pd.Index(self.members.to_numpy()[members], dtype="str", name="symbol")
        return pd.DataFrame(packed.T, index=index, columns=columns, copy=False)


def _positions(ids: np.ndarray, members: pd.Series) -> np.ndarray:
    """Position of each id in `members`; -1 for the id of no member."""
    if members.empty:
        return np.empty(0, dtype=np.int32)
    low = int(members.index.min())
    table = np.full(int(members.index.max()) - low + 1, -1, dtype=np.int32)
    table[members.index.to_numpy() - low] = np.arange(len(members), dtype=np.int32)
    return table[ids - low]


def versions_frame(observed: Column, known: Column, values: Column) -> pd.DataFrame:
    """The frame that `Store.read` returns. DuckDB's own conversion takes twice the time for a few thousand rows."""
    columns = {"observed": observed.data.astype(DAY), "known": known.data.astype(DAY)}
    return pd.DataFrame({**columns, "value": np.ma.filled(values.astype(np.float64), np.nan)}, copy=False)


def field_extents_sql() -> str:
    """SQL that counts and dates the values of every bar field. It uses CASE: FILTER takes three times as long."""
    return ", ".join(
        f"count({name}) AS {name}_rows, "
        + ", ".join(
            f"{how}(CASE WHEN {name} IS NOT NULL THEN {day} END) AS {name}_{what}"
            for what, how, day in (("first", "min", "observed"), ("last", "max", "observed"), ("known_last", "max", "known"))
        )
        for name in BAR_FIELDS
    )


def field_extent(bars: pd.DataFrame, name: str) -> dict[str, pd.Series]:
    return {what: bars[f"{name}_{what}"] for what in ("rows", "first", "last", "known_last")}


def by_declaration(extent: pd.DataFrame) -> list[tuple[Series | Panel, pd.DataFrame]]:
    """Every declared series and panel with its rows of `extent`, in order of declaration."""
    groups = dict(iter(extent.fillna({"universe": ""}).groupby(["universe", "field"])))
    keys = {(series.universe or "", series.field) for series in SERIES.values()}
    places = {key: {code: place for place, code in enumerate(groups[key]["code"])} for key in keys & groups.keys()}
    declarations: list[tuple[Series | Panel, pd.DataFrame]] = []
    for series in SERIES.values():
        key = series.universe or "", series.field
        place = places.get(key, {}).get(series.code)
        declarations.append((series, extent.iloc[:0] if place is None else groups[key].iloc[place : place + 1]))
    return declarations + [
        (panel, _chosen(panel, groups.get((panel.universe, panel.field), extent.iloc[:0]))) for panel in PANELS.values()
    ]


def _chosen(panel: Panel, rows: pd.DataFrame) -> pd.DataFrame:
    if panel.asset_class is not None:
        rows = rows[rows["asset_class"] == panel.asset_class]
    return rows[rows["code"].isin(panel.symbols)] if panel.symbols else rows


def declaration_summary(declared: Series | Panel, rows: pd.DataFrame) -> dict[str, object]:
    return {
        "name": declared.name,
        "first": rows["first"].min(),
        "last": rows["last"].max(),
        "known_last": rows["known_last"].max(),
        "rows": int(rows["rows"].sum()),
        "symbols": len(rows),
    }
