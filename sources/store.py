"""Append-only DuckDB file of what was observed and when it was known. A stored line is never changed or removed."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pandas as pd

from core.errors import BadInput, MissingData, StoreUnusable
from sources.batches import BAR_FIELDS, Batch
from sources.database import (
    BAR_DIGEST,
    BARS,
    DAY,
    EPOCH_DAY,
    LAG_DAYS,
    LATE,
    NEW_OBSERVATIONS,
    NEW_VINTAGES,
    NO_LIST,
    OBSERVATION_DIGEST,
    REDATE,
    REWRITTEN,
    VINTAGES,
    PanelGrid,
    by_declaration,
    clear_errors,
    create_file,
    declaration_summary,
    field_extent,
    field_extents_sql,
    insert_bars_sql,
    unusable_file,
    utc_day,
    versions_frame,
)
from sources.membership import PREFIX, members_only
from sources.series import Panel, Series

MARKETS = ("live", "files", "simulated")
LAST_FETCH = "last fetch"
UNIVERSE_WIDTH = 1_000_000
ROWS_AT_ONCE = 1_000_000


class Store:
    """One home's data. Use as a context manager; every write is one transaction.

    Days go in as anything `pd.Timestamp` reads and come out as naive midnight UTC, standing for the end of that day.
    Raises `StoreUnusable` when the file is locked, damaged, or holds another market.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """Open the file at `path`, creating it unless `read_only`. Raises `MissingData` where there is nothing to read."""
        nothing = MissingData(f"Nothing fetched yet in {path.parent}; run `altrally fetch`.")
        if read_only and not path.exists():
            raise nothing
        with clear_errors(path):
            if not path.exists():
                create_file(path)
            if not path.stat().st_size:
                raise unusable_file(path, "it is empty.")
            store = cls(path, duckdb.connect(str(path), read_only=read_only, config={"preserve_insertion_order": "false"}))
        try:
            store._check_layout()
            if read_only and store.market is None:
                raise nothing
        except BaseException:
            store.close()
            raise
        return store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    @property
    def cache(self) -> Path:
        """Folder of what took long to compute from this store and can be computed again."""
        return self.path.parent / "cache"

    @property
    def market(self) -> str | None:
        """'live', 'files' or 'simulated'; None before the first fetch."""
        row = self._run("SELECT value FROM meta WHERE key = 'market'").fetchone()
        return str(row[0]) if row else None

    def refuse_other_market(self, name: str) -> None:
        """Raise `StoreUnusable` if this home holds another market than `name`."""
        if self.market not in (None, name):
            raise StoreUnusable(
                f"{self.path.parent} holds the {self.market!r} market and one home holds one market: "
                f"give {name!r} a home of its own with --home."
            )

    def claim_market(self, name: str) -> None:
        """Name the market of this home, once."""
        if name not in MARKETS:
            raise BadInput(f"No market {name!r}; a home holds one of {', '.join(MARKETS)}.")
        self.refuse_other_market(name)
        if self.market is None:
            self._run("INSERT INTO meta VALUES ('market', $name)", name=name)

    def append(self, batch: Batch, fetched_at: pd.Timestamp) -> int:
        """Store what `batch` says that isn't stored yet; returns the number of new rows.

        A first version keeps the batch's `known`. In a `daily` batch a row that an earlier fetch of this home should have
        brought is late: known no sooner than the day before `fetched_at`. A value that differs from the latest stored version
        becomes a new version, known on the day of `fetched_at`; the older one stays. So does a vintage whose value is rewritten
        under its old day.
        Appending the same batch again stores nothing.
        """
        if batch.frame.empty:
            return 0
        with self._transaction():
            return self._append_bars(batch, fetched_at) if batch.table == "bars" else self._append_observations(batch, fetched_at)

    def read(self, series: Series, as_of: pd.Timestamp, start: pd.Timestamp | None = None) -> pd.DataFrame:
        """Every version of `series` known by `as_of`: observed, known, value, sorted by (known, observed).

        `start` limits observed days. Where vintages exist only they are read. An empty frame if nothing is known.
        """
        parameters: dict[str, Any] = {"as_of": utc_day(as_of), "start": utc_day(start)}
        if series.universe is not None:
            source, which = "bars", "symbol_id = $id"
            parameters["id"] = self._symbol_id(series)
        else:
            source, which = "observations", f"series = $code AND (source = '{VINTAGES}') = $vintages"
            parameters |= {"code": series.code, "vintages": self.has_vintages(series)}
        rows = self._read(
            f"""SELECT observed, known, {series.field} AS value FROM {source} WHERE {which} AND known <= $as_of
                AND observed >= $start AND (version > 0 OR {series.field} IS NOT NULL) ORDER BY known, observed, version""",
            **parameters,
        ).fetchnumpy()
        return versions_frame(*(np.ma.masked_array(rows[name]) for name in ("observed", "known", "value")))

    def read_panel(
        self,
        panel: Panel,
        as_of: pd.Timestamp,
        start: pd.Timestamp | None = None,
        *,
        on_time: bool = False,
        of_members: bool = True,
    ) -> pd.DataFrame:
        """Latest values of `panel` known by `as_of`: float64, observed days x symbols, both sorted; missing is NaN.

        `start` limits observed days. Only symbols and days with at least one value appear. Where it is known when each constituent
        was a member, other days of it are missing, unless not `of_members`. `on_time`: bars that came late are missing too, so that
        every row can be dated by the release lag alone.
        """
        wide = self._read_wide(panel, as_of, start, on_time=on_time)
        masked = of_members and panel.universe == "stock" and self._is_dated()
        return members_only(wide, self.stays(as_of)) if masked else wide

    def _is_dated(self) -> bool:
        """True if the membership days of any constituent are stored: then no constituent counts before the first stored day."""
        row = self._read("SELECT 1 FROM observations WHERE starts_with(series, $prefix) LIMIT 1", prefix=PREFIX)
        return row.fetchone() is not None

    def stays(self, as_of: pd.Timestamp) -> pd.DataFrame:
        """When constituents were members, as known by `as_of`: ticker, from, to (NaT while it lasts). Empty where nobody knows."""
        rows = self._read(
            """SELECT substr(series, $length + 1) AS ticker, observed AS "from", arg_max(value, version) AS lasted FROM observations
               WHERE starts_with(series, $prefix) AND known <= $as_of GROUP BY series, observed ORDER BY ticker, "from" """,
            length=len(PREFIX),
            prefix=PREFIX,
            as_of=utc_day(as_of),
        ).df()
        began = rows["from"].astype("datetime64[us]")
        ended = began + pd.to_timedelta(rows["lasted"] - 1, unit="D").astype("timedelta64[us]")
        return pd.DataFrame({"ticker": rows["ticker"].astype("str"), "from": began, "to": ended.where(rows["lasted"] > 0)})

    def _read_wide(self, panel: Panel, as_of: pd.Timestamp, start: pd.Timestamp | None, *, on_time: bool) -> pd.DataFrame:
        """First versions, then later ones in the order they became known: a later row of a cell wins."""
        members = self._members(panel)
        low, high = (members.index.min(), members.index.max()) if len(members) else (0, -1)
        scope = f"symbol_id BETWEEN {low} AND {high} AND known <= $as_of AND observed >= $start"
        parameters: dict[str, Any] = {"as_of": utc_day(as_of), "start": utc_day(start)}
        late = f"version = 0 AND known > observed + {LAG_DAYS[panel.universe]}"
        if on_time and self._read(f"SELECT 1 FROM bars WHERE {scope} AND {late} LIMIT 1", **parameters).fetchone():
            scope += f" AND (symbol_id, observed) NOT IN (SELECT (symbol_id, observed) FROM bars WHERE {scope} AND {late})"
        days = self._read(f"SELECT DISTINCT {EPOCH_DAY} AS day FROM bars WHERE {scope}", **parameters).fetchnumpy()["day"]
        grid = PanelGrid.of(members, np.sort(np.ma.getdata(days)))
        for rows in self._stream(f"{scope} AND version = 0 AND {panel.field} IS NOT NULL", panel.field, parameters):
            grid.scatter(*rows)
        for rows in self._stream(f"{scope} AND version > 0 ORDER BY known, version", panel.field, parameters):
            grid.scatter(*rows)
        return grid.frame()

    def _stream(self, where: str, field: str, parameters: dict[str, Any]) -> Iterator[tuple[np.ndarray, ...]]:
        """Ids, days since 1970 and values of bars, some at a time: all of them at once would take three times the memory."""
        with clear_errors(self.path):
            sql = f"SELECT symbol_id, {EPOCH_DAY} AS day, coalesce({field}, 'nan'::DOUBLE) AS value FROM bars WHERE {where}"
            for batch in self._connection.cursor().sql(sql, params=parameters).to_arrow_reader(ROWS_AT_ONCE):
                yield tuple(column.to_numpy(zero_copy_only=False) for column in batch.columns)

    def last_known(self, panel: Panel) -> pd.Timestamp | None:
        """The last day on which any value of `panel` became known; None where there is none."""
        return self._extreme_day(panel, "max(known)")

    def first_observed(self, panel: Panel) -> pd.Timestamp | None:
        """The first day for which any value of `panel` is stored; None where there is none."""
        return self._extreme_day(panel, "min(observed)")

    def _extreme_day(self, panel: Panel, extreme: str) -> pd.Timestamp | None:
        """A day that SQL picks among the bars with a value of `panel`; None where there are none."""
        members = self._members(panel).index
        row = self._read(
            f"SELECT {extreme} FROM bars WHERE symbol_id BETWEEN $low AND $high AND {panel.field} IS NOT NULL",
            low=int(members.min()) if len(members) else 0,
            high=int(members.max()) if len(members) else -1,
        ).fetchone()
        return None if row is None or row[0] is None else pd.Timestamp(row[0])

    def last_fetch(self, before: pd.Timestamp | None = None) -> pd.Timestamp | None:
        """When this home was last fetched, only `before` a moment if it is given; None where it never was."""
        limit = datetime.max if before is None else before.to_pydatetime()
        row = self._read(
            f"""SELECT max(stored) FROM (SELECT max(fetched_at) AS stored FROM bars WHERE fetched_at < $limit
                UNION ALL SELECT max(fetched_at) FROM observations WHERE fetched_at < $limit AND {NO_LIST}
                UNION ALL SELECT value::TIMESTAMP FROM meta WHERE key = '{LAST_FETCH}' AND value::TIMESTAMP < $limit)""",
            limit=limit,
        ).fetchone()
        return None if row is None or row[0] is None else pd.Timestamp(row[0])

    def from_the_future(self, now: pd.Timestamp) -> int:
        """Number of rows with a fetch time after `now`, which a wrong clock left."""
        row = self._read(
            """SELECT (SELECT count(*) FROM bars WHERE fetched_at > $now)
                + (SELECT count(*) FROM observations WHERE fetched_at > $now)""",
            now=now.to_pydatetime(),
        ).fetchone()
        return int(row[0]) if row else 0

    def redate(self, now: pd.Timestamp) -> int:
        """Number of rows fetched after `now`, which get `now` as their fetch time. Only `altrally repair` calls it.

        They are here, so they are known by the end of this day; nothing else of them is changed.
        """
        count = self.from_the_future(now)
        stamp = {"now": now.to_pydatetime(), "today": utc_day(now)}
        with self._transaction():
            for table, join, digest in (
                ("bars", "JOIN symbols ON symbols.id = rows.symbol_id", BAR_DIGEST),
                ("observations", "", OBSERVATION_DIGEST.format(source="rows.source")),
            ):
                self._run(REDATE.format(table=table, join=join, digest=digest), **stamp).fetchall()
            self._run(f"DELETE FROM meta WHERE key = '{LAST_FETCH}' AND value::TIMESTAMP > $now", now=stamp["now"]).fetchall()
        return count

    def noted(self, key: str) -> str | None:
        """The value last stored under `key`; None if there is none."""
        row = self._read("SELECT value FROM meta WHERE key = $key", key=key).fetchone()
        return None if row is None else str(row[0])

    def note(self, key: str, value: str) -> None:
        """Store `value` under `key`, in place of the previous value."""
        self._run("INSERT OR REPLACE INTO meta VALUES ($key, $value)", key=key, value=value)

    def asset_classes(self, universe: str) -> dict[str, str]:
        """Class of every symbol of `universe` that has one, as said when the symbol was first stored."""
        rows = self._run(
            "SELECT symbol, asset_class FROM symbols WHERE universe = $universe AND asset_class IS NOT NULL ORDER BY symbol",
            universe=universe,
        )
        return dict(rows.fetchall())

    def sources(self, universe: str) -> pd.DataFrame:
        """Where closes of `universe` came from: symbol, source, first, last (observed), one row a symbol and source.

        By symbol, in order of their last day.
        """
        rows = self._read(
            """SELECT symbol, source, min(observed) AS first, max(observed) AS last FROM bars JOIN symbols ON id = symbol_id
               WHERE universe = $universe AND close IS NOT NULL GROUP BY symbol, source ORDER BY symbol, last""",
            universe=universe,
        ).df()
        return rows.astype({"first": DAY, "last": DAY})

    def has_vintages(self, series: Series) -> bool:
        """True if values of `series` were stored with the days on which each revision was published."""
        if series.universe is not None:
            return False
        row = self._read(
            "SELECT 1 FROM observations WHERE series = $code AND source = $vintages LIMIT 1", code=series.code, vintages=VINTAGES
        )
        return row.fetchone() is not None

    def snapshot(self, as_of: pd.Timestamp) -> str:
        """16 hex digits that name the contents and known times of every row known by `as_of`.

        Neither the order nor the time of fetching, nor the provider, nor anything known later has a part in it.
        """
        sums = self._run(
            """SELECT (SELECT sum(digest::HUGEINT) FROM bars WHERE known <= $as_of),
                      (SELECT sum(digest::HUGEINT) FROM observations WHERE known <= $as_of)""",
            as_of=utc_day(as_of),
        ).fetchone()
        return hashlib.sha256(repr(sums).encode()).hexdigest()[:16]

    def contents(self) -> str:
        """16 hex digits that name every stored row, whenever it became known, and the class of every symbol."""
        sums = self._run(
            """SELECT (SELECT sum(digest::HUGEINT) FROM bars), (SELECT sum(digest::HUGEINT) FROM observations),
                      (SELECT bit_xor(md5_number_lower(concat_ws('|', id, universe, symbol, asset_class))) FROM symbols)"""
        ).fetchone()
        return hashlib.sha256(repr(sums).encode()).hexdigest()[:16]

    def damage(self) -> str | None:
        """One line about damaged rows, None if there are none: every row is read and its digest computed again."""
        for table, digest in (("observations AS rows", OBSERVATION_DIGEST.format(source="rows.source")), (BARS, BAR_DIGEST)):
            row = self._run(
                f"SELECT count(*) FILTER (digest IS DISTINCT FROM {digest}), bit_xor(hash(rows)) FROM {table}"
            ).fetchone()
            if row and row[0]:
                return f"{row[0]} rows of {table.split()[0]} aren't what was stored"
        return None

    def extent(self, as_of: pd.Timestamp, since: pd.Timestamp | None = None) -> pd.DataFrame:
        """What is known by `as_of` of days since `since`, one row a symbol (or series) and field: rows, first, last, known_last."""
        days = {"as_of": utc_day(as_of), "since": utc_day(since)}
        bars = self._run(
            f"""WITH counted AS (SELECT symbol_id, {field_extents_sql()} FROM bars
                    WHERE known <= $as_of AND observed >= $since GROUP BY symbol_id)
                SELECT universe, symbol AS code, asset_class, counted.* EXCLUDE symbol_id
                FROM counted JOIN symbols ON symbols.id = symbol_id ORDER BY universe, symbol""",
            **days,
        ).df()
        observations = self._run(
            """SELECT series AS code, count(DISTINCT observed) AS rows,
                   min(observed) AS first, max(observed) AS last, max(known) AS known_last
               FROM observations WHERE known <= $as_of AND observed >= $since GROUP BY series ORDER BY series""",
            **days,
        ).df()
        parts = [bars[["universe", "code", "asset_class"]].assign(field=name, **field_extent(bars, name)) for name in BAR_FIELDS]
        return pd.concat([*parts, observations.assign(field="value")], ignore_index=True).query("rows > 0")

    def rewritten(self, since: pd.Timestamp) -> pd.DataFrame:
        """Stored values that their source changed, known on `since` or later; the newest first, one row a series or symbol and day.

        universe (None for macro series), code, source, fetched_at, known, fields, days (how many changed), first, last (observed),
        largest (relative change, missing where a value was withdrawn or was 0).
        """
        rows = self._run(REWRITTEN, since=utc_day(since)).df()
        return rows.astype({"known": DAY, "first": DAY, "last": DAY, "fetched_at": DAY})

    def late(self, since: pd.Timestamp) -> pd.DataFrame:
        """Rows that came later than their release lag says, though an earlier fetch asked for them; fetched since a day.

        universe (None for macro series), code, source, observed, known, fetched_at; the newest fetch first.
        """
        rows = self._run(LATE, since=utc_day(since)).df()
        return rows.astype({"observed": DAY, "known": DAY, "fetched_at": DAY})

    def inventory(self, as_of: pd.Timestamp) -> pd.DataFrame:
        """One row for each declared series and panel: name, first, last (observed), known_last, rows, symbols."""
        rows = [declaration_summary(declared, chosen) for declared, chosen in by_declaration(self.extent(as_of))]
        return pd.DataFrame(rows).astype({"first": DAY, "last": DAY, "known_last": DAY, "rows": "int64", "symbols": "int64"})

    def _append_bars(self, batch: Batch, fetched_at: pd.Timestamp) -> int:
        fields = [name for name in BAR_FIELDS if name in batch.frame]
        incoming = batch.frame[["observed", "known", *fields]].assign(symbol_id=self._symbol_ids(batch))
        _refuse_duplicates(batch, incoming[["symbol_id", "observed"]])
        ids, days = incoming["symbol_id"], incoming["observed"]
        return self._insert(
            insert_bars_sql(fields),
            incoming,
            low=int(ids.min()),
            high=int(ids.max()),
            first=utc_day(days.min()),
            last=utc_day(days.max()),
            today=utc_day(fetched_at),
            last_fetch_day=self._last_fetch_day(batch, fetched_at),
            fetched_at=fetched_at.to_pydatetime(),
            source=batch.source,
        )

    def _append_observations(self, batch: Batch, fetched_at: pd.Timestamp) -> int:
        incoming = batch.frame[["series", "observed", "known", "value"]].astype({"series": "str"})
        stamp = {"source": batch.source, "fetched_at": fetched_at.to_pydatetime()}
        if batch.source == VINTAGES:
            _refuse_duplicates(batch, incoming[["series", "observed", "known"]])
            return self._insert(NEW_VINTAGES, incoming, today=utc_day(fetched_at), **stamp)
        _refuse_duplicates(batch, incoming[["series", "observed"]])
        return self._insert(
            NEW_OBSERVATIONS, incoming, today=utc_day(fetched_at), last_fetch_day=self._last_fetch_day(batch, fetched_at), **stamp
        )

    def _last_fetch_day(self, batch: Batch, fetched_at: pd.Timestamp) -> date:
        """The day of this home's last fetch before `fetched_at`. Rows known before that day should have come with that fetch."""
        last = self.last_fetch(before=fetched_at) if batch.daily else None
        return date.min if last is None else last.date()

    def _insert(self, sql: str, incoming: pd.DataFrame, **values: Any) -> int:
        """Run an INSERT that reads `incoming`; returns the number of rows it stored."""
        self._connection.register("incoming", incoming)
        try:
            stored = self._run(sql, **values).fetchone()
        finally:
            self._connection.unregister("incoming")
        return int(stored[0]) if stored else 0

    def _symbol_ids(self, batch: Batch) -> np.ndarray:
        """Id of every row's symbol; new symbols are given ids next to those of their universe, so that a universe is one range."""
        codes, names = pd.factorize(batch.frame["symbol"])
        known = dict(self._run("SELECT symbol, id FROM symbols WHERE universe = $universe", universe=batch.universe).fetchall())
        new = [str(name) for name in names if str(name) not in known]
        if new:
            free = self._first_free_id(known.values())
            classes = batch.frame.drop_duplicates("symbol").set_index("symbol").get("asset_class", pd.Series(dtype="str"))
            rows = [(free + n, batch.universe, name, classes.get(name)) for n, name in enumerate(new)]
            self._connection.executemany("INSERT INTO symbols VALUES (?, ?, ?, ?)", rows)
            known |= {name: id_ for id_, _, name, _ in rows}
        return np.array([known[str(name)] for name in names], dtype=np.int32)[codes]

    def _symbol_id(self, series: Series) -> int:
        """Id of the symbol that `series` is a field of; -1 where it isn't stored."""
        row = self._read(
            "SELECT id FROM symbols WHERE universe = $universe AND symbol = $code", universe=series.universe, code=series.code
        ).fetchone()
        return -1 if row is None else int(row[0])

    def _first_free_id(self, taken: Iterable[int]) -> int:
        universes = self._run("SELECT count(DISTINCT universe) FROM symbols").fetchone()
        return max(taken, default=UNIVERSE_WIDTH * (universes[0] if universes else 0) - 1) + 1

    def _members(self, panel: Panel) -> pd.Series:
        """Symbols of `panel` in alphabetical order, indexed by id."""
        rows = self._read(
            """SELECT id, symbol FROM symbols WHERE universe = $universe AND ($class IS NULL OR asset_class = $class)
               AND (len($symbols) = 0 OR list_contains($symbols, symbol)) ORDER BY symbol""",
            **{"universe": panel.universe, "class": panel.asset_class, "symbols": list(panel.symbols)},
        ).fetchall()
        return pd.Series([symbol for _, symbol in rows], index=pd.Index([id_ for id_, _ in rows], dtype="int64"), dtype="str")

    def _check_layout(self) -> None:
        """Raise `StoreUnusable` if the DuckDB file doesn't have the tables of a store."""
        names = {name for (name,) in self._run("SELECT table_name FROM duckdb_tables()").fetchall()}
        if not {"meta", "symbols", "observations", "bars"} <= names:
            raise StoreUnusable(f"{self.path} is a DuckDB file but not a store of altrally; name another --home.")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit all writes of the block, or none, also when the process is killed."""
        with clear_errors(self.path):
            self._connection.begin()
            try:
                yield
                self._connection.commit()
            except BaseException:
                with suppress(duckdb.Error):
                    self._connection.rollback()
                raise

    def _run(self, sql: str, **values: Any) -> duckdb.DuckDBPyConnection:
        with clear_errors(self.path):
            return self._connection.execute(sql, values or None)

    def _read(self, sql: str, **values: Any) -> duckdb.DuckDBPyConnection:
        """Run a query with a cursor of its own, so that several threads can read at once."""
        with clear_errors(self.path):
            return self._connection.cursor().execute(sql, values or None)


def refuse_duplicates(batch: Batch) -> None:
    """Raise `BadInput` where `batch` has two rows for a day of one symbol or series."""
    _refuse_duplicates(batch, batch.frame[["symbol" if batch.table == "bars" else "series", "observed"]])


def _refuse_duplicates(batch: Batch, keys: pd.DataFrame) -> None:
    twice = keys.duplicated()
    if twice.any():
        row = batch.frame.loc[twice.to_numpy()].iloc[0]
        name = row["symbol"] if batch.table == "bars" else row["series"]
        raise BadInput(f"{batch.label}: {name} has two rows for {row['observed']:%Y-%m-%d}; keep one.")
